"""The starter models that come with the pack: files, checks, and their way into the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from safetensors import SafetensorError

from ..errors import StitchError
from .dit.checkpoint import weight_shapes
from .dit.model import HostDiTConfig
from .dit.network import DiTConfig
from .shared.checkpoint import Checkpoint, check_weights
from .shared.host_model import build_patcher, reloadable

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
    return build_starter(read_weights(STARTERS[name]))


def is_starter(checkpoint: Checkpoint) -> bool:
    """Also one that was trained further or saved by the host."""
    return "tstitch.dit" in checkpoint.metadata


def build_starter(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> ModelPatcher:
    """A MODEL of what a starter's file holds. Raises StitchError."""
    metadata, preview = checkpoint.metadata, read_weights(VAE).metadata["tstitch.preview"]
    try:
        config = HostDiTConfig(
            DiTConfig(**json.loads(metadata["tstitch.dit"])),
            metadata["tstitch.prediction"],
            float(metadata["tstitch.time_scale"]),
            StarterLatent(json.loads(preview)),
            {key: value for key, value in metadata.items() if key.startswith("tstitch.")},
            json.loads(metadata["tstitch.classes"]),
            float(metadata.get("tstitch.shift", 1.0)),
        )
        expected = weight_shapes(config.dit)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise StitchError(f"The file {checkpoint.name} describes its starter model wrongly: save it again.") from error
    check_weights(checkpoint, expected, "starter model")
    return build_patcher(config, checkpoint.state, dtype)


def describe_starter(patcher: ModelPatcher) -> str:
    config = patcher.model.model_config
    dit, kind = config.dit, "noise" if config.prediction == "eps" else "velocity"
    return (
        f"starter model (predicts {kind}): {dit.depth} blocks, {dit.width} wide, {dit.heads} heads, {dit.classes}"
        " classes; its VAE is that of Load Starter Models"
    )


def load_starter_vae() -> comfy.sd.VAE:
    weights = read_weights(VAE)
    vae = comfy.sd.VAE(weights.state, config={"params": json.loads(weights.metadata["tstitch.vae"])})
    vae.downscale_ratio = vae.upscale_ratio = PIXELS_PER_LATENT
    return vae


def read_weights(name: str) -> Checkpoint:
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
    return Checkpoint(name, state, metadata)
