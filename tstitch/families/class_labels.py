"""Class labels as CONDITIONING: weights over the classes, so that the host's nodes can mix and drop them."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import StitchError

#: What the starter models draw: designs of avatars, by the names that their makers gave them.
AVATAR_STYLES = (
    "Adventurer",
    "Big Ears",
    "Big Smile",
    "Fun Emoji",
    "Micah",
    "Miniavs",
    "Open Peeps",
    "Personas",
    "Pixel Art",
    "Toon Head",
)
IMAGENET_CLASSES = 1000
ALL_LIMIT = 100  # pictures that "all" may mean
_SHOWN = 6


@functools.cache
def imagenet_names() -> tuple[str, ...]:
    """Names of the ImageNet classes, from torchvision, which comes with the host; none without it."""
    try:
        from torchvision.models import ResNet18_Weights
    except (ImportError, RuntimeError):  # the latter where torchvision does not fit the installed torch
        return ()
    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


@dataclass(frozen=True)
class ClassSet:
    """The classes a model knows; numbers are always valid, names where they are known."""

    count: int
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, count: int, names: Sequence[str] | None = None) -> ClassSet:
        if names is None and count == IMAGENET_CLASSES:
            names = imagenet_names()
        return cls(count, tuple(names or ()))

    def parse(self, text: str) -> list[int]:
        """Class numbers of a list of numbers or names separated by commas, or of "all". Raises StitchError."""
        if text.strip().lower() == "all":
            if self.count > ALL_LIMIT:
                raise StitchError(f"labels says all, which would be {self.count} pictures: name the classes you want.")
            return list(range(self.count))
        parts = [part.strip() for part in re.split(r"[,;\n]", text)]
        words = [word for part in parts for word in (part.split() if re.fullmatch(r"[\s\d]+", part) else [part])]
        labels = [self._number(word) for word in words if word]
        if not labels:
            example = f'"{self.names[-3]}"' if self.names else "0"
            raise StitchError(f"labels is empty: name at least one class, such as {example}.")
        return labels

    def _number(self, word: str) -> int:
        if word.isdecimal():
            if int(word) >= self.count:
                raise StitchError(f"labels has {word}, but the classes are numbered 0 to {self.count - 1}.")
            return int(word)
        if word in self.names:
            return self.names.index(word)
        names = [name.lower() for name in self.names]
        whole = [index for index, name in enumerate(names) if word.lower() == name]
        found = whole or [index for index, name in enumerate(names) if word.lower() in name]
        if len(found) == 1:
            return found[0]
        if found:
            raise StitchError(f'labels has "{word}", which fits {self._listed(found)}: write one of them in full.')
        raise StitchError(f'labels has "{word}", which is no class: {self._remedy(word.lower(), names)}.')

    def _remedy(self, word: str, names: list[str]) -> str:
        if not names:
            return f"this model has no names for its {self.count} classes, so use their numbers"
        if len(names) <= 2 * _SHOWN:
            return f"use {', '.join(self.names)}, or their numbers"
        close = [names.index(name) for name in difflib.get_close_matches(word, names, _SHOWN)]
        return f"did you mean {self._listed(close)}" if close else f"use a number from 0 to {self.count - 1}"

    def _listed(self, labels: Sequence[int]) -> str:
        more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
        return ", ".join(f"{self.names[label]} ({label})" for label in labels[:_SHOWN]) + more


def class_conditioning(labels: Sequence[int], classes: int) -> tuple[list[Any], list[Any]]:
    """Positive and negative CONDITIONING for one sample per label: one-hot weights (N, 1, classes), and zeros.

    A model of one class was trained without it, as the Shortcut model of CelebA (arXiv 2410.12557): zeros for both.
    """
    positive = torch.nn.functional.one_hot(torch.tensor(labels), classes).float()[:, None]
    if classes == 1:
        positive = torch.zeros_like(positive)
    return [[positive, {}]], [[torch.zeros(1, 1, classes), {}]]


@dataclass(frozen=True)
class ClassInputs:
    """Inputs to sample a class-conditional MODEL with, one sample per label."""

    positive: list[Any]
    negative: list[Any]
    latent: dict[str, torch.Tensor]


def classes_of(patcher: Any) -> ClassSet:
    """Raises StitchError for a MODEL that draws none."""
    class_set = getattr(patcher.model.model_config, "class_set", None)
    if class_set is None:
        raise StitchError(
            "model does not draw classes: connect one of Load DiT or Load LDM here, or use CLIP Text Encode for models"
            " that read text."
        )
    return class_set


def check_imagenet(name: str, choice: str, patcher: Any) -> None:
    """Raise StitchError unless the MODEL draws ImageNet's classes, one of which was chosen in `name`."""
    count = classes_of(patcher).count
    if count != IMAGENET_CLASSES:
        raise StitchError(
            f'{name} is "{choice}", one of the {IMAGENET_CLASSES} classes of ImageNet, but this model has {count}:'
            " choose (none), and write its class into labels."
        )


def class_inputs(patcher: Any, text: str) -> ClassInputs:
    """Conditioning and an empty latent for the labels of `text`. Raises StitchError."""
    config, class_set = patcher.model.model_config, classes_of(patcher)
    labels = class_set.parse(text)
    positive, negative = class_conditioning(labels, class_set.count)
    shape = (len(labels), config.latent_format.latent_channels, config.latent_size, config.latent_size)
    return ClassInputs(positive, negative, {"samples": torch.zeros(shape)})
