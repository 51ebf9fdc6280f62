"""A U-ViT as a MODEL of the host."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_patcher
import comfy.supported_models_base
import torch
from torch import Tensor

from ..class_labels import ClassSet
from ..shared.attention import host_attention
from ..shared.checkpoint import with_facts
from ..shared.class_model import ClassModel, with_guided_channels
from ..shared.host_model import build_patcher, check_sd_latents, run_wrapped
from .checkpoint import CONTINUOUS, DISCRETE, OWN_TABLE, TABLE, UViTWeights
from .network import UViT, UViTConfig

STEPS = 1000


class HostedUViT(UViT):
    """A U-ViT as the host calls it."""

    def forward(
        self, x: Tensor, timesteps: Tensor, context: Tensor, transformer_options: dict | None = None, **_: Any
    ) -> Tensor:
        return run_wrapped(self, super().forward, x, timesteps, context, transformer_options)


class HostUViT(ClassModel):
    def process_timestep(self, timestep: Tensor, **kwargs: Any) -> Tensor:
        """The host's step k of 0 to 999 is the published n = k + 1, or the time n / 1000, which is fed times 999."""
        return (timestep + 1) * (1.0 if self.model_config.discrete else (STEPS - 1) / STEPS)


class HostUViTConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 0.6
    supported_inference_dtypes = [torch.bfloat16, torch.float32]  # its authors take the attention out of fp16

    def __init__(self, uvit: UViTConfig, discrete: bool) -> None:
        super().__init__({"config": uvit, "attention": host_attention})
        self.heads, self.discrete = uvit.heads, discrete
        self.latent_format = comfy.latent_formats.SD15()
        self.class_set = ClassSet.of(uvit.classes)
        self.latent_size = uvit.size

    def process_unet_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        facts = {"tstitch.variant": DISCRETE if self.discrete else CONTINUOUS, "tstitch.heads": str(self.heads)}
        published = {TABLE if key == OWN_TABLE else key: value for key, value in state_dict.items()}
        return super().process_unet_state_dict_for_saving(with_facts(published, facts))

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> HostUViT:
        kind = comfy.model_base.ModelType.EPS
        model = HostUViT(self, model_type=kind, device=device, unet_model=HostedUViT)
        if not self.discrete:
            model.model_sampling.set_sigmas(continuous_sigmas())
        return model


def continuous_sigmas() -> Tensor:
    """Noise levels of the variance-preserving SDE at t = 1/1000 ... 1 (appendix C of arXiv 2011.13456)."""
    t = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    return (0.1 * t + 0.5 * (20 - 0.1) * t**2).expm1().sqrt()


def build_uvit(
    weights: UViTWeights, guided_channels: int | None = None, dtype: torch.dtype | None = None
) -> comfy.model_patcher.ModelPatcher:
    """A U-ViT on the latents of the SD VAE as a MODEL. `guided_channels` None guides all, as its authors do."""
    check_sd_latents(weights.config.channels)
    patcher = build_patcher(HostUViTConfig(weights.config, weights.discrete), weights.state, dtype)
    return with_guided_channels(patcher, guided_channels)
