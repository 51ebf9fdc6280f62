"""Class-conditional latent diffusion models (LDM, arXiv 2112.10752) as a MODEL: the host's own U-Net and samplings."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.supported_models_base
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import Tensor

from ..class_labels import ClassSet
from ..dit.network import LabelEmbedder
from ..shared.checkpoint import with_facts
from ..shared.class_model import ClassModel
from ..shared.host_model import EagerLayers
from ..shared.patches import check_channels

UNET = "model.diffusion_model."
TABLE, OWN_TABLE = "cond_stage_model.embedding.weight", "class_embedding.embedding_table.weight"  # in files, here
IMAGE_SIZE = 256  # pixels a side of the training images


class ClassUNet(UNetModel):
    """The host's U-Net, which embeds classes itself and attends to them as others to text."""

    def __init__(self, classes: int, class_width: int, operations: Any = EagerLayers, **config: Any) -> None:
        super().__init__(operations=operations, context_dim=class_width, **config)
        factory = {"dtype": config.get("dtype"), "device": config.get("device")}
        self.class_embedding = LabelEmbedder(classes, class_width, operations, **factory)

    def forward(self, x: Tensor, timesteps: Any = None, context: Any = None, *args: Any, **more: Any) -> Tensor:
        """Predict the noise in `x` (N, C, H, W); context: (N, K, classes) class weights, K tokens to attend to."""
        check_channels(x, self.in_channels)
        return super().forward(x, timesteps, self.class_embedding(context.float(), x.dtype), *args, **more)


class VQLatent(comfy.latent_formats.LatentFormat):
    """Latents of a VQ first stage, which are used as they are."""

    def __init__(self, channels: int) -> None:
        self.latent_channels = channels


class LDMConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 1.0
    sampling_settings = {"beta_schedule": "linear", "linear_start": 0.0015, "linear_end": 0.0195}

    def __init__(self, unet_config: dict[str, Any], pixels_per_latent: int) -> None:
        super().__init__(unet_config)
        self.latent_format = VQLatent(unet_config["in_channels"])
        self.class_set = ClassSet.of(unet_config["classes"])
        self.latent_size = IMAGE_SIZE // pixels_per_latent

    def process_unet_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        facts = {"tstitch.head_channels": str(self.unet_config.get("num_head_channels", 0))}
        saved = super().process_unet_state_dict_for_saving(with_facts(state_dict, facts))
        return {TABLE if key == UNET + OWN_TABLE else key: value for key, value in saved.items()}

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> ClassModel:
        kind = comfy.model_base.ModelType.EPS
        return ClassModel(self, model_type=kind, device=device, unet_model=ClassUNet)
