"""The starter models in plain torch, and the two reference samplers that score them without the host's sampling."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from training.autoencoder import build_vae
from training.denoiser import ddpm_alphas_bar
from tstitch.families.dit.network import DiT, DiTConfig

MODELS = Path(__file__).resolve().parents[2] / "models"
LATENT_SHAPE = (4, 16, 16)


def weights_path(name: str) -> Path:
    return MODELS / f"starter_{name.lower().replace('-', '_')}.safetensors"


@cache
def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def fused_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class Denoiser:
    """One starter DiT with what its prediction means."""

    name: str
    model: DiT
    prediction: str  # "flow", "eps" or "flow_from_noise"
    time_scale: float
    shift: float = 1.0  # time shift of sampling (section 5.3.2 of arXiv 2403.03206)

    def __call__(self, x: Tensor, time: float, weights: Tensor, cfg: float, step: float = 1 / 128) -> Tensor:
        """The guided prediction for `x` (N, 4, 16, 16) and class weights (N, 10); both halves in one batch.

        `time` runs from 1 (noise) to 0, or counts DDPM steps for "eps"; `step` is the part of the way that a Shortcut
        model is to take.
        """
        if cfg == 1.0:
            return self.predict(x, time, weights, step)
        both = torch.cat([weights, torch.zeros_like(weights)])
        cond, uncond = self.predict(x.repeat(2, 1, 1, 1), time, both, step).chunk(2)
        return uncond + cfg * (cond - uncond)

    def predict(self, x: Tensor, time: float, weights: Tensor, step: float) -> Tensor:
        from_noise = self.prediction == "flow_from_noise"
        timesteps = torch.full((len(x),), self.time_scale * (1 - time if from_noise else time))
        level = torch.full((len(x),), round(-math.log2(step))) if self.model.config.shortcut else None
        output = self.model(x, timesteps, weights[:, None], step=level).float()
        return -output if from_noise else output


def load_denoiser(name: str, path: Path | None = None) -> Denoiser:
    """A bundled model by its name, or the weights of `path` under a name of their own."""
    path = path or weights_path(name)
    info = metadata(path)
    model = DiT(DiTConfig(**json.loads(info["tstitch.dit"])), fused_attention)
    model.load_state_dict(load_file(path))
    model.float().eval().requires_grad_(False)
    shift = float(info.get("tstitch.shift", 1.0))
    return Denoiser(name, model, info["tstitch.prediction"], float(info["tstitch.time_scale"]), shift)


@cache
def flops(path: Path, side: int, skipped: int = 0) -> float:
    """Of one pass of one picture, whose latent has that side, without so many of the blocks."""
    config, meta = DiTConfig(**json.loads(metadata(path)["tstitch.dit"])), torch.device("meta")
    config = replace(config, depth=config.depth - skipped)
    model = DiT(config, fused_attention, device=meta)
    x, time = torch.zeros(1, config.channels, side, side, device=meta), torch.zeros(1, device=meta)
    with FlopCounterMode(display=False) as counter:
        model(x, time, torch.zeros(1, 1, config.classes, device=meta), step=time if config.shortcut else None)
    return counter.get_total_flops()


def load_vae() -> Any:
    vae = build_vae()
    vae.load_state_dict(load_file(MODELS / "starter_vae.safetensors"))
    return vae.float().eval().requires_grad_(False)


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Signals (N, 3, 64, 64), rounded to the 256 levels of an image file."""
    pixels = vae.decoder(vae.post_quant_conv(latents)).clamp(-1, 1)
    return ((pixels + 1) * 127.5).round() / 127.5 - 1


def sample(stages: list[Denoiser], noise: Tensor, weights: Tensor, cfg: float) -> Tensor:
    """Latents by Euler (flow) or DDIM (eps, arXiv 2010.02502); `stages` names the model of each step."""
    sampler = ddim if stages[0].prediction == "eps" else euler
    return sampler(stages, noise, weights, cfg)


def euler(stages: list[Denoiser], x: Tensor, weights: Tensor, cfg: float) -> Tensor:
    """At the times of the finishing model, as the nodes run it."""
    uniform, shift = torch.linspace(1, 0, len(stages) + 1), stages[-1].shift
    times = (shift * uniform / (1 + (shift - 1) * uniform)).tolist()
    for stage, time, following in zip(stages, times[:-1], times[1:], strict=True):
        x = x + (following - time) * stage(x, time, weights, cfg, time - following)
    return x


def ddim(stages: list[Denoiser], x: Tensor, weights: Tensor, cfg: float) -> Tensor:
    alphas_bar = ddpm_alphas_bar()
    steps = torch.linspace(999, 0, len(stages) + 1).round().long()[:-1]
    levels = [*alphas_bar[steps].tolist(), 1.0]
    for stage, step, level, following in zip(stages, steps.tolist(), levels[:-1], levels[1:], strict=True):
        eps = stage(x, step, weights, cfg)
        x0 = (x - (1 - level) ** 0.5 * eps) / level**0.5
        x = following**0.5 * x0 + (1 - following) ** 0.5 * eps
    return x
