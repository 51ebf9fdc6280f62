"""Base of all class-conditional models in the host."""

from __future__ import annotations

from typing import Any

import comfy.model_base
import comfy.model_patcher
from torch import Tensor

from ...errors import StitchError


class ClassModel(comfy.model_base.BaseModel):
    """Takes class weights (N, K, classes) where other models take text; its configuration names the `class_set`."""

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        weights, classes = kwargs.get("cross_attn"), self.model_config.class_set.count
        if weights is None or weights.shape[-1] != classes:
            found = "none" if weights is None else f"of width {weights.shape[-1]}"
            raise StitchError(
                f"The conditioning is {found}, but this model takes weights of its {classes} classes: connect the"
                " positive and negative outputs of its loader, or of a Class Label node with this model."
            )
        return super().extra_conds(**kwargs)


class GuideFirstChannels:
    """Classifier-free guidance on the first channels only, as the authors of DiT sample (arXiv 2212.09748)."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def __call__(self, args: dict[str, Any]) -> Tensor:
        denoised = args["denoised"].clone()
        denoised[:, self.channels :] = args["cond_denoised"][:, self.channels :]
        return denoised


def with_guided_channels(
    patcher: comfy.model_patcher.ModelPatcher, guided_channels: int | None
) -> comfy.model_patcher.ModelPatcher:
    if guided_channels is not None:
        patcher.set_model_sampler_post_cfg_function(GuideFirstChannels(guided_channels))
    return patcher
