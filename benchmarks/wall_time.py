"""Wall time of every run whose quality is measured, beside that of XL alone.

The rows of quality are drawn in hours, beside whatever else the machine does, so their own seconds do not compare. Each
run is timed once and kept in `results/wall_time.json`, with the seconds that it takes where the reference takes what it
took at first.
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
REFERENCE = Setting(("XL",), (0,) * quality.STEPS, quality.SAMPLER)
PICTURES, ROUNDS, SEED = 10, 5, 7


def main() -> None:
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"runs": []}
    rows = {row["run"]: row for row in known["runs"]}
    settings = {setting.run: setting for group in quality.GROUPS.values() for setting in group()}
    studio, labels = Studio(), torch.arange(PICTURES) % CLASSES
    runs: Runs = {run: partial(studio.sample, setting, labels, SEED) for run, setting in settings.items()}
    for name in dict.fromkeys(name for setting in settings.values() for name in setting.models):
        studio.sample(Setting((name,), (0, 0), quality.SAMPLER), labels, SEED)  # loads it
    missing = {run: call for run, call in runs.items() if run not in {*rows, REFERENCE.run}}
    ratios, beside = measure_beside(runs[REFERENCE.run], missing, ROUNDS, title="wall time")
    seconds = known["setting"]["seconds"] if rows else round(median(beside), 4)
    rows.setdefault(REFERENCE.run, {"run": REFERENCE.run, "speedup": 1.0, "seconds": seconds})
    for run, values in ratios.items():
        speedup = median(values)
        rows[run] = {"run": run, "speedup": round(speedup, 4), "seconds": round(seconds / speedup, 4)}
    results = {
        "machine": machine(),
        "setting": {"reference": REFERENCE.run, "seconds": seconds, "batch": PICTURES, "rounds": ROUNDS},
        "runs": list(rows.values()),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
