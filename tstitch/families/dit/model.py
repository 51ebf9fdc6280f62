"""A DiT as a MODEL of the host: its layers, attention, dtypes, memory and samplings are the host's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from .checkpoint import DiTWeights
from .network import DiT, DiTConfig
from .step_size import StepSizeCheck, step_level

HOST_TIMES = 1000.0  # flow models of the host count time from 0 to 1000
DEFAULT_LATENT = 32  # per side, if the file does not say: 256 pixels


class HostedDiT(DiT):
    """A DiT as the host calls it."""

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        transformer_options: dict | None = None,
        step: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        return run_wrapped(self, self.predict, x, timesteps, context, transformer_options, step=step)

    def predict(
        self, x: Tensor, timesteps: Tensor, context: Tensor, transformer_options: dict, step: Tensor | None
    ) -> Tensor:
        return super().forward(x, timesteps, context, transformer_options, step)


class FromNoiseDiT(HostedDiT):
    """SiT and Shortcut weights, whose time 0 is noise and whose velocity points to the image, in the host's terms."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.check_step_sizes = StepSizeCheck()

    def predict(
        self, x: Tensor, timesteps: Tensor, context: Tensor, transformer_options: dict, step: Tensor | None
    ) -> Tensor:
        if self.config.shortcut and step is None:
            sample_sigmas = transformer_options.get("sample_sigmas")
            self.check_step_sizes(sample_sigmas)
            step = step_level(timesteps, sample_sigmas)
        return -super().predict(x, 1 - timesteps, context, transformer_options, step)


class HostDiT(ClassModel):
    def process_timestep(self, timestep: Tensor, **kwargs: Any) -> Tensor:
        scale = self.model_config.time_scale
        return timestep if scale in (None, HOST_TIMES) else timestep * (scale / HOST_TIMES)


class HostDiTConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 0.6

    def __init__(
        self,
        dit: DiTConfig,
        prediction: str,
        time_scale: float,
        latent_format: Any,
        facts: Mapping[str, str],
        class_names: Sequence[str] | None = None,
        shift: float = 1.0,
    ) -> None:
        super().__init__({"config": dit, "attention": host_attention})
        self.dit, self.prediction, self.latent_format, self.facts = dit, prediction, latent_format, facts
        self.class_set = ClassSet.of(dit.classes, class_names)
        self.latent_size = dit.size or DEFAULT_LATENT
        self.time_scale = None if prediction == "eps" else time_scale
        self.sampling_settings: dict[str, Any]
        if prediction == "eps":  # the DDPM linear schedule, which the host calls by what it is linear in
            self.sampling_settings = {"beta_schedule": "sqrt_linear", "linear_start": 1e-4, "linear_end": 2e-2}
        else:
            self.sampling_settings = {"shift": shift, "multiplier": HOST_TIMES}

    def model_type(self, state_dict: dict[str, Tensor], prefix: str = "") -> Any:
        kinds = comfy.model_base.ModelType
        return kinds.EPS if self.prediction == "eps" else kinds.FLOW

    def process_unet_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        return super().process_unet_state_dict_for_saving(with_facts(state_dict, self.facts))

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> HostDiT:
        network = FromNoiseDiT if self.prediction == "flow_from_noise" else HostedDiT
        model = HostDiT(self, model_type=self.model_type(state_dict, prefix), device=device, unet_model=network)
        if self.dit.shortcut:  # a table in which the scheduler `simple` finds every trained step size exactly
            model.model_sampling.set_parameters(shift=1.0, timesteps=1024, multiplier=HOST_TIMES)
        return model


def build_dit(
    weights: DiTWeights, guided_channels: int | None, dtype: torch.dtype | None = None
) -> comfy.model_patcher.ModelPatcher:
    """A DiT on the latents of the SD VAE as a MODEL. `guided_channels` None guides all."""
    check_sd_latents(weights.config.channels)
    latent_format = comfy.latent_formats.SD15()
    config = HostDiTConfig(weights.config, weights.variant.prediction, 1.0, latent_format, weights.facts)
    return with_guided_channels(build_patcher(config, weights.state, dtype), guided_channels)
