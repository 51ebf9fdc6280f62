"""Run as a program: some parts, one after another, in this process. Every row is written as it comes."""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import PARTS, Job, Part, stretched
from benchmarks.tools.results import Row

Write = Callable[[Row], None]


def run_parts(names: Sequence[str], dry: bool, write: Write, parts: Mapping[str, Part] = PARTS) -> bool:
    """Whether the process is still good for more; where not, the rest is for a new one."""
    for name in names:
        started = time.monotonic()
        write({"part": name, "event": "begun"})
        ending: Row = {"part": name, "event": "done"}
        try:
            job = Job(dry, started + stretched(parts[name].limit, dry))
            for row in importlib.import_module(f"benchmarks.gpu.{parts[name].module}").rows(job):
                write({"part": name, "row": row})
        except Exception:
            ending = {"part": name, "event": "failed", "error": traceback.format_exc(limit=-6)}
        write({**ending, "seconds": round(time.monotonic() - started, 2)})
        if not is_healthy():
            return False
    return True


def is_healthy() -> bool:
    """Free what the part has left; false where the device takes no more work, as after an illegal access."""
    from benchmarks.gpu.card import Card

    try:
        Card().clean_up()
    except RuntimeError:
        return False
    return True


@contextmanager
def writing_to(path: Path) -> Iterator[Write]:
    """Writes one line of JSON a row, and leaves nothing in a buffer."""
    with path.open("a", encoding="utf-8") as file:

        def write(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()

        yield write


def main() -> None:
    path, kind, *names = sys.argv[1:]
    with writing_to(Path(path)) as write:
        import torch

        from training.host import prepare_host

        prepare_host()
        from benchmarks.gpu.card import Card

        write({"machine": Card().description()})
        with torch.inference_mode():
            healthy = run_parts(names, kind == "dry", write)
    sys.exit(0 if healthy else 1)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All complete lines."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


if __name__ == "__main__":
    main()
