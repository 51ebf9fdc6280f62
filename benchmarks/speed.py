"""Seconds of a stitched run on the starter models, paired with the stock KSampler on the large model alone.

Writes `results/speed.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.host import host_nodes
from benchmarks.timing import Runs, Seconds, ideal, machine, measure, median_ratio

RESULTS = Path(__file__).parent / "results" / "speed.json"
STEPS, CFG, SEED = 20, 2.0, 7
FRACTIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ROUNDS = 11


def build_runs(nodes: dict[str, Any]) -> Runs:
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


def summary(seconds: Seconds) -> list[dict[str, Any]]:
    """Per run its median seconds, its median speed-up over the stock node, and its time over the ideal mixture."""
    rows = []
    for title, values in seconds.items():
        speedup = median_ratio(seconds["KSampler"], values)
        row: dict[str, Any] = {"run": title, "seconds": round(median(values), 4), "speedup": round(speedup, 3)}
        if title != "KSampler":
            row["over_ideal"] = median_ratio(values, ideal(float(title), seconds["1"], seconds["0"]))
        rows.append(row)
    return rows


def main() -> None:
    with torch.inference_mode():
        seconds = measure(build_runs(host_nodes()), ROUNDS, title="speed")
    results: dict[str, Any] = {
        "machine": machine(),
        "setting": {"steps": STEPS, "cfg": CFG, "sampler": "euler", "batch": 10, "rounds": ROUNDS},
        "runs": summary(seconds),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for row in results["runs"]:
        print(f"{row['run']:>9}  {row['seconds']:8.3f} s  {row['speedup']:6.2f}x  {row.get('over_ideal', '')}")


if __name__ == "__main__":
    main()
