"""What the starter models cost, and what real pictures score: the model card's tables beside those of `quality`.

Writes `results/models.json`.
"""

from __future__ import annotations

import time
from statistics import median

import torch
from tqdm import tqdm

from benchmarks.tools.judge import Judge, reconstruct
from benchmarks.tools.results import Row, write_results
from benchmarks.tools.starter import LATENT_SHAPE, Denoiser, flops, load_denoiser, load_vae, weights_path
from benchmarks.tools.studio import judge
from training.data import STYLES, load_split

NAMES = ("S", "S-eps", "B", "XL", "Shortcut")
PICTURES, ROUNDS, WARM_UP = 10, 60, 10  # of timing
SAMPLES = 5000


@torch.no_grad()
def measure() -> None:
    denoisers = {name: load_denoiser(name) for name in NAMES if weights_path(name).is_file()}
    write_results("models", [*costs(denoisers), *references(judge(), SAMPLES)], batch=PICTURES, rounds=ROUNDS)


def costs(denoisers: dict[str, Denoiser]) -> list[Row]:
    """Operations of a picture and median milliseconds of a guided step; the models take turns."""
    x, weights = torch.randn(PICTURES, *LATENT_SHAPE), torch.eye(len(STYLES))
    seconds: dict[str, list[float]] = {name: [] for name in denoisers}
    for _ in tqdm(range(WARM_UP + ROUNDS), desc="timing", leave=False):
        for name, denoiser in denoisers.items():
            started = time.perf_counter()
            denoiser(x, 0.5, weights, 2.0)
            seconds[name].append(time.perf_counter() - started)
    return [
        {
            "model": name,
            "parameters": sum(parameter.numel() for parameter in denoiser.model.parameters()),
            "flops_per_guided_step": 2 * flops(weights_path(name), LATENT_SHAPE[-1]),
            "ms_per_guided_step": round(1000 * median(seconds[name][WARM_UP:]), 2),
        }
        for name, denoiser in denoisers.items()
    ]


def references(judge: Judge, samples: int) -> list[Row]:
    """The floor: held-out pictures as they are, and after one trip through the VAE."""
    avatars = load_split("test")
    pixels, styles = avatars.signal(torch.arange(samples)), avatars.styles[:samples]
    return [
        {"reference": "held-out real pictures", **judge.score(pixels, styles)},
        {"reference": "their reconstruction by the VAE", **judge.score(reconstruct(load_vae(), pixels), styles)},
    ]
