"""`python -m benchmarks.evaluate`: quality and cost of the starter models, alone and stitched.

Writes `results/starter_models.json` and the tables of the model card. Rows whose weights have not changed are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.classifier import WEIGHTS, load_classifier
from benchmarks.judge import Judge, reconstruct
from benchmarks.model_card import write_tables
from benchmarks.starter import (
    LATENT_SHAPE,
    Denoiser,
    checksum,
    decode,
    load_denoiser,
    load_vae,
    metadata,
    sample,
    weights_path,
)
from benchmarks.timing import machine
from training.data import load_split, to_signal

RESULTS = Path(__file__).parent / "results" / "starter_models.json"
NAMES = ("S", "S-eps", "B", "XL", "Shortcut")
CLASSES = 10
BATCH = 250
TIMING_BATCH = 10


@dataclass(frozen=True)
class Run:
    """One way to make the samples: which model takes which part of the steps, and the guidance."""

    stages: tuple[str, ...]  # names in run order
    fraction: float  # part of the steps that the first of two stages takes; 1 with one stage
    cfg: float

    @property
    def title(self) -> str:
        return "\N{RIGHTWARDS ARROW}".join(self.stages) + (f" {self.fraction:g}" if len(self.stages) > 1 else "")

    def stage_names(self, steps: int) -> list[str]:
        """The model of each step; the first stage takes round(fraction * steps), halves up."""
        first = int(self.fraction * steps + 0.5)
        return [self.stages[0]] * first + [self.stages[-1]] * (steps - first)


#: The Shortcut model knows no twentieth of the way: `benchmarks/shortcut.py` measures it.
ALONE = [Run((name,), 1.0, cfg) for name in NAMES if name != "Shortcut" for cfg in (1.0, 2.0)]
STITCHED = [Run(("S", "XL"), 0.4, 1.0)]  # `quality` has the others


def generate(
    run: Run, denoisers: dict[str, Denoiser], vae: Any, samples: int, steps: int, seed: int = 0
) -> tuple[Tensor, Tensor, float]:
    """Signals, labels and seconds of sampling in bfloat16; one seed is the same noise and labels for every run."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % CLASSES
    stages = [denoisers[name] for name in run.stage_names(steps)]
    pixels, seconds = [], 0.0
    for part in tqdm(labels.split(BATCH), desc=f"{run.title} cfg {run.cfg:g}", unit="batch", leave=False):
        noise = torch.randn(len(part), *LATENT_SHAPE, generator=generator)
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            latents = sample(stages, noise, F.one_hot(part, CLASSES).float(), run.cfg)
        seconds += time.perf_counter() - started
        pixels.append(decode(vae, latents))
    return torch.cat(pixels), labels, seconds


def reference_rows(judge: Judge, vae: Any, samples: int) -> dict[str, dict[str, float]]:
    """The floor: held-out images as they are, and after one trip through the VAE."""
    images, labels = load_split("test")
    pixels, labels = to_signal(images[:samples]), labels[:samples]
    decoded = reconstruct(vae, pixels)
    l1 = (decoded - pixels).abs().mean().item() / 2
    return {"real": judge.score(pixels, labels), "reconstruction": {**judge.score(decoded, labels), "l1": round(l1, 4)}}


def costs(denoisers: dict[str, Denoiser], rounds: int = 60) -> dict[str, dict[str, float]]:
    """FLOPs and median milliseconds of one guided step at batch 10; the models take turns, so that load hits all."""
    x, weights = torch.randn(TIMING_BATCH, *LATENT_SHAPE), torch.eye(CLASSES)
    seconds: dict[str, list[float]] = {name: [] for name in denoisers}
    for _ in tqdm(range(rounds), desc="timing", leave=False):
        for name, denoiser in denoisers.items():
            started = time.perf_counter()
            denoiser(x, 0.5, weights, 2.0)
            seconds[name].append(time.perf_counter() - started)
    result = {}
    for name, denoiser in denoisers.items():
        with FlopCounterMode(display=False) as counter:
            denoiser(x[:1], 0.5, weights[:1], 2.0)
        result[name] = {
            "parameters": sum(parameter.numel() for parameter in denoiser.model.parameters()),
            "flops_per_guided_step": counter.get_total_flops(),
            "ms_per_guided_step": round(1000 * median(seconds[name][rounds // 6 :]), 2),
        }
    return result


def files(names: list[str]) -> dict[str, dict[str, Any]]:
    """Size, checksum and training record of each weight file."""
    paths = {name: weights_path(name) for name in ["vae", *names]}
    rows: dict[str, dict[str, Any]] = {
        name: {"file": path.name, "bytes": path.stat().st_size, "sha256": checksum(path)}
        for name, path in paths.items()
    }
    for name, path in paths.items():
        rows[name]["training"] = json.loads(metadata(path)["tstitch.training"])
    return rows


@torch.no_grad()
def evaluate(samples: int, steps: int, only: list[str], fresh: bool) -> None:
    names = [name for name in NAMES if weights_path(name).is_file()]
    vae, denoisers = load_vae(), {name: load_denoiser(name) for name in names}
    judge = Judge(load_classifier(), vae)
    weights = files(names)
    classifier = metadata(WEIGHTS)
    known = {} if fresh or not RESULTS.is_file() else json.loads(RESULTS.read_text())
    results: dict[str, Any] = {
        "machine": machine(),
        "classifier": {"test_accuracy": float(classifier["test_accuracy"]), "sha256": checksum(WEIGHTS)},
        "files": weights,
        "costs": costs(denoisers),
        "reference": reference_rows(judge, vae, samples),
        "runs": [],
    }
    keys = {run_key(run, samples, steps): run for run in ALONE + STITCHED if set(run.stages) <= set(names)}
    rows = {row["key"]: row for row in known.get("runs", []) if row["key"] in keys}
    missing = [key for key, run in keys.items() if key not in rows and set(run.stages) <= set(only)]
    for key in tqdm(missing, desc="runs"):
        run = keys[key]
        pixels, labels, seconds = generate(run, denoisers, vae, samples, steps)
        score = {**judge.score(pixels, labels), "seconds": round(seconds, 1)}
        rows[key] = {"key": key, "run": run.title, "cfg": run.cfg, "steps": steps, **score}
        results["runs"] = [rows[other] for other in keys if other in rows]
        write_results(results)
        tqdm.write(f"{run.title} cfg {run.cfg:g}: {score}")
    results["runs"] = [rows[key] for key in keys if key in rows]
    write_results(results)


def run_key(run: Run, samples: int, steps: int) -> str:
    """What a row depends on, with the start of each weight file's checksum."""
    marks = [checksum(path)[:12] for path in (WEIGHTS, *map(weights_path, ("vae", *run.stages)))]
    return " ".join([run.title, f"cfg {run.cfg:g}", f"steps {steps}", f"samples {samples}", *marks])


def write_results(results: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_tables(results)


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.py eval", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="measure runs of these models")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--fresh", action="store_true", help="measure every row again")
    args = parser.parse_args()
    evaluate(args.samples, args.steps, args.only, args.fresh)


if __name__ == "__main__":
    main()
