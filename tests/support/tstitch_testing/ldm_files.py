"""Files of class-conditional latent diffusion models as published, with random weights at small width."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, VQModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from torch import Tensor

from tstitch.families.ldm.network import ClassUNet
from tstitch_testing.unets import randomise

BLOCKS = 2  # residual blocks a level


@dataclass(frozen=True)
class LDMShape:
    """The published f8 models by default: (256 or 64) x 1, 2, 4 channels, attention on every level."""

    channels: int = 4
    width: int = 32
    mult: tuple[int, ...] = (1, 2, 4)
    attended: tuple[bool, ...] = (True, True, True)
    context: int = 16
    rows: int = 9  # of the class table: eight classes and the null class
    one_head: bool = False


F4 = LDMShape(channels=3, mult=(1, 2, 3, 5), attended=(False, True, True, True), one_head=True)


def host_config(shape: LDMShape) -> dict[str, Any]:
    return {
        "image_size": 32,
        "in_channels": shape.channels,
        "out_channels": shape.channels,
        "model_channels": shape.width,
        "channel_mult": list(shape.mult),
        "num_res_blocks": [BLOCKS] * len(shape.mult),
        "transformer_depth": [int(each) for each in shape.attended for _ in range(BLOCKS)],
        "transformer_depth_output": [int(each) for each in shape.attended for _ in range(BLOCKS + 1)],
        "transformer_depth_middle": 1,
        "class_width": shape.context,
        "use_spatial_transformer": True,
        "legacy": False,
        **({"num_heads": 1} if shape.one_head else {"num_heads": -1, "num_head_channels": 32}),
    }


def ldm_weights(shape: LDMShape, seed: int = 0, averaged: bool = False, first_stage: bool = True) -> dict[str, Tensor]:
    """A whole file: U-Net, class embedding, first stage and the buffers of the noise schedule.

    With `averaged`, the file's own weights are all 7 and its moving average is what it has without.
    """
    network = ClassUNet(classes=shape.rows - 1, **host_config(shape))
    randomise(network, seed)
    unet = {key: value for key, value in network.state_dict().items() if not key.startswith("class_embedding")}
    state = {"betas": torch.zeros(1000), "logvar": torch.zeros(1000)}
    state["cond_stage_model.embedding.weight"] = network.class_embedding.embedding_table.weight.data
    if averaged:
        state |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(1)}
        state |= {f"model_ema.diffusion_model{key.replace('.', '')}": value for key, value in unet.items()}
        unet = {key: torch.full_like(value, 7.0) for key, value in unet.items()}
    state |= {f"model.diffusion_model.{key}": value for key, value in unet.items()}
    if first_stage:
        stage = vq_weights(vq_model(shape.channels))
        state |= {f"first_stage_model.{key}": value for key, value in stage.items()}
    return state


def diffusers_unet(state: dict[str, Tensor], shape: LDMShape) -> UNet2DConditionModel:
    """diffusers' network, filled by diffusers' own reader of the original layout."""
    widths = [shape.width * mult for mult in shape.mult]
    down = ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in shape.attended]
    model = UNet2DConditionModel(
        sample_size=32,
        in_channels=shape.channels,
        out_channels=shape.channels,
        layers_per_block=BLOCKS,
        block_out_channels=widths,
        down_block_types=down,
        up_block_types=[kind.replace("Down", "Up") for kind in reversed(down)],
        cross_attention_dim=shape.context,
        attention_head_dim=1 if shape.one_head else [width // 32 for width in widths],  # in fact the number of heads
    )
    model.load_state_dict(convert_ldm_unet_checkpoint(state, model.config))
    return model.eval()


def vq_model(channels: int = 4, codes: int = 64) -> VQModel:
    """The published first stages: f8 with attention on its innermost level, or f4 without."""
    torch.manual_seed(0)
    widths = [32, 64, 64, 128] if channels == 4 else [32, 64, 128]
    down = ["DownEncoderBlock2D"] * len(widths)
    if channels == 4:
        down[-1] = "AttnDownEncoderBlock2D"
    model = VQModel(
        block_out_channels=widths,
        down_block_types=down,
        up_block_types=[kind.replace("DownEncoder", "UpDecoder") for kind in reversed(down)],
        layers_per_block=2,
        latent_channels=channels,
        num_vq_embeddings=codes,
        vq_embed_dim=channels,
    )
    model.quantize.embedding.weight.data.normal_()
    return model.eval()


ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def vq_weights(model: VQModel) -> dict[str, Tensor]:
    """diffusers' weights under the names, and in the shapes, of the original files."""
    levels = len(model.config["block_out_channels"])
    state = {}
    for key, value in model.state_dict().items():
        key = re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{levels - 1 - int(found[1])}", key)
        key = re.sub(r"down_blocks\.(\d+)", r"down.\1", key)
        key = re.sub(r"mid_block\.resnets\.(\d+)", lambda found: f"mid.block_{int(found[1]) + 1}", key)
        key = key.replace("mid_block.attentions.0", "mid.attn_1").replace("resnets", "block")
        key = re.sub(r"(down|up)samplers\.0", r"\1sample", key)
        key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if found := re.match(rf"(.*)\.(?:attentions\.(\d)|(attn_1))\.({'|'.join(ATTENTION)})\.(\w+)", key):
            place = found[3] or f"attn.{found[2]}"
            key = f"{found[1]}.{place}.{ATTENTION[found[4]]}.{found[5]}"
            value = value[..., None, None] if value.ndim == 2 else value
        state[key] = value
    return state


def save_lightning(state: dict[str, Tensor], path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the original training code writes it: with the optimiser's state, and a class as the key of its callbacks."""
    names: Sequence[str] = (
        "pytorch_lightning",
        "pytorch_lightning.callbacks",
        "pytorch_lightning.callbacks.model_checkpoint",
    )
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module: Any = sys.modules[names[-1]]
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": names[-1]})
    callbacks = {module.ModelCheckpoint: {"monitor": "val/loss_simple_ema", "best_model_score": torch.ones(())}}
    optimizer = {"state": {0: {"step": 1, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    content = {"epoch": 1, "global_step": 2, "callbacks": callbacks, "optimizer_states": [optimizer]}
    torch.save({**content, "lr_schedulers": [], "pytorch-lightning_version": "1.4.2", "state_dict": state}, path)
    return path
