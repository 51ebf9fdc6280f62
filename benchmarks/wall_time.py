"""Wall time of every run whose quality is measured, beside that of XL alone.

The rows of quality are drawn in hours, beside whatever else the machine does, so their own seconds do not compare. Each
run is timed once and kept in `results/wall_time.json`, with the seconds that it takes where the reference takes what it
took at first. `within`: half of its rounds lie no farther from their median, as a part of it.
"""

from __future__ import annotations

import json
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch

from benchmarks import quality
from benchmarks.drawing import CLASSES, Setting, Studio
from benchmarks.timing import Runs, Seconds, machine, measure_beside

RESULTS = Path(__file__).parent / "results" / "wall_time.json"
REFERENCE = Setting(("XL",), (0,) * quality.STEPS, quality.SAMPLER)
PICTURES, SEED = 10, 7
PROCESSES, ROUNDS = 3, 2  # a fresh process each, in which memory lies elsewhere; rounds in each


def main() -> None:
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"runs": []}
    if known["runs"] and known["setting"].get("processes") != PROCESSES:
        known = {"runs": []}
    rows = {row["run"]: row for row in known["runs"]}
    missing = {run: setting for run, setting in measured_settings().items() if run not in {*rows, REFERENCE.run}}
    if rows and not missing:
        return
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        turns = list(pool.imap(time_beside_reference, [missing] * PROCESSES))
    seconds = (
        known["setting"]["seconds"] if rows else round(median(value for _, beside in turns for value in beside), 4)
    )
    rows.setdefault(REFERENCE.run, {"run": REFERENCE.run, "speedup": 1.0, "seconds": seconds, "within": 0.0})
    for run in missing:
        values = [value for ratios, _ in turns for value in ratios[run]]
        speedup = median(values)
        rows[run] = {"run": run, "speedup": round(speedup, 4), "seconds": round(seconds / speedup, 4)}
        rows[run]["within"] = round(median(abs(value / speedup - 1) for value in values), 4)
    setting = {"reference": REFERENCE.run, "seconds": seconds, "batch": PICTURES}
    setting |= {"processes": PROCESSES, "rounds": PROCESSES * ROUNDS}
    results = {"machine": machine(), "setting": setting, "runs": list(rows.values())}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def measured_settings() -> dict[str, Setting]:
    """Those that have a row of quality, by run."""
    known, settings = quality.known_rows(), [setting for group in quality.GROUPS.values() for setting in group()]
    return {setting.run: setting for setting in settings if quality.row_key(setting) in known}


def time_beside_reference(settings: dict[str, Setting]) -> tuple[Seconds, list[float]]:
    """As `measure_beside`, of these runs."""
    studio, labels = Studio(), torch.arange(PICTURES) % CLASSES
    runs: Runs = {run: partial(studio.sample, setting, labels, SEED) for run, setting in settings.items()}
    for model in dict.fromkeys(model for setting in (REFERENCE, *settings.values()) for model in setting.models):
        studio.sample(Setting((model,), (0, 0), quality.SAMPLER), labels, SEED)  # loads it
    reference = partial(studio.sample, REFERENCE, labels, SEED)
    return measure_beside(reference, runs, ROUNDS, title="wall time")


if __name__ == "__main__":
    main()
