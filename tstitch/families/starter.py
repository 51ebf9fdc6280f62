"""The starter models that come with the pack: files, checks, and their way into the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.sd
import comfy.utils
from comfy.model_patcher import ModelPatcher
from safetensors import SafetensorError
from torch import Tensor

from ..errors import StitchError
from .dit import DiTConfig
from .dit_model import HostDiTConfig
from .host_model import build_patcher, reloadable

FOLDER = Path(__file__).resolve().parents[2] / "models"
STARTERS = {
    "XL": "starter_xl.safetensors",
    "B": "starter_b.safetensors",
    "S": "starter_s.safetensors",
    "S-eps": "starter_s_eps.safetensors",
    "Shortcut": "starter_shortcut.safetensors",
}
VAE = "starter_vae.safetensors"
PIXELS_PER_LATENT = 4


class StarterLatent(comfy.latent_formats.LatentFormat):
    """Latents of the starter VAE, which have mean 0 and variance 1 as they are."""

    def __init__(self, preview: dict[str, Any]) -> None:
        self.latent_rgb_factors = preview["factors"]
        self.latent_rgb_factors_bias = preview["bias"]


@reloadable
def load_starter(name: str) -> ModelPatcher:
    """One starter model as a MODEL. Raises StitchError where its file, or the VAE's, is missing or damaged."""
    state, metadata = read_weights(STARTERS[name])
    _, vae_metadata = read_weights(VAE)
    dit = DiTConfig(**json.loads(metadata["tstitch.dit"]))
    config = HostDiTConfig(
        dit,
        metadata["tstitch.prediction"],
        float(metadata["tstitch.time_scale"]),
        StarterLatent(json.loads(vae_metadata["tstitch.preview"])),
        json.loads(metadata["tstitch.classes"]),
    )
    return build_patcher(config, state)


def load_starter_vae() -> comfy.sd.VAE:
    state, metadata = read_weights(VAE)
    vae = comfy.sd.VAE(state, config={"params": json.loads(metadata["tstitch.vae"])})
    vae.downscale_ratio = vae.upscale_ratio = PIXELS_PER_LATENT
    return vae


def read_weights(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    path = FOLDER / name
    remedy = "reinstall the pack, or restore the file from its repository."
    if not path.is_file():
        raise StitchError(f"The starter file {name} is missing from the pack's models folder: {remedy}")
    try:
        state, metadata = comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
    except (SafetensorError, ValueError, OSError) as error:
        raise StitchError(f"The starter file {name} is damaged ({error}): {remedy}") from error
    if not metadata or not any(key.startswith("tstitch.") for key in metadata):
        raise StitchError(f"The file {name} holds no description of a starter model: {remedy}")
    return state, metadata
