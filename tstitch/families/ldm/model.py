"""A latent diffusion model (arXiv 2112.10752) from its file: MODEL, VAE, and what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import comfy.sd
import torch

from ...errors import StitchError
from ..shared.checkpoint import read_whole_checkpoint
from ..shared.host_model import build_patcher, reloadable
from ..shared.model_file import ModelFile
from .checkpoint import interpret_ldm
from .first_stage import first_stage_of, load_first_stage
from .network import LDMConfig

PIXELS_PER_LATENT = {3: 4, 4: 8}  # of the published models, by their latent channels


class LoadedLDM(NamedTuple):
    model: Any
    vae: comfy.sd.VAE | None  # None where no file holds a first stage
    description: str


@reloadable
def load_ldm(
    file: str | Path | ModelFile,
    first_stage: str | Path | ModelFile | None = None,
    averaged: bool = True,
    dtype: torch.dtype | None = None,
    head_channels: int = 0,
) -> LoadedLDM:
    """A class-conditional LDM in the original layout. `first_stage` is another file that holds the VAE.

    Raises StitchError.
    """
    checkpoint = read_whole_checkpoint(file)
    weights = interpret_ldm(checkpoint, averaged, head_channels)
    source = read_whole_checkpoint(first_stage) if first_stage else checkpoint
    stage = first_stage_of(source)
    if stage is None and first_stage:
        raise StitchError(f"The file {source.name} holds no VQ first stage: choose another in first_stage.")
    vae = load_first_stage(stage) if stage else None
    channels = weights.unet_config["in_channels"]
    if vae is not None and vae.latent_channels != channels:
        raise StitchError(
            f"The first stage in {source.name} has latents of {vae.latent_channels} channels, but the model in"
            f" {checkpoint.name} works on {channels}: choose the one it was trained with."
        )
    ratio = vae.downscale_ratio if vae is not None else PIXELS_PER_LATENT.get(channels, 8)
    config = LDMConfig(weights.unet_config, ratio)
    return LoadedLDM(build_patcher(config, weights.state, dtype), vae, weights.description)
