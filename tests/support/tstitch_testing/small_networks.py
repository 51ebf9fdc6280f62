"""Networks of the host's newer families, small and random, with the conditioning that belongs to each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.latent_formats
import comfy.ldm.lightricks.symmetric_patchifier as patchifier
import comfy.model_base
import comfy.supported_models_base
import torch

from tstitch_testing.models import patcher_of
from tstitch_testing.unets import randomise

TEXT = 8


class SmallConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 0.01

    def __init__(self, config: dict[str, Any], latent_format: Any) -> None:
        super().__init__(config)
        self.latent_format, self.sampling_settings = latent_format, {"shift": 3.0}


@dataclass(frozen=True)
class SmallNetwork:
    kind: str  # class of `comfy.model_base`
    latents: str  # class of `comfy.latent_formats`
    config: dict[str, Any]
    shape: tuple[int, ...]  # of a latent
    values: Callable[[tuple[int, ...]], dict[str, Any]] = lambda shape: {}  # of its conditioning, for a shape

    def exists(self) -> bool:
        return hasattr(comfy.model_base, self.kind)

    def model(self, seed: int = 1) -> Any:
        config = SmallConfig({**self.config, "dtype": torch.float32}, getattr(comfy.latent_formats, self.latents)())
        model = getattr(comfy.model_base, self.kind)(config)
        with torch.no_grad():
            randomise(model.diffusion_model, seed)
        return patcher_of(model)

    def conditioning(self, value: float, shape: tuple[int, ...] | None = None) -> list[Any]:
        text = torch.full((1, 4, TEXT), value) + torch.linspace(-1, 1, TEXT)
        return [[text, {"pooled_output": text[:, 0], **self.values(self.shape if shape is None else shape)}]]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


ROPE = [8, 8, 8]
WAN = {"dim": 48, "ffn_dim": 64, "freq_dim": 32, "text_dim": TEXT, "num_heads": 2, "num_layers": 1}
LUMINA = {
    "dim": 96,
    "n_layers": 1,
    "n_refiner_layers": 1,
    "n_heads": 4,
    "n_kv_heads": 2,
    "cap_feat_dim": TEXT,
    "patch_size": 2,
    "in_channels": 16,
    "qk_norm": True,
    "axes_dims": ROPE,
    "axes_lens": [300, 512, 512],
    "multiple_of": 32,
}
Z_IMAGE = {**LUMINA, "dim": 288, "n_heads": 12, "n_kv_heads": 12, "z_image_modulation": True, "time_scale": 1000.0}
Z_IMAGE["pad_tokens_multiple"] = 32
FLUX = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": TEXT,
    "context_in_dim": TEXT,
    "hidden_size": 48,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": ROPE,
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
}
HEADS = {"attention_head_dim": 24, "num_attention_heads": 2, "num_layers": 1}
QWEN = {**HEADS, "joint_attention_dim": TEXT, "axes_dims_rope": ROPE}
LTXV = {**HEADS, "cross_attention_dim": 48, "caption_channels": TEXT}
PICTURE, FRAME, VIDEO = (1, 16, 16, 24), (1, 16, 1, 16, 24), (1, 16, 3, 16, 24)


def text_mask(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"attention_mask": torch.ones(1, 4, dtype=torch.long)}


def reference(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"reference_latents": [noise(*shape)]}


def first_frame(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"concat_latent_image": noise(*shape), "concat_mask": torch.ones(1, 1, *shape[2:])}


def reference_frame(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"reference_latents": [noise(1, 16, 1, *shape[-2:])]}


def frame_at_the_end(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"time_dim_concat": noise(1, 16, 1, *shape[-2:])}


def control_video(shape: tuple[int, ...]) -> dict[str, Any]:
    frames, mask = noise(1, 32, *shape[2:]), torch.ones(1, 64, *shape[2:])
    return {"vace_frames": [frames], "vace_mask": [mask], "vace_strength": [1.0]}


def camera(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"camera_conditions": noise(1, 24, shape[2], shape[3] * 8, shape[4] * 8)}


def guide(shape: tuple[int, ...]) -> dict[str, Any]:
    """The last frame of a latent as LTX-Video's Add Guide node tells of it."""
    coords = patchifier.SymmetricPatchifier(1).get_latent_coords(1, *shape[-2:], 1, torch.device("cpu"))
    places = patchifier.latent_to_pixel_coords(coords, (8, 32, 32))
    return {"keyframe_idxs": places, "frame_rate": 25, "attention_mask": torch.ones(1, 4, dtype=torch.long)}


SMALL_NETWORKS = {
    "lumina 2": SmallNetwork("Lumina2", "Flux", LUMINA, PICTURE, text_mask),
    "z-image": SmallNetwork("Lumina2", "Flux", Z_IMAGE, PICTURE, text_mask),
    "flux kontext": SmallNetwork("Flux", "Flux", FLUX, PICTURE, reference),
    "qwen image edit": SmallNetwork("QwenImage", "Wan21", QWEN, FRAME, reference),
    "wan": SmallNetwork("WAN21", "Wan21", WAN, VIDEO),
    "wan image to video": SmallNetwork("WAN21", "Wan21", {**WAN, "in_dim": 36}, VIDEO, first_frame),
    "wan phantom": SmallNetwork("WAN21", "Wan21", WAN, VIDEO, frame_at_the_end),
    "wan fun reference": SmallNetwork("WAN21", "Wan21", {**WAN, "in_dim_ref_conv": 16}, VIDEO, reference_frame),
    "wan vace": SmallNetwork("WAN21_Vace", "Wan21", {**WAN, "vace_layers": 1, "vace_in_dim": 96}, VIDEO, control_video),
    "wan camera": SmallNetwork("WAN21_Camera", "Wan21", {**WAN, "model_type": "camera_2.2"}, VIDEO, camera),
    "ltx video with a guide": SmallNetwork("LTXV", "LTXV", LTXV, (1, 128, 3, 8, 12), guide),
}
