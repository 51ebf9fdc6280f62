"""From weights to a MODEL, as the host's own loaders do it."""

from __future__ import annotations

from typing import Any

import comfy.model_management as mm
import comfy.model_patcher
import comfy.utils
import torch
from torch import Tensor


def build_patcher(
    config: Any, state_dict: dict[str, Tensor], dtype: torch.dtype | None = None
) -> comfy.model_patcher.ModelPatcher:
    """The weights as a MODEL, in the dtype (unless given) and on the devices the host chooses."""
    load_device = mm.get_torch_device()
    dtypes = list(config.supported_inference_dtypes)
    dtype = dtype or mm.unet_dtype(
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
