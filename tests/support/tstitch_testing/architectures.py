"""Checkpoint files of the host's real architectures: the published key layouts, random weights, sizes of choice."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_detection
import comfy.ops
import torch
from comfy.ldm.flux.model import FluxParams
from torch import Tensor, nn

Shapes = dict[str, tuple[int, ...]]

#: Drawn once and repeated: its length is prime, so no two rows of a weight are alike.
POOL = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))
DTYPES = {torch.float16: "F16", torch.float32: "F32"}


@dataclass(frozen=True)
class Architecture:
    """One size of a network of the host."""

    network: str  # module and class under comfy.ldm
    config: dict[str, Any]
    prefix: str = ""  # of the keys in its files

    def shapes(self) -> Shapes:
        """The keys and shapes of its checkpoint file."""
        module, name = self.network.rsplit(".", 1)
        kind = getattr(importlib.import_module(f"comfy.ldm.{module}"), name)
        network = kind(**self.config, dtype=torch.float32, device="meta", operations=comfy.ops.disable_weight_init)
        return {self.prefix + published(key): shape for key, shape in shapes_of(network).items()}

    def is_read_from_the_file(self) -> bool:
        """Whether the host takes these sizes from the file; old ones know only those that were published then."""
        shapes = self.shapes()
        state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        found = comfy.model_detection.detect_unet_config(state, self.prefix)
        return all(found[key] == value for key, value in self.config.items() if key in found)


def shapes_of(network: nn.Module) -> Shapes:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def published(key: str) -> str:
    """The name in Flux's files; newer hosts rename these weights when they load them."""
    return re.sub(r"\b(query_norm|key_norm)\.weight$", r"\1.scale", key)


def write(path: Path, shapes: Shapes, seed: int, dtype: torch.dtype = torch.float32) -> Path:
    """A safetensors file of random weights, one tensor in memory at a time."""
    size = dtype.itemsize
    ends, header = 0, {}
    for key, shape in shapes.items():
        begins, ends = ends, ends + size * math.prod(shape)
        header[key] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": [begins, ends]}
    description = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(description).to_bytes(8, "little") + description)
        for weight in random_weights(shapes, seed, dtype):
            weight.numpy().tofile(file)
    return path


def random_weights(shapes: Shapes, seed: int, dtype: torch.dtype = torch.float32) -> Iterator[Tensor]:
    """Of the size of trained ones: the scale of each layer's output is that of its input."""
    generator = torch.Generator().manual_seed(seed)
    for key, shape in shapes.items():
        if len(shape) == 1 and not key.endswith("bias"):
            yield torch.ones(shape, dtype=dtype)
            continue
        count, start = math.prod(shape), int(torch.randint(len(POOL), (1,), generator=generator))
        scale = (count / shape[0]) ** -0.5 if len(shape) > 1 else 0.02
        drawn = (POOL * scale).to(dtype).repeat(1 + (start + count) // len(POOL))
        yield drawn[start : start + count].reshape(shape)


def wan(dim: int, layers: int) -> Architecture:
    """Wan 2.1 text to video (published: 1536 wide with 30 layers, 5120 with 40)."""
    sizes = {"dim": dim, "ffn_dim": 4 * dim, "num_heads": dim // 128, "num_layers": layers}
    return Architecture("wan.model.WanModel", {"model_type": "t2v", "in_dim": 16, "out_dim": 16, **sizes})


def flux(width: int, depth: int, single_depth: int) -> Architecture:
    """Flux dev (published: 3072 wide, 19 and 38 blocks; pruned ones have fewer)."""
    sizes = {"hidden_size": width, "num_heads": width // 128, "depth": depth, "depth_single_blocks": single_depth}
    shape = {"in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 768, "context_in_dim": 4096}
    rest = {"mlp_ratio": 4.0, "axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": True}
    if "txt_ids_dims" in FluxParams.__dataclass_fields__:  # newer hosts
        rest["txt_ids_dims"] = []
    return Architecture("flux.model.Flux", {**sizes, **shape, **rest})


def lumina2(layers: int, text_width: int) -> Architecture:
    """Lumina Image 2.0 (published: 26 layers, text 2304 wide)."""
    sizes = {"dim": 2304, "n_layers": layers, "n_heads": 24, "n_kv_heads": 8, "cap_feat_dim": text_width}
    rest = {
        "patch_size": 2,
        "in_channels": 16,
        "qk_norm": True,
        "axes_dims": [32, 32, 32],
        "axes_lens": [300, 512, 512],
    }
    return Architecture("lumina.model.NextDiT", {**sizes, **rest})


def sd3(depth: int, qk_norm: str | None) -> Architecture:
    """Stable Diffusion 3 and, with qk_norm, 3.5 (published depths: 24 and 38; 64 channels a layer)."""
    text = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 64 * depth}}
    sizes = {"depth": depth, "input_size": None, "adm_in_channels": 2048, "context_embedder_config": text}
    positions = {"num_patches": 24**2, "pos_embed_max_size": 24, "pos_embed_scaling_factor": None}
    shape = {"in_channels": 16, "out_channels": 16, "patch_size": 2}
    config = {**sizes, **positions, **shape, **({"qk_norm": qk_norm} if qk_norm else {})}
    return Architecture("modules.diffusionmodules.mmdit.MMDiT", config, "model.diffusion_model.")


UNET = {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "use_spatial_transformer": True}


def sd15(channel_mult: Sequence[int] = (1, 2, 4, 4)) -> Architecture:
    """Stable Diffusion 1.x, by default at full size: 860 million weights."""
    depth = {"transformer_depth": [1] * 6 + [0] * 2, "transformer_depth_output": [1] * 9 + [0] * 3}
    blocks = {"num_res_blocks": [2] * 4, "channel_mult": list(channel_mult), "transformer_depth_middle": 1, **depth}
    rest = {"num_heads": 8, "context_dim": 768, "use_linear_in_transformer": False, "legacy": False}
    return _unet({**blocks, **rest})


def sdxl() -> Architecture:
    """SDXL's blocks, all as wide as its first: what tells its family is their number and what they read."""
    depth = {"transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10]}
    return sdxl_like({**depth, "transformer_depth_middle": 10})


def ssd1b() -> Architecture:
    """SSD-1B (Segmind): SDXL with fewer transformers, and none in the middle."""
    depth = {"transformer_depth": [0, 0, 2, 2, 4, 4], "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4]}
    return sdxl_like({**depth, "transformer_depth_middle": -1})


def sdxl_like(depth: dict[str, Any]) -> Architecture:
    reads = {"context_dim": 2048, "adm_in_channels": 2816, "num_classes": "sequential"}
    heads = {"num_heads": -1, "num_head_channels": 64, "use_linear_in_transformer": True, "legacy": False}
    return _unet({"num_res_blocks": [2] * 3, "channel_mult": [1] * 3, **depth, **reads, **heads})


def _unet(config: dict[str, Any]) -> Architecture:
    network = "modules.diffusionmodules.openaimodel.UNetModel"
    return Architecture(network, {**UNET, **config}, "model.diffusion_model.")
