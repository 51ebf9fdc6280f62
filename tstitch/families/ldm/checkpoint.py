"""Reads class-conditional latent diffusion models (LDM, arXiv 2112.10752) as published for ImageNet.

The files hold the U-Net, its moving average, the class embedding and, mostly, the first stage, under the names of the
original training code.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_detection
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import StitchError
from ..class_labels import IMAGENET_CLASSES
from ..shared.checkpoint import Checkpoint, check_weights, weight_of
from .network import OWN_TABLE, TABLE, UNET, ClassUNet

logger = logging.getLogger("tstitch")

AVERAGE = "model_ema."
FAMILY = "class-conditional LDM"
HEAD_CHANNELS = 32  # of the models on 4-channel latents
ONE_HEAD_CHANNELS = 3  # latents of the models that attend with one head (cin256-v2)
NULL_WIDTH = 256


@dataclass(frozen=True)
class LDMWeights:
    unet_config: dict[str, Any]  # what `ClassUNet` is built with
    state: dict[str, Tensor]
    description: str


def interpret_ldm(checkpoint: Checkpoint, averaged: bool = True, head_channels: int = 0) -> LDMWeights:
    """The U-Net and class embedding of a checkpoint, by their own names. Raises StitchError.

    `averaged` uses the moving average if the file has one; `head_channels` 0 uses the published number.
    """
    table = weight_of(checkpoint, TABLE, 2, FAMILY)
    weight_of(checkpoint, f"{UNET}input_blocks.0.0.weight", 4, FAMILY)
    raw = {key.removeprefix(UNET): value for key, value in checkpoint.state.items() if key.startswith(UNET)}
    averages = {key: value for key, value in checkpoint.state.items() if key.startswith(AVERAGE)}
    state = average_weights(raw, averages, checkpoint.name) if averaged and averages else dict(raw)
    config = infer_unet_config(replace(checkpoint, state=raw), head_channels)
    if table.shape[1] != config["class_width"]:
        raise StitchError(
            f"The file {checkpoint.name} is no valid {FAMILY}: its class embedding is {table.shape[1]} wide, but its"
            f" U-Net reads {config['class_width']}."
        )
    classes, null = table.shape[0] - 1, "class"
    if table.shape[0] == IMAGENET_CLASSES:
        classes, null = table.shape[0], "random vector, as in the paper, for it has none"
        table = torch.cat([table, null_embedding(table.shape[1]).to(table)])
    state[OWN_TABLE] = table
    config["classes"] = classes
    try:
        network = ClassUNet(**config, device="meta")
    except (IndexError, ValueError) as error:
        raise StitchError(
            f"The file {checkpoint.name} is no complete {FAMILY}: blocks of its U-Net are missing."
        ) from error
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    check_weights(Checkpoint(checkpoint.name, state), expected, FAMILY)
    description = (
        f"LDM ({'averaged' if averaged and averages else 'raw'} weights): {config['model_channels']} channels times"
        f" {', '.join(map(str, config['channel_mult']))}, {classes} classes {table.shape[1]} wide; null {null}"
    )
    logger.info("%s: %s", checkpoint.name, description)
    return LDMWeights(config, state, description)


def null_embedding(width: int) -> Tensor:
    """Embedding of "no class" for models trained without: uniform noise, one draw for all widths (1, width).

    As the authors of T-Stitch do for the f8 models: drawn for the small model and stretched for the large one.
    """
    draw = torch.rand(1, 1, NULL_WIDTH, generator=torch.Generator().manual_seed(0))
    return F.interpolate(draw, width)[0]


def average_weights(raw: dict[str, Tensor], averages: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The moving average, which the training code keeps under the same names without their dots."""
    names = {key: f"{AVERAGE}diffusion_model{key.replace('.', '')}" for key in raw}
    missing = [key for key in names.values() if key not in averages]
    if missing:
        raise StitchError(f"The file {name} is no complete {FAMILY}: it lacks {missing[0]}; set weights to raw.")
    return {key: averages[average] for key, average in names.items()}


def infer_unet_config(checkpoint: Checkpoint, head_channels: int = 0) -> dict[str, Any]:
    """The U-Net as the host itself finds it from the weights, with its heads. Raises StitchError."""
    try:
        config = comfy.model_detection.detect_unet_config(checkpoint.state, "")
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise StitchError(f"The file {checkpoint.name} is no complete {FAMILY}: it lacks {error}.") from error
    class_width = config.pop("context_dim", None) if config else None
    if config is None or class_width is None:
        raise StitchError(f"The file {checkpoint.name} is no {FAMILY}: its U-Net reads no classes.")
    head_channels = head_channels or checkpoint.number("tstitch.head_channels")
    one_head = head_channels == 0 and config["in_channels"] == ONE_HEAD_CHANNELS
    width = head_channels or HEAD_CHANNELS
    heads = {"num_heads": 1} if one_head else {"num_heads": -1, "num_head_channels": width}
    levels = [level for level, blocks in enumerate(config["num_res_blocks"]) for _ in range(blocks)]
    attended = {
        config["model_channels"] * config["channel_mult"][level]
        for level, depth in zip(levels, config["transformer_depth"], strict=True)
        if depth
    }
    if not one_head and any(channels % width for channels in attended):
        raise StitchError(
            f"The file {checkpoint.name} attends over {min(attended)} channels, which heads of {width} cannot share:"
            " set head_channels to the number it was trained with."
        )
    return {**config, **heads, "class_width": class_width}
