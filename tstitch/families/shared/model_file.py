"""Which file a loader reads. Needs no host, as the conversion of JAX pickles."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class ModelFile(NamedTuple):
    """A weight file, and its name as the user chose it, for messages."""

    path: Path
    name: str

    @classmethod
    def of(cls, file: str | Path | ModelFile) -> ModelFile:
        return file if isinstance(file, ModelFile) else cls(Path(file), Path(file).name)
