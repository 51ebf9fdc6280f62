"""BK-SDM (arXiv 2305.15798): Stable Diffusion U-Nets with blocks removed, which the host does not load itself.

Going down, each level keeps the first of its two residual-attention pairs; going up, the first and the last of three.
Small and Tiny have no middle block, Tiny no innermost level either. Every kept block has its number from Stable
Diffusion, so that LoRAs made for that model find their layers.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.supported_models
import comfy.utils
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import TimestepEmbedSequential, UNetModel
from torch import Tensor, nn

from ..errors import StitchError
from .shared.checkpoint import Checkpoint, check_weights, read_checkpoint, weight_of
from .shared.host_model import EagerLayers, build_patcher, reloadable
from .shared.model_file import ModelFile
from .shared.patches import check_channels

LEVELS = 4  # of Stable Diffusion
PAIRS = 2  # residual-attention pairs a level going down; one more going up
KEPT_UP = {0: 0, 2: 1}  # block of Stable Diffusion to block of the file
#: Stable Diffusion's own blocks, from which the host derives the names in LoRA files.
ORIGINAL_LAYOUT = {
    "num_res_blocks": [PAIRS] * LEVELS,
    "transformer_depth": [1] * PAIRS * (LEVELS - 1) + [0] * PAIRS,
    "transformer_depth_output": [1] * (PAIRS + 1) * (LEVELS - 1) + [0] * (PAIRS + 1),
    "transformer_depth_middle": 1,
    "channel_mult": [1, 2, 4, 4],
}
NO_MIDDLE_BLOCK = -2
FAMILIES = {768: comfy.supported_models.SD15, 1024: comfy.supported_models.SD20}


class _Copy(nn.Module):
    """Replaces the middle block: the host changes the innermost skip in place, so it must not be the output too."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


class SlimUNet(UNetModel):
    """The host's U-Net with one pair per level, its blocks numbered as in Stable Diffusion."""

    input_blocks: nn.ModuleList
    output_blocks: nn.ModuleList
    middle_block: nn.Module | None

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        levels = len(config["channel_mult"])
        down = [level * (PAIRS + 1) + place for level in range(levels) for place in (1, PAIRS + 1)]
        up = [(LEVELS - 1 - level) * (PAIRS + 1) + place for level in reversed(range(levels)) for place in KEPT_UP]
        self.has_middle_block = self.middle_block is not None
        if not self.has_middle_block:
            self.middle_block = TimestepEmbedSequential(_Copy())
        self.numbers = [0, *down[:-1]]
        self.input_blocks = _numbered(self.input_blocks, self.numbers)
        self.output_blocks = _numbered(self.output_blocks, up)

    def forward(
        self, x: Tensor, timesteps: Any = None, context: Any = None, y: Any = None, control: Any = None, **more: Any
    ) -> Tensor:
        """A ControlNet of Stable Diffusion corrects the skips that were kept, and the middle block if there is one."""
        check_channels(x, self.in_channels)
        if control is not None:
            control = {kind: list(corrections) for kind, corrections in control.items()}
            if len(control.get("output", [])) > len(self.numbers):
                control["output"] = [control["output"][number] for number in self.numbers]
            if not self.has_middle_block:
                control.pop("middle", None)
        return super().forward(x, timesteps, context, y, control, **more)


def _numbered(blocks: nn.ModuleList, numbers: list[int]) -> nn.ModuleList:
    renumbered = nn.ModuleList()
    for number, block in zip(numbers, blocks, strict=True):
        renumbered.add_module(str(number), block)
    return renumbered


@reloadable
def load_bksdm(file: str | Path | ModelFile, dtype: torch.dtype | None = None) -> Any:
    """A BK-SDM U-Net in the diffusers layout as a MODEL. Raises StitchError."""
    checkpoint = read_checkpoint(file)
    unet_config = infer_unet_config(checkpoint)
    network = SlimUNet(**unet_config, device="meta", operations=EagerLayers).state_dict()
    names = names_in_file(network, len(unet_config["channel_mult"]))
    check_weights(checkpoint, {names[key]: tuple(value.shape) for key, value in network.items()}, "BK-SDM")
    state = {target: checkpoint.state[file_name] for target, file_name in names.items()}
    return build_patcher(slim_config(unet_config), state, dtype)


def names_in_file(weights: Collection[str], levels: int) -> dict[str, str]:
    """BK-SDM's names of the weights of a network with so many levels."""
    names: dict[str, str] = {}
    for original, target in comfy.utils.unet_to_diffusers(ORIGINAL_LAYOUT).items():
        if target in weights and (file_name := name_in_file(original, levels)) is not None:
            names.setdefault(target, file_name)
    return names


