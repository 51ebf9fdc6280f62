"""Files that stand in for the downloads which the example workflows name.

Where a family's layout allows any width, a real file with small random weights, which runs; else an empty file, which
the server's validation accepts and its loader refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tstitch_testing.checkpoints import dit_config, original_weights, save
from tstitch_testing.ldm_files import LDMShape, ldm_weights
from tstitch_testing.uvit_files import uvit_config, uvit_weights


def save_dit(path: Path, **config: Any) -> None:
    save(original_weights(dit_config(**config)), path)


def save_ldm(path: Path, **shape: Any) -> None:
    save(ldm_weights(LDMShape(rows=1001, **shape)), path, "state_dict")


def save_tiny_vae(path: Path) -> None:
    save(tiny_vae_weights(), path)


def tiny_vae_weights() -> dict[str, torch.Tensor]:
    """The host's own TAESD: any latent of the SD VAE goes in, a picture eight times as wide comes out."""
    from comfy.taesd.taesd import TAESD

    torch.manual_seed(0)
    vae = TAESD()
    state = {
        key: torch.randn_like(value) / value[0].numel() ** 0.5 if value.ndim == 4 else torch.zeros_like(value)
        for key, value in vae.state_dict().items()
    }
    state["vae_scale"] = torch.tensor(1.0)
    return state


RUNNING: dict[str, Callable[[Path], object]] = {
    "DiT-XL-2-256x256.pt": lambda path: save_dit(path, depth=4),
    "dit_b_256.pt": save_dit,
    "dit_s_256.pt": lambda path: save_dit(path, depth=2),
    "imagenet256_uvit_huge.pth": lambda path: save(uvit_weights(uvit_config()), path),
    "ldm.ckpt": lambda path: save_ldm(path, width=64, context=24),
    "ldm_s.ckpt": save_ldm,
    "imagenet-shortcut-xl.safetensors": lambda path: save_dit(path, learn_sigma=False, shortcut=True),
    "vae-ft-mse-840000-ema-pruned.safetensors": save_tiny_vae,
}


def write_stand_ins(base: Path, files: list[dict[str, str]]) -> None:
    """Writes every file of a workflow's `models` properties below `base`, and the picture that LoadImage shows."""
    for file in files:
        path = base / "models" / file["directory"] / file["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        RUNNING.get(file["name"], Path.touch)(path)
    (base / "input").mkdir(exist_ok=True)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(picture).save(base / "input" / "example.png")
