"""The avatars: 64 x 64 RGB pictures of ten designs, drawn from seeds by `training/avatars.js`, with their attributes.

The designs are those of the npm package @dicebear/collection, whose pinned version makes the set the same everywhere;
CHECKSUMS prove it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
FOLDER = Path(".train/avatars")
SIZE = 64
STYLES = (
    "adventurer",
    "bigEars",
    "bigSmile",
    "funEmoji",
    "micah",
    "miniavs",
    "openPeeps",
    "personas",
    "pixelArt",
    "toonHead",
)
COUNTS = {"train": 100_000, "test": 5_000}
SHARD = 1_000  # pictures per call of Node.js
SPARE_BYTES = 4_000_000_000
CHECKSUMS = {
    "train": "29ca361aecc7626aae8e536c162af793b1fa04fa140f6d91ea7e81cbfc064f2d",
    "test": "bdb342df9a41c91d832240dd818bee1d48fe5a8146a29affb6c50f2faecf9110",
}
NONE = "none"  # value of an attribute that a design left out


class DatasetError(Exception):
    """The set is not there, or cannot be made; the text says what to do."""


@dataclass(frozen=True)
class Avatars:
    """One split: bytes (N, 64, 64, 3), a memory map, style numbers (N,) and attribute values (N, heads), -1 where the
    style has no such attribute."""

    pixels: np.ndarray
    styles: Tensor
    attributes: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def signal(self, rows: Tensor) -> Tensor:
        """Pictures (len(rows), 3, 64, 64) in [-1, 1], the range of the host's autoencoders."""
        return to_signal(torch.from_numpy(self.pixels[rows.numpy()]))


def to_signal(pixels: Tensor) -> Tensor:
    """Bytes (N, H, W, 3) to float32 (N, 3, H, W) in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def halved(signal: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) at half their size."""
    return F.avg_pool2d(signal, 2)


def render() -> None:
    """Draw what is not drawn yet. Raises DatasetError."""
    _check_tools()
    FOLDER.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(FOLDER).free
    if free < SPARE_BYTES:
        raise DatasetError(f"The avatars need {SPARE_BYTES / 1e9:.0f} GB in {FOLDER}, {free / 1e9:.1f} GB are free.")
    for split in COUNTS:
        if not _is_complete(split):
            _render_split(split)
            _assemble(split)


def load_split(split: str) -> Avatars:
    """Split "train" or "test". Raises DatasetError where it is not complete."""
    if not _is_complete(split):
        raise DatasetError(f"The avatars of {FOLDER} are not complete: run `python dev.py train data`.")
    with np.load(_labels(split)) as labels:
        styles, attributes = labels["styles"], labels["attributes"]
    pixels = np.load(_pixels(split), mmap_mode="r")
    return Avatars(pixels, torch.from_numpy(styles).long(), torch.from_numpy(attributes).long())


@functools.cache
def attribute_heads() -> dict[str, list[str]]:
    """Values of each attribute, named `style.attribute`; the background is one for all styles."""
    heads: dict[str, list[str]] = json.loads((Path(__file__).parent / "attributes.json").read_text("utf-8"))
    return heads


def _pixels(split: str) -> Path:
    return FOLDER / f"{split}.npy"


def _labels(split: str) -> Path:
    return FOLDER / f"{split}_labels.npz"


def _is_complete(split: str) -> bool:
    return _pixels(split).is_file() and _labels(split).is_file()


def _check_tools() -> None:
    missing = [name for name in ("@dicebear/core", "@dicebear/collection", "@resvg/resvg-js") if not has_package(name)]
    if not shutil.which("node"):
        raise DatasetError("Node.js draws the avatars and is not installed: install version 20 or later.")
    if missing:
        raise DatasetError(f"The npm packages {', '.join(missing)} are missing: run `npm ci` in {ROOT} once, online.")


def has_package(package: str) -> bool:
    return (ROOT / "node_modules" / package / "package.json").is_file()


def _shards(split: str) -> list[tuple[int, Path, Path]]:
    return [
        (first, FOLDER / f"{split}-{first:06}.rgb", FOLDER / f"{split}-{first:06}.json")
        for first in range(0, COUNTS[split], SHARD)
    ]


def _render_split(split: str) -> None:
    shards = _shards(split)
    todo = [shard for shard in shards if not shard[2].is_file()]
    bar = tqdm(total=COUNTS[split], initial=(len(shards) - len(todo)) * SHARD, desc=f"avatars {split}", unit="picture")
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda shard: _render_shard(split, *shard), todo):
            bar.update(SHARD)


def _render_shard(split: str, first: int, pixels: Path, labels: Path) -> None:
    partial = labels.with_suffix(".partial")
    command = ["node", str(ROOT / "training" / "avatars.js"), split, str(first), str(SHARD), str(pixels), str(partial)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise DatasetError(f"Node.js could not draw the avatars {first} to {first + SHARD - 1}:\n{result.stderr}")
    os.replace(partial, labels)  # last, so that a shard with labels is whole


def _assemble(split: str) -> None:
    """One array of pixels and one of labels out of the shards. Raises DatasetError where they are not the known set."""
    shards, digest = _shards(split), hashlib.sha256()
    partial = _pixels(split).with_suffix(".partial")
    pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, (COUNTS[split], SIZE, SIZE, 3))
    records: list[dict[str, str]] = []
    for first, pixels_file, labels_file in shards:
        raw, text = pixels_file.read_bytes(), labels_file.read_bytes()
        digest.update(raw)
        digest.update(text)
        pixels[first : first + SHARD] = np.frombuffer(raw, np.uint8).reshape(SHARD, SIZE, SIZE, 3)
        records += json.loads(text)
    pixels.flush()
    if CHECKSUMS[split] and digest.hexdigest() != CHECKSUMS[split]:
        partial.unlink()
        raise DatasetError(
            f"The {split} avatars have the checksum {digest.hexdigest()[:12]}, not {CHECKSUMS[split][:12]}: run"
            f" `npm ci` for the pinned packages, delete {FOLDER} and draw them again."
        )
    print(f"avatars {split}: sha256 {digest.hexdigest()}")
    styles, attributes = label_arrays(records)
    np.savez(_labels(split), styles=styles, attributes=attributes)
    os.replace(partial, _pixels(split))
    for _, pixels_file, labels_file in shards:
        pixels_file.unlink()
        labels_file.unlink()


def head_of(style: str, attribute: str) -> str:
    return "background" if attribute == "primaryBackgroundColor" else f"{style}.{attribute}"


def label_arrays(records: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the style (N,) and of each attribute's value (N, heads) of drawn avatars."""
    heads = attribute_heads()
    columns = {name: column for column, name in enumerate(heads)}
    values = {name: {value: index for index, value in enumerate(head)} for name, head in heads.items()}
    of_style = {style: [name for name in heads if name.startswith(f"{style}.")] for style in STYLES}
    styles = np.array([STYLES.index(record["style"]) for record in records], np.int16)
    attributes = np.full((len(records), len(heads)), -1, np.int16)
    for row, record in enumerate(records):
        style = record["style"]
        named = {head_of(style, key): str(value) for key, value in record.items() if key != "style"}
        for name in ("background", *of_style[style]):
            attributes[row, columns[name]] = values[name][named.get(name, NONE)]
    return styles, attributes
