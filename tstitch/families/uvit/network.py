"""U-ViT (arXiv 2209.12152): a transformer that sees time, class and patches as tokens, with long skip connections.

Parameter names follow the published checkpoints, save that the class table is named as `LabelEmbedder` has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..dit.network import Attention, LabelEmbedder, resize_position_embedding, timestep_embedding
from ..shared.patches import token_grid, unpatchify

EXTRAS = 2  # tokens before those of the patches: class, time


@dataclass(frozen=True)
class UViTConfig:
    """Everything that fixes the shape of one U-ViT."""

    pairs: int  # blocks going in, and as many going out with a skip connection each; one more between
    width: int  # hidden size D
    hidden: int  # width of the MLPs
    heads: int
    patch: int  # latent pixels along one side of a token
    channels: int  # latent channels C
    classes: int  # real classes; the embedding table has one more row, the null class
    grid: int  # tokens along one side of the training images
    qkv_bias: bool = False
    time_mlp: bool = False  # the time token goes through two layers first
    final_convolution: bool = True  # a 3 x 3 convolution over the output

    @property
    def size(self) -> int:
        """Latent pixels along one side of the training images."""
        return self.grid * self.patch


class PatchEmbed(nn.Module):
    def __init__(self, config: UViTConfig, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.proj = operations.Conv2d(config.channels, config.width, config.patch, stride=config.patch, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # (N, T, D)


class SelfAttention(nn.Module):
    def __init__(self, config: UViTConfig, attention: Attention, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads, self.attention = config.heads, attention
        self.qkv = operations.Linear(config.width, 3 * config.width, bias=config.qkv_bias, **factory)
        self.proj = operations.Linear(config.width, config.width, **factory)

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (N, T, D)
        return self.proj(self.attention(q, k, v, self.heads, **options))


class Mlp(nn.Module):
    def __init__(self, config: UViTConfig, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.fc1 = operations.Linear(config.width, config.hidden, **factory)
        self.act = nn.GELU()
        self.fc2 = operations.Linear(config.hidden, config.width, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """One pre-norm transformer block, which joins a skip by a linear layer first (section 3.1 of arXiv 2209.12152)."""

    def __init__(
        self, config: UViTConfig, attention: Attention, operations: Any, skip: bool = False, **factory: Any
    ) -> None:
        super().__init__()
        width = config.width
        self.norm1 = operations.LayerNorm(width, **factory)
        self.attn = SelfAttention(config, attention, operations, **factory)
        self.norm2 = operations.LayerNorm(width, **factory)
        self.mlp = Mlp(config, operations, **factory)
        if skip:
            self.skip_linear = operations.Linear(2 * width, width, **factory)

    def forward(self, x: Tensor, skip: Tensor | None = None, **options: Any) -> Tensor:
        if skip is not None:
            x = self.skip_linear(torch.cat([x, skip], dim=-1))
        x = x + self.attn(self.norm1(x), **options)
        return x + self.mlp(self.norm2(x))


class UViT(nn.Module):
    """U-ViT on latents (N, C, H, W), with the call signature of the host's diffusion models."""

    pos_embed: Tensor

    def __init__(
        self,
        config: UViTConfig,
        attention: Attention,
        operations: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"dtype": dtype, "device": device}
        self.config, self.dtype = config, dtype
        self.patch_size = config.patch
        width = config.width
        self.patch_embed = PatchEmbed(config, operations, **factory)
        if config.time_mlp:
            self.time_embed = nn.Sequential(
                operations.Linear(width, 4 * width, **factory),
                nn.SiLU(),
                operations.Linear(4 * width, width, **factory),
            )
        self.label_emb = LabelEmbedder(config.classes, width, operations, **factory)
        self.register_buffer("pos_embed", torch.zeros(1, EXTRAS + config.grid**2, width, device=device))
        self.in_blocks = nn.ModuleList(Block(config, attention, operations, **factory) for _ in range(config.pairs))
        self.mid_block = Block(config, attention, operations, **factory)
        self.out_blocks = nn.ModuleList(
            Block(config, attention, operations, skip=True, **factory) for _ in range(config.pairs)
        )
        self.norm = operations.LayerNorm(width, **factory)
        self.decoder_pred = operations.Linear(width, config.patch**2 * config.channels, **factory)
        if config.final_convolution:
            self.final_layer = operations.Conv2d(config.channels, config.channels, 3, padding=1, **factory)

    def forward(
        self, x: Tensor, timesteps: Tensor, context: Tensor, transformer_options: dict | None = None, **_: Any
    ) -> Tensor:
        """Predict the noise in `x`.

        x: (N, C, H, W), H and W multiples of the patch; timesteps: (N,), from 0 to 1000 as the weights were trained;
        context: (N, K, classes) class weights, averaged over K. Returns (N, C, H, W).
        """
        config = self.config
        height, width = token_grid(x, config.patch, config.channels)
        options = {} if transformer_options is None else {"transformer_options": transformer_options}
        time = timestep_embedding(timesteps, config.width).to(x.dtype)  # (N, D)
        if config.time_mlp:
            time = self.time_embed(time)
        label = self.label_emb(context.float().mean(dim=1), x.dtype)  # (N, D)
        tokens = torch.cat([label[:, None], time[:, None], self.patch_embed(x)], dim=1)  # (N, 2 + T, D)
        tokens = tokens + self.position(height, width).to(tokens)
        skips = []
        for block in self.in_blocks:
            tokens = block(tokens, **options)
            skips.append(tokens)
        tokens = self.mid_block(tokens, **options)
        for block in self.out_blocks:
            tokens = block(tokens, skips.pop(), **options)
        tokens = self.decoder_pred(self.norm(tokens))[:, EXTRAS:]
        out = unpatchify(tokens, height, width, config.patch)
        return self.final_layer(out) if config.final_convolution else out

    def position(self, height: int, width: int) -> Tensor:
        """Learned positions of all tokens; those of the patches interpolated to a grid of `height` x `width`."""
        patches = resize_position_embedding(self.pos_embed[:, EXTRAS:], height, width)
        return torch.cat([self.pos_embed[:, :EXTRAS], patches.to(self.pos_embed)], dim=1)
