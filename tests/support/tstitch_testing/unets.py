"""The host's own U-Net and ControlNet, small and random."""

from __future__ import annotations

from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.latent_formats
import comfy.model_base
import comfy.ops
import comfy.supported_models_base
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import ModelType
from torch import nn

from tstitch_testing.models import patcher_of

CONTEXT_WIDTH = 5  # as `tstitch_testing.models.conditioning` makes it


def unet_config(width: int = 32, res_blocks: int = 1) -> dict[str, Any]:
    blocks = [res_blocks] * 2
    return {
        "image_size": 8,
        "in_channels": 4,
        "model_channels": width,
        "num_res_blocks": blocks,
        "channel_mult": [1, 2],
        "num_heads": -1,
        "num_head_channels": 16,
        "legacy": False,
        "use_spatial_transformer": True,
        "transformer_depth": [1] * sum(blocks),
        "transformer_depth_middle": 1,
        "context_dim": CONTEXT_WIDTH,
        "dtype": torch.float32,
    }


class UNetConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 0.01

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.latent_format = comfy.latent_formats.SD15()


def unet_model(
    seed: int = 0, width: int = 32, res_blocks: int = 1, kind: ModelType = ModelType.EPS, in_channels: int = 4
) -> Any:
    """A MODEL of the host's U-Net: `conditioning()` fits it."""
    config = unet_config(width, res_blocks) | {"in_channels": in_channels}
    depths = [1] * (2 * (res_blocks + 1))
    config |= {"out_channels": 4, "transformer_depth_output": depths}
    model = comfy.model_base.BaseModel(UNetConfig(config), model_type=kind, unet_model=UNetModel)
    randomise(model.diffusion_model, seed)
    return patcher_of(model)


def controlnet(seed: int = 0, width: int = 32, res_blocks: int = 1) -> Any:
    """A ControlNet for `unet_model` of the same width and blocks, with an image to follow."""
    network = comfy.cldm.cldm.ControlNet(hint_channels=3, **unet_config(width, res_blocks))
    randomise(network, seed)
    control = comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"), manual_cast_dtype=None)
    hint = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    return control.set_cond_hint(hint, strength=0.8)


def control_lora(seed: int = 0, width: int = 32, res_blocks: int = 1, rank: int = 2) -> Any:
    """A Control-LoRA for `unet_model` of the same width and blocks: most of its layers change those of the model."""
    network = comfy.cldm.cldm.ControlNet(hint_channels=3, **unet_config(width, res_blocks))
    randomise(network, seed)
    borrowed = unet_model(width=width, res_blocks=res_blocks).model.diffusion_model.state_dict()
    generator = torch.Generator().manual_seed(seed)
    weights = {"lora_controlnet": torch.tensor([])}
    for key, value in network.state_dict().items():
        if key in borrowed and value.ndim > 1:
            stem, fan_in = key.removesuffix("weight"), value[0].numel()
            weights[f"{stem}up"] = torch.randn(value.shape[0], rank, generator=generator)
            weights[f"{stem}down"] = torch.randn(rank, fan_in, generator=generator) / fan_in**0.5
        else:
            weights[key] = value
    control = comfy.controlnet.load_controlnet_state_dict(weights)
    return control.set_cond_hint(torch.rand(1, 3, 64, 64, generator=generator), strength=0.8)


def with_control(conditioning: list[Any], control: Any) -> list[Any]:
    """As the host's Apply ControlNet node leaves it."""
    return [
        [tensor, {**values, "control": control, "control_apply_to_uncond": False}] for tensor, values in conditioning
    ]


def randomise(module: nn.Module, seed: int) -> None:
    """Weights of a trained network's size: the output stays near unit variance."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(False)
        if parameter.ndim > 1:
            fan_in = parameter.numel() // max(parameter.shape[0], 1)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
        elif name.endswith("weight"):
            parameter.fill_(1.0)
        else:
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
