"""Reads U-ViT weights (arXiv 2209.12152) of the class-conditional models on latents of the SD VAE."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass

from torch import Tensor

from ...errors import StitchError
from ..dit.checkpoint import published_heads
from ..shared.checkpoint import Checkpoint, check_weights, weight_of
from .network import EXTRAS, UViT, UViTConfig

logger = logging.getLogger("tstitch")

#: The noise schedules of the published files. The weights do not record which; `auto` decides by size.
CONTINUOUS, DISCRETE = "U-ViT", "U-ViT discrete"
VARIANTS = {
    CONTINUOUS: "predicts noise, trained on continuous time",
    DISCRETE: "predicts noise, trained on the steps of Stable Diffusion",
}
TABLE, OWN_TABLE = "label_emb.weight", "label_emb.embedding_table.weight"  # of classes, in files and in the network
DISCRETE_WIDTH = 1152  # of U-ViT-H/2 and H/4, whose authors trained them on discrete steps, unlike L/2 and L/4


@dataclass(frozen=True)
class UViTWeights:
    config: UViTConfig
    state: dict[str, Tensor]
    discrete: bool
    description: str


def is_uvit(checkpoint: Checkpoint) -> bool:
    return any(key.startswith(("in_blocks.", "mid_block.")) for key in checkpoint.state)


def interpret_uvit(checkpoint: Checkpoint, variant: str = "auto", heads: int = 0) -> UViTWeights:
    """What a checkpoint holds. `heads` 0 takes the published number. Raises StitchError."""
    if variant not in ("auto", *VARIANTS):
        raise StitchError(f"The file {checkpoint.name} is a U-ViT, but prediction is {variant}: choose auto.")
    if any(key.startswith("context_embed.") for key in checkpoint.state):
        raise StitchError(f"The file {checkpoint.name} is a U-ViT that reads text, not classes: it is not supported.")
    config = infer_config(checkpoint, heads)
    expected = {key: tuple(value.shape) for key, value in _skeleton(config).state_dict().items()}
    state = {OWN_TABLE if key == TABLE else key: value for key, value in checkpoint.state.items()}
    check_weights(Checkpoint(checkpoint.name, state), expected, "U-ViT")
    found, reason = variant, "chosen"
    if variant == "auto" and (told := checkpoint.metadata.get("tstitch.variant")) in VARIANTS:
        found, reason = told, "from its metadata"
    elif variant == "auto":
        found = DISCRETE if config.width == DISCRETE_WIDTH else CONTINUOUS
        reason = "schedule by its size"
    description = (
        f"{found} ({reason}; {VARIANTS[found]}): {2 * config.pairs + 1} blocks, {config.width} wide, {config.heads}"
        f" heads, patch {config.patch}, {config.classes} classes, {config.size} x {config.size} latents"
    )
    logger.info("%s: %s", checkpoint.name, description)
    return UViTWeights(config, state, found == DISCRETE, description)


def infer_config(checkpoint: Checkpoint, heads: int = 0) -> UViTConfig:
    """The network's shape, from the weights' shapes. Raises StitchError where they are no U-ViT's."""
    state = checkpoint.state
    patches, table, hidden, position = (
        weight_of(checkpoint, key, ndim, "class-conditional U-ViT")
        for key, ndim in (
            ("patch_embed.proj.weight", 4),
            ("label_emb.weight", 2),
            ("mid_block.mlp.fc1.weight", 2),
            ("pos_embed", 3),
        )
    )
    width, channels, patch, _ = patches.shape
    side = math.isqrt(max(position.shape[1] - EXTRAS, 0))
    if position.shape != (1, EXTRAS + side**2, width):
        raise StitchError(
            f"The file {checkpoint.name} is no valid U-ViT: pos_embed has the shape {tuple(position.shape)}, not that"
            f" of {EXTRAS} tokens and a square grid, {width} wide."
        )
    return UViTConfig(
        pairs=len({found[1] for key in state if (found := re.match(r"in_blocks\.(\d+)\.", key))}),
        width=width,
        hidden=hidden.shape[0],
        heads=published_heads(checkpoint, width, heads),
        patch=patch,
        channels=channels,
        classes=table.shape[0] - 1,
        grid=side,
        qkv_bias="mid_block.attn.qkv.bias" in state,
        time_mlp="time_embed.0.weight" in state,
        final_convolution="final_layer.weight" in state,
    )


def _skeleton(config: UViTConfig) -> UViT:
    return UViT(config, lambda q, k, v, heads: v, device="meta")
