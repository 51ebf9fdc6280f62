"""One loader for all class-conditional transformers: DiT, SiT, REPA, Shortcut, U-ViT and the starter models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import StitchError
from .dit import checkpoint as dit_checkpoint
from .dit.checkpoint import interpret_dit, read_transformer
from .dit.model import build_dit
from .shared.class_model import with_guided_channels
from .shared.host_model import reloadable
from .shared.model_file import ModelFile
from .starter import build_starter, describe_starter, is_starter
from .uvit import checkpoint as uvit_checkpoint
from .uvit.checkpoint import interpret_uvit, is_uvit
from .uvit.model import build_uvit

PREDICTIONS = ("auto", *dit_checkpoint.VARIANTS, *uvit_checkpoint.VARIANTS)
GUIDED_CHANNELS = {"three": 3, "all": None}
GUIDANCE_CHANNELS = ("auto", *GUIDED_CHANNELS)


@reloadable
def load_transformer(
    file: str | Path | ModelFile,
    prediction: str = "auto",
    guidance_channels: str = "auto",
    dtype: torch.dtype | None = None,
    heads: int = 0,
) -> tuple[Any, str]:
    """A transformer as a MODEL, and its description. Raises StitchError."""
    file = ModelFile.of(file)
    checkpoint = read_transformer(file)
    if is_starter(checkpoint):
        if prediction != "auto" or heads:
            raise StitchError(
                f"The file {checkpoint.name} is a starter model, which contains its prediction and heads, but"
                f" prediction is {prediction} and heads is {heads}: choose auto and 0."
            )
        starter = build_starter(checkpoint, dtype)
        return with_guided_channels(starter, GUIDED_CHANNELS.get(guidance_channels)), describe_starter(starter)
    if is_uvit(checkpoint):
        uvit = interpret_uvit(checkpoint, prediction, heads)
        return build_uvit(uvit, GUIDED_CHANNELS.get(guidance_channels), dtype), uvit.description
    dit = interpret_dit(checkpoint, file.path, prediction, heads)
    guided = GUIDED_CHANNELS.get(guidance_channels, dit.variant.guided_channels)
    return build_dit(dit, guided, dtype), dit.description
