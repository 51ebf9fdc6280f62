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

from benchmarks.drawing import Setting, first_steps
from benchmarks.host import host_nodes
from benchmarks.timing import Runs, Seconds, ideal, machine, measure, median_ratio

RESULTS = Path(__file__).parent / "results" / "speed.json"
STEPS, CFG, SEED = 20, 2.0, 7
NAMES = ("S", "B", "XL")
ROUNDS = 15
STITCHED = [
    *(first_steps("S", "XL", fraction, STEPS, "euler") for fraction in (0.2, 0.4, 0.6, 0.8)),
    first_steps("B", "XL", 0.4, STEPS, "euler"),
    first_steps("S", "B", 0.4, STEPS, "euler"),
    Setting(("S", "B", "XL"), (0,) * 4 + (1,) * 4 + (2,) * 12, "euler"),
]


def title_of(setting: Setting) -> str:
    return "\N{RIGHTWARDS ARROW}".join(setting.models) + f" {setting.pattern}"


def build_runs(nodes: dict[str, Any]) -> Runs:
    """Each run by its title, ten pictures a run: every model in the stock node, then the stitched ones."""
    loaded = {name: nodes["TStitchLoadStarter"].execute(name, "all").result for name in NAMES}
    models = {name: result[0] for name, result in loaded.items()}
    _, _, positive, negative, latent = loaded["XL"]
    inputs = {"positive": positive, "negative": negative, "latent_image": latent, "seed": SEED, "steps": STEPS}
    inputs |= {"cfg": CFG, "sampler_name": "euler", "scheduler": "simple"}

    def stock(name: str) -> Callable[[], object]:
        return lambda: nodes["KSampler"]().sample(model=models[name], **inputs)

    def stitched(setting: Setting) -> Callable[[], object]:
        *others, last = (models[name] for name in setting.models)
        numbered = {f"model_{number}": model for number, model in enumerate(others, 1)}
        join = nodes["TStitchModelSchedule"].execute
        joined = join(last, splits="", unit="steps", pattern=setting.pattern, memory="auto", **numbered).result[0]
        return lambda: nodes["KSampler"]().sample(model=joined, **inputs)

    alone: Runs = {name: stock(name) for name in NAMES}
    return alone | {title_of(setting): stitched(setting) for setting in STITCHED}


def summary(seconds: Seconds) -> list[dict[str, Any]]:
    """Per run its median seconds, its median speed-up over XL alone, and its time over what its steps cost alone."""
    settings = {title_of(setting): setting for setting in STITCHED}
    rows = []
    for title, values in seconds.items():
        row: dict[str, Any] = {"run": title, "seconds": round(median(values), 4)}
        row["speedup"] = median_ratio(seconds["XL"], values)
        if title in settings:
            steps = [seconds[settings[title].models[owner]] for owner in settings[title].owners]
            row["over_ideal"] = median_ratio(values, ideal(steps))
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
        print(f"{row['run']:>20}  {row['seconds']:8.3f} s  {row['speedup']:6.2f}x  {row.get('over_ideal', '')}")


if __name__ == "__main__":
    main()
