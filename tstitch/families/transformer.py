"""One way in for all class-conditional transformers: DiT, SiT, REPA, Shortcut and U-ViT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from . import dit_checkpoint, uvit_checkpoint
from .dit_checkpoint import interpret_dit, read_transformer
from .dit_model import build_dit
from .host_model import reloadable
from .uvit_checkpoint import interpret_uvit, is_uvit
from .uvit_model import build_uvit

PREDICTIONS = ("auto", *dit_checkpoint.VARIANTS, *uvit_checkpoint.VARIANTS)
GUIDED_CHANNELS = {"three": 3, "all": None}


@reloadable
def load_transformer(
    path: str,
    name: str,
    prediction: str = "auto",
    guidance_channels: str = "auto",
    dtype: torch.dtype | None = None,
    heads: int = 0,
) -> tuple[Any, str]:
    """A transformer as a MODEL, and what it is in words. Raises StitchError."""
    checkpoint = read_transformer(path, name)
    if is_uvit(checkpoint):
        uvit = interpret_uvit(checkpoint, prediction, heads)
        return build_uvit(uvit, GUIDED_CHANNELS.get(guidance_channels), dtype), uvit.description
    dit = interpret_dit(checkpoint, Path(path), prediction, heads)
    guided = GUIDED_CHANNELS.get(guidance_channels, dit.variant.guided_channels)
    return build_dit(dit, guided, dtype), dit.description
