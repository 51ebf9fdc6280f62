"""U-ViT files as published, with random weights at small width, and the same network put together from diffusers."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.pipelines.deprecated.unidiffuser.modeling_uvit import UTransformer2DModel
from torch import Tensor, nn

from tstitch.families.uvit.network import UViT, UViTConfig


def uvit_config(**changes: Any) -> UViTConfig:
    shape = {
        "pairs": 2,
        "width": 128,
        "hidden": 512,
        "heads": 2,
        "patch": 2,
        "channels": 4,
        "classes": 1000,
        "grid": 16,
    }
    return UViTConfig(**{**shape, **changes})


def uvit_weights(config: UViTConfig, seed: int = 0) -> dict[str, Tensor]:
    """The names and shapes of the published files."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in UViT(config, lambda q, k, v, heads: v).state_dict().items():
        size = 0.4 if value.ndim < 2 or key == "pos_embed" else 1 / value[0].numel() ** 0.5
        tensor = torch.randn(value.shape, generator=generator) * size
        state[key.replace("embedding_table.", "")] = tensor + 1 if "norm" in key and key.endswith("weight") else tensor
    return state


def diffusers_body(state: dict[str, Tensor], config: UViTConfig) -> UTransformer2DModel:
    """UniDiffuser's transformer with the weights of a U-ViT; its one norm more, after each skip, is taken out."""
    model = UTransformer2DModel(
        num_attention_heads=config.heads,
        attention_head_dim=config.width // config.heads,
        in_channels=config.channels,
        num_layers=2 * config.pairs,
        sample_size=config.size,
        patch_size=config.patch,
        activation_fn="gelu",
        attention_bias=config.qkv_bias,
        block_type="u-vit",
        pre_layer_norm=True,
    )

    def put(module: nn.Module, stem: str) -> None:
        own = {part: state[f"{stem}.{part}"] for part in ("weight", "bias") if f"{stem}.{part}" in state}
        module.load_state_dict(own)

    def put_block(block: Any, stem: str) -> None:
        put(block.norm1, f"{stem}.norm1")
        put(block.norm3, f"{stem}.norm2")
        put(block.attn1.to_out[0], f"{stem}.attn.proj")
        put(block.ff.net[0].proj, f"{stem}.mlp.fc1")
        put(block.ff.net[2], f"{stem}.mlp.fc2")
        for part in ("weight", "bias") if config.qkv_bias else ("weight",):
            qkv = state[f"{stem}.attn.qkv.{part}"].chunk(3)
            for layer, value in zip((block.attn1.to_q, block.attn1.to_k, block.attn1.to_v), qkv, strict=True):
                getattr(layer, part).data.copy_(value)

    for index, block in enumerate(model.transformer_in_blocks):
        put_block(block, f"in_blocks.{index}")
    put_block(model.transformer_mid_block, "mid_block")
    for index, pair in enumerate(model.transformer_out_blocks):
        put(pair["skip"].skip_linear, f"out_blocks.{index}.skip_linear")
        pair["skip"].norm = nn.Identity()
        put_block(pair["block"], f"out_blocks.{index}")
    put(model.norm_out, "norm")
    return model.eval()


def reference(state: dict[str, Tensor], config: UViTConfig, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
    """The network around diffusers' body, from figure 1 of arXiv 2209.12152, on class numbers."""
    patch, side = config.patch, x.shape[-1] // config.patch
    cells = x.reshape(len(x), config.channels, side, patch, side, patch)
    patches = torch.einsum("nchpwq,dcpq->nhwd", cells, state["patch_embed.proj.weight"]).flatten(1, 2)
    patches = patches + state["patch_embed.proj.bias"]
    angles = time[:, None] * torch.exp(-math.log(10000) * torch.arange(config.width // 2) / (config.width // 2))
    token = torch.cat([angles.cos(), angles.sin()], 1)
    if config.time_mlp:
        token = token @ state["time_embed.0.weight"].T + state["time_embed.0.bias"]
        token = nn.functional.silu(token) @ state["time_embed.2.weight"].T + state["time_embed.2.bias"]
    tokens = torch.cat([state["label_emb.weight"][labels][:, None], token[:, None], patches], 1) + state["pos_embed"]
    body = diffusers_body(state, config)
    (tokens,) = body(tokens, hidden_states_is_embedding=True, unpatchify=False, return_dict=False)
    tokens = tokens[:, 2:] @ state["decoder_pred.weight"].T + state["decoder_pred.bias"]
    cells = tokens.reshape(len(x), side, side, patch, patch, config.channels)
    out = torch.einsum("nhwpqc->nchpwq", cells).reshape(x.shape)
    if config.final_convolution:
        out = nn.functional.conv2d(out, state["final_layer.weight"], state["final_layer.bias"], padding=1)
    return out
