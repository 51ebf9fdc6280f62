"""Fine-tuning for the own interval (arXiv 2402.14167): S trained further for its 40 % of the steps, or for all steps.

Both trainings see the same images in the same order, with the same noise, rate and length; only the levels differ.
Writes `results/interval.json`; weights are kept in .train/, and a row once measured is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.classifier import load_classifier
from benchmarks.evaluate import Run, generate
from benchmarks.judge import Judge
from benchmarks.starter import Denoiser, checksum, load_denoiser, load_vae, metadata, weights_path
from training.autoencoder import encode_all
from training.data import load_split, to_signal
from training.denoiser import train_denoiser
from training.interval import WHOLE, FineTuning, Interval
from training.loop import CHECKPOINTS

RESULTS = Path(__file__).parent / "results" / "interval.json"
FRACTION, STEPS, SAMPLES, SEEDS = 0.4, 20, 5000, (0, 1)
IMAGES = 153_600  # of either training
TRAININGS = {"all steps": WHOLE, "own steps": Interval(1 - FRACTION, 1.0)}
HELD_OUT = 2000  # test images of the loss


def weights() -> dict[str, Path]:
    """The bundled S and what either training makes of it; trained here where missing."""
    start = weights_path("S")
    paths = {"bundled": start}
    for name, interval in TRAININGS.items():
        tuning = FineTuning(CHECKPOINTS / f"starter_s_{name.replace(' ', '_')}.safetensors", interval, start, IMAGES)
        if not _is_made(tuning):
            train_denoiser("S", tuning)
        paths[name] = tuning.out
    return paths


def _is_made(tuning: FineTuning) -> bool:
    return tuning.out.is_file() and json.loads(metadata(tuning.out)["tstitch.training"])["images"] == tuning.images


def held_out_loss(small: Denoiser, latents: Tensor, labels: Tensor) -> float:
    """Mean squared error of the velocity on test images, at the noise levels of the small model's steps."""
    generator, total, first = torch.Generator().manual_seed(0), 0.0, round(FRACTION * STEPS)
    for step in range(first):
        time, noise = 1 - step / STEPS, torch.randn(latents.shape, generator=generator)
        x = (1 - time) * latents + time * noise
        velocity = small(x, time, F.one_hot(labels, 10).float(), 1.0)
        total += F.mse_loss(velocity, noise - latents).item()
    return round(total / first, 5)


@torch.no_grad()
def measure() -> None:
    with torch.enable_grad():
        paths = weights()
    vae = load_vae()
    denoisers = {name: load_denoiser(name, path) for name, path in paths.items()} | {"XL": load_denoiser("XL")}
    images, labels = load_split("test")
    latents = encode_all(vae, to_signal(images[:HELD_OUT]))[0]
    losses = {name: held_out_loss(denoisers[name], latents, labels[:HELD_OUT]) for name in paths}
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"] if RESULTS.is_file() else []
    rows, judge, kept = {row["key"]: row for row in known}, Judge(load_classifier(), vae), []
    for seed in SEEDS:
        for name, path in tqdm(paths.items(), desc=f"seed {seed}", unit="row"):
            key = f"{name} seed {seed} samples {SAMPLES} {checksum(path)[:12]} {checksum(weights_path('XL'))[:12]}"
            if key not in rows:
                run = Run((name, "XL"), FRACTION, 1.0)
                pixels, drawn, seconds = generate(run, denoisers, vae, SAMPLES, STEPS, seed)
                rows[key] = {"key": key, "training": name, "seed": seed, "held_out_loss": losses[name]}
                rows[key] |= {**judge.score(pixels, drawn), "seconds": round(seconds, 1)}
                tqdm.write(f"{name} seed {seed}: {rows[key]}")
            kept.append(rows[key])
            write(kept)


def write(rows: list[dict[str, Any]]) -> None:
    setting = {
        "models": "S\N{RIGHTWARDS ARROW}XL",
        "fraction": FRACTION,
        "steps": STEPS,
        "cfg": 1,
        "training_images": IMAGES,
    }
    RESULTS.write_text(json.dumps({"setting": setting, "runs": rows}, indent=1) + "\n", encoding="utf-8")
