"""Fashion-MNIST (arXiv 1708.07747) from its four IDX files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

CLASS_NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


class DatasetMissingError(FileNotFoundError):
    pass


def dataset_folder() -> Path:
    """The folder named by FASHION_MNIST, else that of the Debian package."""
    folder = Path(os.environ.get("FASHION_MNIST", DEBIAN_FOLDER))
    missing = [name for pair in FILES.values() for name in pair if not (folder / name).is_file()]
    if missing:
        raise DatasetMissingError(
            f"Fashion-MNIST is not complete in {folder}: {', '.join(missing)} missing. Install the Debian package"
            " dataset-fashion-mnist, or set FASHION_MNIST to a folder that holds the four files."
        )
    return folder


def read_idx(path: Path) -> np.ndarray:
    """One array out of a gzipped IDX file of unsigned bytes."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    dims = raw[3]
    shape = np.frombuffer(raw, ">u4", count=dims, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape)


def load_split(split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) as bytes and labels (N,) as int64 of split "train" or "test"."""
    images, labels = (read_idx(dataset_folder() / name) for name in FILES[split])
    return torch.from_numpy(images.copy())[:, None], torch.from_numpy(labels.astype(np.int64))


def to_signal(images: Tensor) -> Tensor:
    """Bytes to float32 in [-1, 1], the range of the host's autoencoders."""
    return images.float() / 127.5 - 1
