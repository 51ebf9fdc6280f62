"""Twenty model files of published layouts, as headers: the disk holds none of their weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from .architectures import Architecture, Shapes, flux, lumina2, sd3, sd15, sdxl, shapes_of, ssd1b, wan
from .checkpoints import bksdm_network


def write_header(path: Path, shapes: Shapes, byte: int = 2) -> Path:
    """A file of these weights, which the disk does not hold."""
    end, entries = 0, {}
    for key, shape in shapes.items():
        begin, end = end, end + byte * math.prod(shape)
        entries[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


def at_real_width(architecture: Architecture) -> Architecture:
    return replace(architecture, config={**architecture.config, "channel_mult": [1, 2, 4]})


def bksdm_shapes(size: str) -> Shapes:
    with torch.device("meta"):
        return shapes_of(bksdm_network(size, 320))


def refiner() -> Architecture:
    """The SDXL refiner: wider, and it reads one of the two text encoders."""
    depth = {"transformer_depth": [0, 0, 4, 4, 4, 4, 0, 0], "transformer_depth_output": [0] * 3 + [4] * 6 + [0] * 3}
    reads = {"context_dim": 1280, "adm_in_channels": 2560, "transformer_depth_middle": 4}
    sizes = {"model_channels": 384, "num_res_blocks": [2] * 4, "channel_mult": [1, 2, 4, 4]}
    base = sdxl()
    return replace(base, config={**base.config, **sizes, **depth, **reads})


def published_wan(dim: int, layers: int, ffn_dim: int) -> Architecture:
    narrow = wan(dim, layers)
    return replace(narrow, config={**narrow.config, "ffn_dim": ffn_dim})


#: The layout of each file; of one without, there is nothing to be read.
FILES: dict[str, Callable[[], Shapes] | None] = {
    "v1-5-pruned-emaonly-fp16.safetensors": lambda: sd15().shapes(),
    "dreamshaper_8.safetensors": lambda: sd15().shapes(),
    "bk-sdm-base.safetensors": lambda: bksdm_shapes("base"),
    "bk-sdm-small.safetensors": lambda: bksdm_shapes("small"),
    "bk-sdm-tiny.safetensors": lambda: bksdm_shapes("tiny"),
    "sd-v1-4.ckpt": None,
    "sd_xl_base_1.0.safetensors": lambda: at_real_width(sdxl()).shapes(),
    "sd_xl_refiner_1.0.safetensors": lambda: refiner().shapes(),
    "juggernautXL_v9.safetensors": lambda: at_real_width(sdxl()).shapes(),
    "SSD-1B-A1111.safetensors": lambda: at_real_width(ssd1b()).shapes(),
    "sd3_medium.safetensors": lambda: sd3(24, None).shapes(),
    "sd3.5_large.safetensors": lambda: sd3(38, "rms").shapes(),
    "flux1-dev.safetensors": lambda: flux(3072, 19, 38).shapes(),
    "flux.1-lite-8B.safetensors": lambda: flux(3072, 8, 38).shapes(),
    "flux1-krea-dev.safetensors": lambda: flux(3072, 19, 38).shapes(),
    "lumina_2_model_bf16.safetensors": lambda: lumina2(26, 2304).shapes(),
    "wan2.1_t2v_1.3B_fp16.safetensors": lambda: published_wan(1536, 30, 8960).shapes(),
    "wan2.1_t2v_14B_fp16.safetensors": lambda: published_wan(5120, 40, 13824).shapes(),
    "wan2.2_t2v_high_noise_14B_fp16.safetensors": lambda: published_wan(5120, 40, 13824).shapes(),
    "wan2.2_t2v_low_noise_14B_fp16.safetensors": lambda: published_wan(5120, 40, 13824).shapes(),
}


def write_model_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, shapes in FILES.items():
        if shapes is None:
            (folder / name).write_bytes(b"PK\x03\x04")
        else:
            write_header(folder / name, shapes())
