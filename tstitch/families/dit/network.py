"""The Diffusion Transformer backbone (DiT, arXiv 2212.09748), shared by DiT, SiT, REPA and Shortcut checkpoints.

Parameter names follow the published DiT checkpoints, so their state dicts load without a key map. Layers come from an
`operations` namespace (the host's `comfy.ops` in the host, `torch.nn` in training), attention from a function, so the
module itself needs nothing but torch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..shared.patches import token_grid, unpatchify

Attention = Callable[..., Tensor]  # (q, k, v, heads), and the host's transformer_options where it calls


@dataclass(frozen=True)
class DiTConfig:
    """Everything that fixes the shape of one DiT."""

    depth: int  # transformer blocks
    width: int  # hidden size D
    heads: int
    patch: int  # latent pixels along one side of a token
    channels: int  # latent channels C
    classes: int  # real classes; the embedding table has one more row, the null class
    grid: int  # tokens along one side of the training images; 0 where the file does not say
    learn_sigma: bool = False  # output 2C channels, the second half is dropped
    stored_position: bool = False  # the file's position embedding is not the sine-cosine one, so it is kept
    shortcut: bool = False  # Shortcut model (arXiv 2410.12557): a second embedder, attention logits over d
    diffusers: bool = False  # computed as `diffusers` does, whose frequencies and one norm differ a little
    block_embedders: bool = False  # every block has its own embedders (trained in `diffusers`)

    @property
    def size(self) -> int:
        """Latent pixels along one side of the training images; 0 where the file does not say."""
        return self.grid * self.patch

    def to_dict(self) -> dict[str, int | bool]:
        return asdict(self)


def timestep_embedding(t: Tensor, dim: int, spacing: int | None = None, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal features of `t` (N,), cosines first, as DiT checkpoints expect (section 3.2 of arXiv 2212.09748)."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(max_period) * steps / (spacing or half))
    angles = t[:, None].float() * frequencies[None]  # (N, dim/2)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)  # (N, dim)


@functools.lru_cache(maxsize=8)
def sincos_position_embedding(dim: int, height: int, width: int, grid: int = 0) -> Tensor:
    """Fixed 2-D sine-cosine position embedding of a `height` x `width` token grid: (1, height * width, dim).

    If the training images had another number of tokens per side (`grid`), positions are stretched to their range, so
    that the model still sees one whole image.
    """
    quarter = dim // 4
    frequencies = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    rows, columns = torch.meshgrid(
        *(torch.arange(side, dtype=torch.float64) * ((grid or side) / side) for side in (height, width)), indexing="ij"
    )
    parts = []
    for position in (columns, rows):
        angles = position.reshape(-1, 1) * frequencies[None]
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1).float()[None]


def resize_position_embedding(stored: Tensor, height: int, width: int) -> Tensor:
    """A learned position embedding (1, T, D) of a square grid, for a grid of `height` x `width` tokens."""
    side = math.isqrt(stored.shape[1])
    if (height, width) == (side, side):
        return stored
    grid = stored.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, D, side, side)
    grid = F.interpolate(grid, (height, width), mode="bicubic", align_corners=False)
    return grid.flatten(2).transpose(1, 2)  # (1, height * width, D)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class PatchEmbed(nn.Module):
    def __init__(self, config: DiTConfig, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.proj = operations.Conv2d(config.channels, config.width, config.patch, stride=config.patch, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # (N, T, D)


class ScalarEmbedder(nn.Module):
    """Embeds one number per sample: the timestep (and, in Shortcut models, the step size)."""

    FREQUENCIES = 256

    def __init__(self, width: int, spacing: int | None, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.spacing = spacing
        self.mlp = nn.Sequential(
            operations.Linear(self.FREQUENCIES, width, **factory),
            nn.SiLU(),
            operations.Linear(width, width, **factory),
        )

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        return self.mlp(timestep_embedding(t, self.FREQUENCIES, self.spacing).to(dtype))  # (N, D)


class LabelEmbedder(nn.Module):
    """Class embedding as a weighted sum of table rows; the rest to weight 1 is the null class.

    One-hot weights are a plain look-up, zeros are the null class, and mixtures interpolate between classes.
    """

    def __init__(self, classes: int, width: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.embedding_table: Any = operations.Embedding(classes + 1, width, **factory)

    def forward(self, weights: Tensor, dtype: torch.dtype) -> Tensor:
        null = 1 - weights.sum(dim=-1, keepdim=True)
        weights = torch.cat([weights, null], dim=-1)  # (N, classes + 1)
        rows = torch.arange(weights.shape[-1], device=weights.device)
        # Asks the host's tables to cast first: on a GPU, most versions of torch look up no rows in fp8.
        options = {"out_dtype": dtype} if hasattr(self.embedding_table, "comfy_cast_weights") else {}
        return weights.to(dtype) @ self.embedding_table(rows, **options).to(dtype)  # (N, D)


def build_embedders(config: DiTConfig, operations: Any, **factory: Any) -> dict[str, nn.Module]:
    """Embedders of what the blocks are conditioned on: timestep, class and, in Shortcut models, step size."""
    spacing = ScalarEmbedder.FREQUENCIES // 2 - 1 if config.diffusers else None
    embedders: dict[str, nn.Module] = {
        "t_embedder": ScalarEmbedder(config.width, spacing, operations, **factory),
        "y_embedder": LabelEmbedder(config.classes, config.width, operations, **factory),
    }
    if config.shortcut:
        embedders["dt_embedder"] = ScalarEmbedder(config.width, spacing, operations, **factory)
    return embedders


def embed(embedders: Any, timesteps: Tensor, weights: Tensor, step: Tensor | None, dtype: torch.dtype) -> Tensor:
    c = embedders.t_embedder(timesteps, dtype) + embedders.y_embedder(weights, dtype)
    return c if step is None else c + embedders.dt_embedder(step, dtype)  # (N, D)


class SelfAttention(nn.Module):
    def __init__(self, config: DiTConfig, attention: Attention, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads, self.attention = config.heads, attention
        # The attention function divides the logits by sqrt(d); Shortcut checkpoints expect a division by d.
        self.query_scale = (config.width // config.heads) ** -0.5 if config.shortcut else None
        self.qkv = operations.Linear(config.width, 3 * config.width, **factory)
        self.proj = operations.Linear(config.width, config.width, **factory)

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (N, T, D)
        if self.query_scale is not None:
            q = q * self.query_scale
        return self.proj(self.attention(q, k, v, self.heads, **options))


class Mlp(nn.Module):
    def __init__(self, width: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.fc1 = operations.Linear(width, 4 * width, **factory)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = operations.Linear(4 * width, width, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """One adaLN-Zero transformer block (figure 3 of arXiv 2212.09748)."""

    def __init__(self, config: DiTConfig, attention: Attention, operations: Any, **factory: Any) -> None:
        super().__init__()
        width = config.width
        self.norm1 = operations.LayerNorm(width, elementwise_affine=False, eps=1e-6, **factory)
        self.attn = SelfAttention(config, attention, operations, **factory)
        eps = 1e-5 if config.diffusers else 1e-6
        self.norm2 = operations.LayerNorm(width, elementwise_affine=False, eps=eps, **factory)
        self.mlp = Mlp(width, operations, **factory)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), operations.Linear(width, 6 * width, **factory))

    def forward(self, x: Tensor, c: Tensor, **options: Any) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c).chunk(6, dim=-1)
        x = x + gate_a.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift_a, scale_a), **options)
        return x + gate_m.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift_m, scale_m))


def run_block(block: nn.Module, index: int, tokens: Tensor, c: Tensor, options: dict[str, Any]) -> Tensor:
    """The block, or what a node such as Skip Layer Guidance has put in its place, in the host's way for DiTs."""
    replacements = options.get("transformer_options", {}).get("patches_replace", {}).get("dit", {})
    if (replace := replacements.get(("double_block", index))) is None:
        return block(tokens, c, **options)

    def original(args: dict[str, Any]) -> dict[str, Any]:
        return {"img": block(args["img"], args["vec"], **options)}

    return replace({"img": tokens, "vec": c, **options}, {"original_block": original})["img"]


