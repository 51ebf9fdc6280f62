"""Refuses, before anything is loaded, models that cannot share one sampling run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .errors import StitchError

#: Kinds of model (the host's ModelType) whose input is not a mixture of image and noise that another kind could read.
UNMIXABLE = ("STABLE_CASCADE", "IMG_TO_IMG", "IMG_TO_IMG_FLOW")


def check_latent_formats(names: Sequence[str], patchers: Sequence[Any]) -> None:
    """Raise StitchError unless all models read the latents of the last one."""
    last = patchers[-1].get_model_object("latent_format")
    for name, patcher in zip(names, patchers, strict=True):
        found = patcher.get_model_object("latent_format")
        if not _same_latents(found, last):
            raise StitchError(
                f"{name} works on {_describe(found)} latents, but {names[-1]} on {_describe(last)}: stitched models"
                " must share one latent space, so choose a pair of one family."
            )


def check_mixable(names: Sequence[str], patchers: Sequence[Any]) -> None:
    """Raise StitchError where two kinds of model meet that no change of coordinates connects."""
    lead_name, lead = names[-1], patchers[-1]
    for name, patcher in zip(names, patchers, strict=True):
        kinds = [_kind(patcher), _kind(lead)]
        if kinds[0] == kinds[1] or not set(kinds) & set(UNMIXABLE):
            continue
        raise StitchError(
            f"{name} is a model of kind {kinds[0]} and {lead_name} of kind {kinds[1]}: these cannot share a sampling"
            " run, so choose two of one kind."
        )


def _kind(patcher: Any) -> str:
    return getattr(getattr(patcher.model, "model_type", None), "name", "unknown")


def _describe(latent_format: Any) -> str:
    return f"{type(latent_format).__name__} ({latent_format.latent_channels} channels)"


def _same_latents(first: Any, second: Any) -> bool:
    """Compares what the formats do to a latent, not what they are called."""
    if first is second:
        return True
    shapes = [(item.latent_channels, item.latent_dimensions) for item in (first, second)]
    if shapes[0] != shapes[1]:
        return False
    channels, dimensions = shapes[0]
    probe = torch.linspace(-1, 1, channels).reshape(1, channels, *[1] * dimensions)
    return torch.equal(first.process_out(probe), second.process_out(probe))
