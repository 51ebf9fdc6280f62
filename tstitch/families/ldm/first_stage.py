"""The VQ first stage of latent diffusion models as a VAE: the host's encoder and decoder around a codebook.

As in arXiv 2112.10752 (appendix G), the codebook belongs to the decoder: latents are quantised when they are decoded,
so a diffusion model works on what the encoder gives.
"""

from __future__ import annotations

import re
from typing import Any

import comfy.sd
import torch
from comfy.ldm.cascade.stage_a import VectorQuantize
from comfy.ldm.models.autoencoder import AutoencoderKL
from torch import Tensor, nn

from ..shared.checkpoint import Checkpoint, check_weights, weight_of

PREFIX = "first_stage_model."
CODEBOOK = "quantize.embedding.weight"
TRAINING_ONLY = ("loss.", "model_ema.")
FAMILY = "VQ first stage"
RESOLUTION = 256  # any power of two would do: attention is told by resolution, and read from the levels


class Unchanged(nn.Module):
    """Replaces the host's Gaussian sampling."""

    def forward(self, z: Tensor) -> tuple[Tensor, None]:
        return z, None


class Quantized(nn.Module):
    """The nearest code of each latent pixel, then what follows; latents are (N, C, H, W)."""

    def __init__(self, codebook: Tensor, following: nn.Module) -> None:
        super().__init__()
        self.quantize = VectorQuantize(codebook.shape[1], codebook.shape[0])
        self.quantize.load_state_dict({"codebook.weight": codebook.float()})
        self.following = following

    def forward(self, z: Tensor) -> Tensor:
        # The host leaves layers that it cannot cast on the fly where they are, if it loads a model in part only.
        codes = self.quantize.to(z.device)(z.float(), get_losses=False, dim=1)[0]
        return self.following(codes.to(z.dtype))


def first_stage_of(checkpoint: Checkpoint) -> Checkpoint | None:
    """Weights of the first stage, from a file with the whole model or a separate one; None if it has none."""
    state = checkpoint.state
    if any(key.startswith(PREFIX) for key in state):
        state = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    state = {key: value for key, value in state.items() if not key.startswith(TRAINING_ONLY)}
    return Checkpoint(checkpoint.name, state) if "decoder.conv_in.weight" in state else None


def load_first_stage(checkpoint: Checkpoint) -> comfy.sd.VAE:
    """The weights that `first_stage_of` found as a VAE. Raises StitchError."""
    codebook = weight_of(checkpoint, CODEBOOK, 2, FAMILY)
    config = infer_config(checkpoint)
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in AutoencoderKL(**config).state_dict().items()}
    expected[CODEBOOK] = (codebook.shape[0], config["embed_dim"])
    check_weights(checkpoint, expected, FAMILY)
    state = {key: value for key, value in checkpoint.state.items() if key != CODEBOOK}
    vae = comfy.sd.VAE(state, config={"params": config})
    vae.latent_channels = config["embed_dim"]
    vae.downscale_ratio = vae.upscale_ratio = pixels_per_latent(config)
    vae.first_stage_model.regularization = Unchanged()
    vae.first_stage_model.post_quant_conv = Quantized(codebook, vae.first_stage_model.post_quant_conv)
    return vae


def pixels_per_latent(config: dict[str, Any]) -> int:
    return 2 ** (len(config["ddconfig"]["ch_mult"]) - 1)


def infer_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The host's description of the autoencoder, from the weights. Raises StitchError where they are none's."""
    state = checkpoint.state
    first, last, embedding = (
        weight_of(checkpoint, key, 4, FAMILY)
        for key in ("encoder.conv_in.weight", "decoder.conv_in.weight", "post_quant_conv.weight")
    )
    levels = _count(state, r"encoder\.down\.(\d+)\.")
    blocks = [weight_of(checkpoint, f"encoder.down.{level}.block.0.conv1.weight", 4, FAMILY) for level in range(levels)]
    attended = [level for level in range(levels) if f"encoder.down.{level}.attn.0.norm.weight" in state]
    ddconfig = {
        "double_z": False,
        "z_channels": last.shape[1],
        "resolution": RESOLUTION,
        "in_channels": first.shape[1],
        "out_ch": weight_of(checkpoint, "decoder.conv_out.weight", 4, FAMILY).shape[0],
        "ch": first.shape[0],
        "ch_mult": [block.shape[0] // first.shape[0] for block in blocks],
        "num_res_blocks": _count(state, r"encoder\.down\.0\.block\.(\d+)\."),
        "attn_resolutions": [RESOLUTION >> level for level in attended],
        "dropout": 0.0,
    }
    return {"ddconfig": ddconfig, "embed_dim": embedding.shape[1]}


def _count(state: dict[str, Tensor], pattern: str) -> int:
    return len({found[1] for key in state if (found := re.match(pattern, key))})
