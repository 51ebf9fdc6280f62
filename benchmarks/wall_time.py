"""Wall time of every mixture whose quality is measured, beside that of XL alone.

The rows of quality are drawn in hours, beside whatever else the machine does, so their own seconds do not compare.
Writes `results/wall_time.json`.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks import quality
from benchmarks.drawing import CLASSES, Setting, Studio
from benchmarks.timing import Runs, machine, measure_beside

RESULTS = Path(__file__).parent / "results" / "wall_time.json"
GROUPS = ("tradeoff", "simplex", "ddim_50", "ddim_100")
REFERENCE = Setting(("XL",), (0,) * quality.STEPS, quality.SAMPLER)
PICTURES, ROUNDS, SEED = 10, 5, 7


def main() -> None:
    studio, labels = Studio(), torch.arange(PICTURES) % CLASSES
    settings = {setting.run: setting for name in GROUPS for setting in quality.GROUPS[name]()}
    runs: Runs = {run: partial(studio.sample, setting, labels, SEED) for run, setting in settings.items()}
    for name in ("S", "B", "XL"):
        studio.sample(Setting((name,), (0, 0), quality.SAMPLER), labels, SEED)  # loads it
    ratios, beside = measure_beside(runs[REFERENCE.run], runs, ROUNDS, title="wall time")
    rows = []
    for run, values in ratios.items():
        speedup = median(values)
        rows.append({"run": run, "speedup": round(speedup, 4), "seconds": round(median(beside) / speedup, 4)})
    results = {
        "machine": machine(),
        "setting": {"reference": REFERENCE.run, "batch": PICTURES, "rounds": ROUNDS},
        "runs": rows,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
