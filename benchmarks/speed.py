"""Seconds of stitched runs on the starter models, paired with the stock KSampler on each model alone.

Writes `results/speed.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.drawing import Setting, first_steps, joined
from benchmarks.host import host_nodes
from benchmarks.timing import Networks, Runs, Seconds, machine, measure, median_ratio, show, switching

RESULTS = Path(__file__).parent / "results" / "speed.json"
STEPS, CFG, SEED = 20, 2.0, 7
NAMES = ("S", "B", "XL")
ROUNDS = 40
STITCHED = [
    *(first_steps("S", "XL", fraction, STEPS, "euler") for fraction in (0.2, 0.4, 0.6, 0.8)),
    first_steps("B", "XL", 0.4, STEPS, "euler"),
    first_steps("S", "B", 0.4, STEPS, "euler"),
    Setting(("S", "B", "XL"), (0,) * 4 + (1,) * 4 + (2,) * 12, "euler"),
]


def title_of(setting: Setting) -> str:
    return "\N{RIGHTWARDS ARROW}".join(setting.models) + f" {setting.pattern}"


def build_runs(nodes: dict[str, Any], networks: Networks) -> Runs:
    """Each run by its title, ten pictures a run: every model in the stock node, then the stitched ones."""
    loaded = {name: nodes["TStitchLoadStarter"].execute(name, "all").result for name in NAMES}
    models = {name: result[0] for name, result in loaded.items()}
    for name, model in models.items():
        networks.watch(name, model.model.diffusion_model)
    _, _, positive, negative, latent = loaded["XL"]
    inputs = {"positive": positive, "negative": negative, "latent_image": latent, "seed": SEED, "steps": STEPS}
    inputs |= {"cfg": CFG, "sampler_name": "euler", "scheduler": "simple"}

    def stock(name: str) -> Callable[[], object]:
        return lambda: nodes["KSampler"]().sample(model=models[name], **inputs)

    def stitched(setting: Setting) -> Callable[[], object]:
        model = joined(nodes, [models[name] for name in setting.models], setting.pattern, "auto")
        return lambda: nodes["KSampler"]().sample(model=model, **inputs)

    alone: Runs = {name: stock(name) for name in NAMES}
    return alone | {title_of(setting): stitched(setting) for setting in STITCHED}


def summary(seconds: Seconds, networks: Networks) -> list[dict[str, Any]]:
    """Per run its median seconds, its median speed-up over XL alone, its model calls, and what switching costs it."""
    settings = {title_of(setting): setting for setting in STITCHED}
    rows = []
    for title, values in seconds.items():
        row: dict[str, Any] = {"run": title, "seconds": round(median(values), 4)}
        row["speedup"] = median_ratio(seconds["XL"], values)
        row["calls"] = networks.calls[title]
        if title in settings:
            steps = [settings[title].models[owner] for owner in settings[title].owners]
            row |= switching(title, steps, seconds, networks)
        rows.append(row)
    return rows


def main() -> None:
    networks = Networks()
    with torch.inference_mode():
        seconds = measure(build_runs(host_nodes(), networks), ROUNDS, title="speed", networks=networks)
    results: dict[str, Any] = {
        "machine": machine(),
        "setting": {"steps": STEPS, "cfg": CFG, "sampler": "euler", "batch": 10, "rounds": ROUNDS},
        "runs": summary(seconds, networks),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results["runs"])


if __name__ == "__main__":
    main()
