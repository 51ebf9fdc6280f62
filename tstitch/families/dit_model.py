"""A DiT as a MODEL of the host: its layers, attention, dtypes, memory and samplings are the host's."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management as mm
import comfy.model_patcher
import comfy.supported_models_base
import comfy.utils
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from ..errors import StitchError
from .dit import DiT, DiTConfig


class HostDiT(comfy.model_base.BaseModel):
    """Takes class weights (N, K, classes) where other models take text."""

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        weights, classes = kwargs.get("cross_attn"), self.model_config.dit.classes
        if weights is None or weights.shape[-1] != classes:
            found = "none" if weights is None else f"of width {weights.shape[-1]}"
            raise StitchError(
                f"The conditioning is {found}, but this model takes weights of its {classes} classes: connect the"
                " positive and negative outputs of its loader."
            )
        return super().extra_conds(**kwargs)


class HostDiTConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 0.6

    def __init__(self, dit: DiTConfig, prediction: str, time_scale: float, latent_format: Any) -> None:
        super().__init__({"config": dit, "attention": host_attention})
        self.dit, self.prediction, self.latent_format = dit, prediction, latent_format
        self.sampling_settings: dict[str, Any]
        if prediction == "flow":
            self.sampling_settings = {"shift": 1.0, "multiplier": time_scale}
        else:  # the DDPM linear schedule, which the host calls by what it is linear in
            self.sampling_settings = {"beta_schedule": "sqrt_linear", "linear_start": 1e-4, "linear_end": 2e-2}

    def model_type(self, state_dict: dict[str, Tensor], prefix: str = "") -> Any:
        kinds = comfy.model_base.ModelType
        return kinds.FLOW if self.prediction == "flow" else kinds.EPS

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> HostDiT:
        return HostDiT(self, model_type=self.model_type(state_dict, prefix), device=device, unet_model=DiT)


def host_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    return optimized_attention(q, k, v, heads)


def build_patcher(config: HostDiTConfig, state_dict: dict[str, Tensor]) -> comfy.model_patcher.ModelPatcher:
    """The weights as a MODEL, in the dtype and on the devices the host chooses."""
    load_device = mm.get_torch_device()
    dtypes = list(config.supported_inference_dtypes)
    dtype = mm.unet_dtype(
        model_params=comfy.utils.calculate_parameters(state_dict),
        supported_dtypes=dtypes,
        weight_dtype=comfy.utils.weight_dtype(state_dict),
    )
    config.set_inference_dtype(dtype, mm.unet_manual_cast(dtype, load_device, dtypes))
    model = config.get_model(state_dict)
    offload_device = mm.unet_offload_device()
    model.to(offload_device)
    model.load_model_weights(state_dict, "")
    return comfy.model_patcher.ModelPatcher(model, load_device=load_device, offload_device=offload_device)
