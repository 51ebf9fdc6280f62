"""Model files as their authors publish them, with random weights at small width."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from diffusers import DiTTransformer2DModel, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from tstitch.families.dit.network import DiT, DiTConfig, sincos_position_embedding


def dit_config(**changes: Any) -> DiTConfig:
    shape = {"depth": 3, "width": 128, "heads": 2, "patch": 2, "channels": 4, "classes": 1000, "grid": 16}
    return DiTConfig(**{**shape, "learn_sigma": True, **changes})


def original_weights(config: DiTConfig, seed: int = 0) -> dict[str, Tensor]:
    """The names and shapes of the published DiT files, position embedding included."""
    network = DiT(config, lambda q, k, v, heads: v)
    generator = torch.Generator().manual_seed(seed)
    state = {
        key: torch.randn(value.shape, generator=generator) * (0.4 if value.ndim < 2 else 1.5 / value[0].numel() ** 0.5)
        for key, value in network.state_dict().items()
    }
    return {"pos_embed": sincos_position_embedding(config.width, config.grid, config.grid), **state}


def diffusers_dit(config: DiTConfig, seed: int = 0) -> DiTTransformer2DModel:
    torch.manual_seed(seed)
    model = DiTTransformer2DModel(
        num_attention_heads=config.heads,
        attention_head_dim=config.width // config.heads,
        in_channels=config.channels,
        out_channels=2 * config.channels if config.learn_sigma else None,
        num_layers=config.depth,
        sample_size=config.size,
        patch_size=config.patch,
        num_embeds_ada_norm=config.classes,
    )
    return model.eval()


def with_shared_embedders(model: DiTTransformer2DModel) -> DiTTransformer2DModel:
    """As in files converted from the original weights: all blocks hold the same embedders."""
    first, *others = model.transformer_blocks
    for block in others:
        block.norm1.emb.load_state_dict(first.norm1.emb.state_dict())
    return model


def into_diffusers(state: dict[str, Tensor], model: DiTTransformer2DModel) -> DiTTransformer2DModel:
    """Puts original weights into diffusers' network; written apart from the loader's own key map."""

    def put(module: torch.nn.Module, stem: str) -> None:
        own = {part: state[f"{stem}.{part}"] for part in ("weight", "bias") if f"{stem}.{part}" in state}
        module.load_state_dict(own)

    put(model.pos_embed.proj, "x_embedder.proj")
    for index, block in enumerate(model.transformer_blocks):
        put(block.norm1.emb.timestep_embedder.linear_1, "t_embedder.mlp.0")
        put(block.norm1.emb.timestep_embedder.linear_2, "t_embedder.mlp.2")
        put(block.norm1.emb.class_embedder.embedding_table, "y_embedder.embedding_table")
        put(block.norm1.linear, f"blocks.{index}.adaLN_modulation.1")
        put(block.attn1.to_out[0], f"blocks.{index}.attn.proj")
        put(block.ff.net[0].proj, f"blocks.{index}.mlp.fc1")
        put(block.ff.net[2], f"blocks.{index}.mlp.fc2")
        qkv = [state[f"blocks.{index}.attn.qkv.{part}"].chunk(3) for part in ("weight", "bias")]
        for module, weight, bias in zip((block.attn1.to_q, block.attn1.to_k, block.attn1.to_v), *qkv, strict=True):
            module.load_state_dict({"weight": weight, "bias": bias})
    put(model.proj_out_1, "final_layer.adaLN_modulation.1")
    put(model.proj_out_2, "final_layer.linear")
    return model


def computing_as_the_original(model: DiTTransformer2DModel) -> DiTTransformer2DModel:
    """Undoes the two numbers in which diffusers differs from the code the weights were trained with."""
    for block in model.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
        block.norm3.eps = 1e-6
    return model


def bksdm_unet(size: str, width: int = 32, context: int = 768) -> UNet2DConditionModel:
    """The published configurations of nota-ai/bk-sdm-{base,small,tiny}, at any width."""
    torch.manual_seed(0)
    model = bksdm_network(size, width, context)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def bksdm_network(size: str, width: int, context: int = 768) -> UNet2DConditionModel:
    """The network itself, with new weights."""
    tiny = size == "tiny"
    blocks = ["CrossAttnDownBlock2D"] * 3 + ([] if tiny else ["DownBlock2D"])
    return UNet2DConditionModel(
        sample_size=64,
        layers_per_block=1,
        block_out_channels=[width, 2 * width, 4 * width] + ([] if tiny else [4 * width]),
        down_block_types=blocks,
        up_block_types=[kind.replace("Down", "Up") for kind in reversed(blocks)],
        mid_block_type="UNetMidBlock2DCrossAttn" if size == "base" else None,
        cross_attention_dim=context,
        attention_head_dim=8 if context == 768 else [width * mult // 64 for mult in (1, 2, 4, 4)[: len(blocks)]],
        use_linear_projection=context == 1024,
    )


def save(state: dict[str, Tensor], path: Path, wrapper: str = "") -> Path:
    """Writes weights the way the file's ending says; `wrapper` is what a training script puts around them."""
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
        return path
    content: dict[str, Any] = dict(state)
    if wrapper in ("model", "ema"):
        raw = {key: torch.full_like(value, 7.0) for key, value in state.items()}
        arguments = argparse.Namespace(model="DiT-S/2", epochs=1400)
        content = {"model": raw, "opt": {"state": {}}, "args": arguments} | {wrapper: dict(state)}
    elif wrapper:
        content = {wrapper: dict(state)}
    torch.save(content, path)
    return path