class FinalLayer(nn.Module):
    def __init__(self, config: DiTConfig, operations: Any, **factory: Any) -> None:
        super().__init__()
        width, channels = config.width, config.channels * (2 if config.learn_sigma else 1)
        self.norm_final = operations.LayerNorm(width, elementwise_affine=False, eps=1e-6, **factory)
        self.linear = operations.Linear(width, config.patch**2 * channels, **factory)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), operations.Linear(width, 2 * width, **factory))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=-1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class DiT(nn.Module):
    """Diffusion Transformer on latents (N, C, H, W), with the call signature of the host's diffusion models."""

    y_embedder: LabelEmbedder
    pos_embed: Tensor

    def __init__(
        self,
        config: DiTConfig,
        attention: Attention,
        operations: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"dtype": dtype, "device": device}
        self.config, self.dtype = config, dtype
        self.patch_size = config.patch
        self.x_embedder = PatchEmbed(config, operations, **factory)
        for name, embedder in build_embedders(config, operations, **factory).items():
            self.add_module(name, embedder)
        self.blocks = nn.ModuleList(Block(config, attention, operations, **factory) for _ in range(config.depth))
        self.final_layer = FinalLayer(config, operations, **factory)
        if config.block_embedders:
            self.embedders = nn.ModuleList(
                nn.ModuleDict(build_embedders(config, operations, **factory)) for _ in range(config.depth - 1)
            )
        if config.stored_position:
            self.register_buffer("pos_embed", torch.zeros(1, config.grid**2, config.width, device=device))

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        transformer_options: dict | None = None,
        step: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """Predict the model's target for `x`.

        x: (N, C, H, W), H and W multiples of the patch; timesteps: (N,), in the units the weights were trained with;
        context: (N, K, classes) class weights, averaged over K; transformer_options: the host's, of which the
        attention and replaced blocks ("dit", "double_block") are used; step: (N,), log2 of the steps a Shortcut model
        is to take from noise to image. Returns (N, C, H, W).
        """
        config = self.config
        height, width = token_grid(x, config.patch, config.channels)
        weights = context.float().mean(dim=1)  # (N, classes)
        tokens = self.x_embedder(x)
        tokens = tokens + self.position(height, width).to(tokens)
        options = {} if transformer_options is None else {"transformer_options": transformer_options}
        c = first = embed(self, timesteps, weights, step, x.dtype)
        for index, block in enumerate(self.blocks):
            if index and config.block_embedders:
                c = embed(self.embedders[index - 1], timesteps, weights, step, x.dtype)
            tokens = run_block(block, index, tokens, c, options)
        return unpatchify(self.final_layer(tokens, first), height, width, config.patch)[:, : config.channels]

    def position(self, height: int, width: int) -> Tensor:
        if self.config.stored_position:
            return resize_position_embedding(self.pos_embed, height, width)
        return sincos_position_embedding(self.config.width, height, width, self.config.grid)

    def initialize_weights(self) -> None:
        """Initialisation of section 3.2 of arXiv 2212.09748: Xavier layers, zero gates, zero output."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.flatten(1))
        nn.init.zeros_(self.x_embedder.proj.bias)
        nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for name, parameter in self.named_parameters():
            if name.startswith(("t_embedder.mlp", "dt_embedder.mlp")) and name.endswith("weight"):
                nn.init.normal_(parameter, std=0.02)
            elif "adaLN_modulation" in name or name.startswith("final_layer.linear"):
                nn.init.zeros_(parameter)
