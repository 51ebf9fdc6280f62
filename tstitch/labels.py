"""Class labels as CONDITIONING: weights over the classes, so that the host's nodes can mix and drop them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from .errors import StitchError

FASHION_MNIST = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def parse_labels(text: str, names: Sequence[str] = FASHION_MNIST) -> list[int]:
    """Class numbers of a list of numbers or names with commas between, or of "all". Raises StitchError."""
    if text.strip().lower() == "all":
        return list(range(len(names)))
    by_name = {name.lower(): index for index, name in enumerate(names)}
    words = text.split() if re.fullmatch(r"[\s\d]+", text) else re.split(r"[,;\n]", text)
    labels = []
    for word in (word.strip() for word in words):
        if not word:
            continue
        label = int(word) if word.isdecimal() else by_name.get(word.lower())
        if label is None:
            raise StitchError(f'labels has "{word}", which is no class: use {", ".join(names)}, or their numbers.')
        if label >= len(names):
            raise StitchError(f"labels has {label}, but the classes are numbered 0 to {len(names) - 1}.")
        labels.append(label)
    if not labels:
        raise StitchError('labels is empty: name at least one class, such as "Sneaker", or write all.')
    return labels


def class_conditioning(labels: Sequence[int], classes: int) -> tuple[list[Any], list[Any]]:
    """Positive and negative CONDITIONING for one sample a label: one-hot weights (N, 1, classes), and zeros."""
    positive = torch.nn.functional.one_hot(torch.tensor(labels), classes).float()[:, None]
    return [[positive, {}]], [[torch.zeros(1, 1, classes), {}]]
