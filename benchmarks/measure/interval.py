"""Fine-tuning for the own interval (arXiv 2402.14167): S trained further for its 40 % of the steps, or for all steps.

Both trainings see the same pictures in the same order, with the same noise, rate and length; only the levels differ.
Weights are kept in .train/; `interval` of `groups` draws with them. Writes `results/interval.json`.
"""

from __future__ import annotations

import json

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measure.groups import RULE, TUNED
from benchmarks.tools.results import write_results
from benchmarks.tools.settings import STEPS
from benchmarks.tools.starter import Denoiser, checksum, load_denoiser, load_vae, metadata, weights_path
from training.autoencoder import encode_all
from training.data import STYLES, load_split
from training.denoiser import train_denoiser
from training.interval import WHOLE, FineTuning, Interval
from training.loop import CHECKPOINTS

IMAGES = 102_400  # of either training
HELD_OUT = 2000  # test pictures of the loss


def shifted(time: float, shift: float) -> float:
    """Time shift of section 5.3.2 of arXiv 2403.03206."""
    return shift * time / (1 + (shift - 1) * time)


def trainings() -> dict[str, Interval]:
    shift = float(metadata(weights_path("S")).get("tstitch.shift", 1.0))
    return {"all steps": WHOLE, "own steps": Interval(round(shifted(1 - RULE, shift), 4), 1.0)}


def train() -> None:
    """Train what is missing, and measure the loss of all."""
    start = weights_path("S")
    for name, interval in trainings().items():
        out = CHECKPOINTS / TUNED[name].file
        tuning = FineTuning(out, interval, start, IMAGES)
        stamp = out.with_suffix(".start")  # the weights that it was made of
        if not out.is_file() or not stamp.is_file() or stamp.read_text(encoding="utf-8") != checksum(start):
            with torch.enable_grad():
                train_denoiser("S", tuning)
            stamp.write_text(checksum(start), encoding="utf-8")
    measure_losses()


@torch.no_grad()
def measure_losses() -> None:
    avatars, vae = load_split("test"), load_vae()
    rows = torch.arange(HELD_OUT)
    latents = encode_all(vae, avatars.signal(rows))[0]
    paths = {"as it is": weights_path("S")} | {name: CHECKPOINTS / part.file for name, part in TUNED.items()}
    losses = [
        {
            "training": name,
            "images": json.loads(metadata(path)["tstitch.training"])["images"],
            "held_out_loss": held_out_loss(load_denoiser("S", path), latents, avatars.styles[rows]),
        }
        for name, path in paths.items()
    ]
    write_results("interval", losses, fraction=RULE, steps=STEPS, images=IMAGES, held_out=HELD_OUT)


def held_out_loss(small: Denoiser, latents: Tensor, labels: Tensor) -> float:
    """Mean squared error of the velocity on test pictures, at the noise levels of the small model's steps."""
    generator, total, first = torch.Generator().manual_seed(0), 0.0, round(RULE * STEPS)
    weights = F.one_hot(labels, len(STYLES)).float()
    for step in range(first):
        time, noise = shifted(1 - step / STEPS, small.shift), torch.randn(latents.shape, generator=generator)
        x = (1 - time) * latents + time * noise
        velocity = small(x, time, weights, 1.0)
        total += F.mse_loss(velocity, noise - latents).item()
    return round(total / first, 5)
