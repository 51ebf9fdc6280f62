"""Seconds of a stitched run on the starter models, paired with the stock KSampler on the large model alone.

All runs take turns in one process, so that whatever else the machine does hits all of them; ratios are medians over
rounds. Writes `results/speed.json`.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.host import host_nodes

RESULTS = Path(__file__).parent / "results" / "speed.json"
STEPS, CFG, SEED = 20, 2.0, 7
FRACTIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ROUNDS, WARM_UP = 11, 1


def build_runs(nodes: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Each run by its title; ten pictures a run."""
    load = nodes["TStitchLoadStarter"].execute
    large, _, positive, negative, latent = load("XL", "all").result
    small = load("S", "all").result[0]
    common = {"positive": positive, "negative": negative, "latent_image": latent, "denoise": 1.0}
    settings = {"seed": SEED, "steps": STEPS, "cfg": CFG, "sampler_name": "euler", "scheduler": "simple"}

    def stock() -> object:
        return nodes["KSampler"]().sample(model=large, **settings, **common)

    def stitched(fraction: float) -> Callable[[], object]:
        node = nodes["TStitchKSampler"]
        return lambda: node.execute(model=large, small_model=small, fraction=fraction, **settings, **common)

    return {"KSampler": stock, **{f"{fraction:g}": stitched(fraction) for fraction in FRACTIONS}}


def measure(runs: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each run, round by round; every round starts with another run."""
    seconds: dict[str, list[float]] = {title: [] for title in runs}
    titles = list(runs)
    for number in tqdm(range(WARM_UP + ROUNDS), desc="speed", unit="round"):
        first = number % len(titles)
        for title in titles[first:] + titles[:first]:
            started = time.perf_counter()
            runs[title]()
            seconds[title].append(time.perf_counter() - started)
    return {title: values[WARM_UP:] for title, values in seconds.items()}


def summary(seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Per run its median seconds, its median speed-up over the stock node, and its time over the ideal mixture."""
    rows = []
    small, large = seconds["1"], seconds["0"]
    for title, values in seconds.items():
        speedups = [stock / value for stock, value in zip(seconds["KSampler"], values, strict=True)]
        row: dict[str, Any] = {"run": title, "seconds": round(median(values), 4), "speedup": round(median(speedups), 3)}
        if title != "KSampler":
            fraction = float(title)
            ideal = [fraction * s + (1 - fraction) * b for s, b in zip(small, large, strict=True)]
            row["over_ideal"] = round(median(v / i for v, i in zip(values, ideal, strict=True)), 4)
        rows.append(row)
    return rows


def main() -> None:
    with torch.inference_mode():
        seconds = measure(build_runs(host_nodes()))
    results: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        "setting": {"steps": STEPS, "cfg": CFG, "sampler": "euler", "batch": 10, "rounds": ROUNDS},
        "runs": summary(seconds),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for row in results["runs"]:
        print(f"{row['run']:>9}  {row['seconds']:8.3f} s  {row['speedup']:6.2f}x  {row.get('over_ideal', '')}")


if __name__ == "__main__":
    main()
