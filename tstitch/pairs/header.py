"""The header of a safetensors file: names, types and shapes of its weights, none of which is read."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import StitchError

#: The format's own limit.
MOST_HEADER_BYTES = 100_000_000
LENGTH_BYTES = 8
SUFFIXES = (".safetensors", ".sft")
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Header:
    name: str  # as the user chose it, for messages
    state: dict[str, torch.Tensor]  # without data
    metadata: dict[str, str]


def read_header(path: Path, name: str) -> Header:
    """Raises StitchError where `path` is no whole safetensors file."""
    if path.suffix.lower() not in SUFFIXES:
        raise StitchError(f"The file {name} is no safetensors file, so its header cannot tell what it holds.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            is_whole = 2 <= length <= min(MOST_HEADER_BYTES, size - LENGTH_BYTES)
            text = file.read(length) if is_whole else b""
    except OSError as error:
        raise StitchError(f"The file {name} cannot be read: {error.strerror}.") from None
    if not text:
        raise StitchError(f"The file {name} is no safetensors file, or was cut off: download it again.")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise StitchError(f"The file {name} has a damaged header: download it again.") from None
    return interpret(entries, size - LENGTH_BYTES - length, name)


def interpret(entries: Any, data_bytes: int, name: str) -> Header:
    """The content of a header, of a file with so many bytes after it. Raises StitchError."""
    damaged = StitchError(f"The file {name} has a damaged header: download it again.")
    if not isinstance(entries, dict):
        raise damaged
    metadata = entries.pop("__metadata__", {})
    state, end = {}, 0
    for key, entry in entries.items():
        try:
            shape = tuple(int(side) for side in entry["shape"])
            end = max(end, int(entry["data_offsets"][1]))
            dtype = DTYPES.get(entry["dtype"], torch.uint8)
        except (KeyError, IndexError, TypeError, ValueError):
            raise damaged from None
        if any(side < 0 for side in shape) or math.prod(shape) > 8 * max(data_bytes, 1):
            raise damaged
        state[key] = torch.empty(shape, dtype=dtype, device="meta")
    if end > data_bytes:
        raise StitchError(f"The file {name} was cut off: {end - data_bytes:,} bytes are missing; download it again.")
    return Header(name, state, metadata if isinstance(metadata, dict) else {})