def name_in_file(original: str, levels: int) -> str | None:
    """BK-SDM's name of a weight of Stable Diffusion, both in the diffusers layout; None where it was removed."""
    if found := re.match(r"down_blocks\.\d+\.(?:resnets|attentions)\.(\d+)", original):
        return original if found[1] == "0" else None
    if found := re.match(r"up_blocks\.(\d+)\.(.+)", original):
        level, rest = int(found[1]) - (LEVELS - levels), found[2]
        if block := re.match(r"(resnets|attentions)\.(\d+)\.(.+)", rest):
            kept = KEPT_UP.get(int(block[2]))
            return None if kept is None else f"up_blocks.{level}.{block[1]}.{kept}.{block[3]}"
        return f"up_blocks.{level}.{rest}"
    return original


def infer_unet_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The host's description of the U-Net, from the weights. Raises StitchError."""
    state, name = checkpoint.state, checkpoint.name
    if "conv_in.weight" not in state or "down_blocks.0.resnets.0.conv1.weight" not in state:
        keys = ", ".join(sorted(state)[:2])
        if any(re.search(r"(^|\.)input_blocks\.\d+\.0\.", key) for key in state):
            raise StitchError(
                f"The file {name} is a Stable Diffusion model in its own layout: load it with Load Checkpoint."
            )
        raise StitchError(f"The file {name} is no U-Net in the diffusers layout: it begins with {keys}.")
    levels = _count(state, r"down_blocks\.(\d+)\.resnets")
    pairs = _count(state, r"down_blocks\.0\.resnets\.(\d+)")
    if pairs != 1 or levels not in (LEVELS - 1, LEVELS):
        raise StitchError(
            f"The file {name} is no BK-SDM: it has {levels} levels with {pairs} blocks each going down, where BK-SDM"
            " has 3 or 4 levels with one block; try Load Diffusion Model."
        )
    context = state.get("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight")
    context_width = context.shape[1] if context is not None and context.ndim == 2 else 0
    if context_width not in FAMILIES:
        raise StitchError(
            f"The file {name} is no BK-SDM: it reads text {context_width} wide, where Stable Diffusion 1 has 768 and 2"
            " has 1024."
        )
    width, channels = weight_of(checkpoint, "conv_in.weight", 4, "BK-SDM").shape[:2]
    depths = [_count(state, rf"down_blocks\.{level}\.attentions\.(0)") for level in range(levels)]
    widths = [
        weight_of(checkpoint, f"down_blocks.{level}.resnets.0.conv1.weight", 4, "BK-SDM").shape[0]
        for level in range(levels)
    ]
    projections = [value for key, value in state.items() if key.endswith(".attentions.0.proj_in.weight")]
    return {
        "image_size": 32,
        "in_channels": channels,
        "out_channels": 4,
        "model_channels": width,
        "channel_mult": [level_width // width for level_width in widths],
        "num_res_blocks": [1] * levels,
        "transformer_depth": depths,
        "transformer_depth_output": [depth for depth in depths for _ in range(2)],
        "transformer_depth_middle": 1 if "mid_block.resnets.0.conv1.weight" in state else NO_MIDDLE_BLOCK,
        "context_dim": context_width,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": any(value.ndim == 2 for value in projections),
        "adm_in_channels": None,
        "use_checkpoint": False,
        "legacy": False,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        **FAMILIES[context_width].unet_extra_config,
    }


def slim_config(unet_config: dict[str, Any]) -> Any:
    """The host's configuration of Stable Diffusion 1 or 2 around the smaller network."""
    family, levels = FAMILIES[unet_config["context_dim"]], len(unet_config["channel_mult"])

    class SlimConfig(family):  # type: ignore[valid-type, misc]
        unet_config: dict[str, Any]

        def process_unet_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
            names = names_in_file(state_dict, levels)
            published = {names.get(key, key): value for key, value in state_dict.items()}
            return super().process_unet_state_dict_for_saving(published)

        def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> Any:
            kind = self.model_type(state_dict, prefix)
            model = comfy.model_base.BaseModel(self, model_type=kind, device=device, unet_model=SlimUNet)
            self.unet_config = {**self.unet_config, **ORIGINAL_LAYOUT}
            return model

    return SlimConfig(unet_config)


def _count(state: dict[str, Tensor], pattern: str) -> int:
    return len({found[1] for key in state if (found := re.match(pattern, key))})
