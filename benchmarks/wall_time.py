"""Wall time of every run whose quality is measured, beside that of XL alone.

The rows of quality are drawn in hours, beside whatever else the machine does, so their own seconds do not compare. Each
run is timed once on a machine and kept in `results/wall_time.json` with all its ratios; after each process, so that a
long measurement can be stopped and taken up again.
"""

from __future__ import annotations

import json
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import torch

from benchmarks import quality
from benchmarks.drawing import CLASSES, Setting, Studio
from benchmarks.timing import Runs, Seconds, machine, measure_beside

RESULTS = Path(__file__).parent / "results" / "wall_time.json"
REFERENCE = Setting(("XL",), (0,) * quality.STEPS, quality.SAMPLER)
PICTURES, SEED = 10, 7
PROCESSES, ROUNDS = 1, 3  # a fresh process each; rounds in each
OFTENER = 2  # times as many rounds for one model alone, with which the mixtures are compared


def main() -> None:
    settings = measured_settings()
    ratios, reference = known_ratios()
    while missing := {run: each for run, each in settings.items() if not is_complete(each, ratios.get(run, []))}:
        number = len(reference)
        with get_context("spawn").Pool(1) as pool:
            found, seconds = pool.apply(time_beside_reference, (missing, number))
        reference.append(round(median(seconds), 4))
        for run, values in found.items():
            ratios[run] = ratios.get(run, []) + [round(value, 4) for value in values]
        write(ratios, reference)


def rounds(setting: Setting) -> int:
    """In each process."""
    return ROUNDS * (OFTENER if len(setting.models) == 1 else 1)


def is_complete(setting: Setting, ratios: list[float]) -> bool:
    return len(ratios) >= PROCESSES * rounds(setting)


def known_ratios() -> tuple[Seconds, list[float]]:
    """What this machine has measured so far: of each run, and the reference's median seconds in each process."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    if known.get("machine") != machine():
        return {}, []
    others = {row["run"]: row["ratios"] for row in known["runs"] if row["run"] != REFERENCE.run}
    return others, known["setting"]["reference_seconds"]


def write(ratios: Seconds, reference: list[float]) -> None:
    """One line a run."""
    seconds = median(reference)
    rows = [row_of(run, values, seconds) for run, values in ({REFERENCE.run: [1.0]} | ratios).items()]
    setting = {"reference": REFERENCE.run, "reference_seconds": reference, "batch": PICTURES}
    setting |= {"rounds": PROCESSES * ROUNDS, "rounds_alone": PROCESSES * ROUNDS * OFTENER}
    head = json.dumps({"machine": machine(), "setting": setting}, indent=1).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    RESULTS.write_text(f'{head},\n "runs": [\n{lines}\n ]\n}}\n', encoding="utf-8")


def row_of(run: str, ratios: list[float], reference: float) -> dict[str, Any]:
    """`seconds` are those where the reference takes what it took in the middle; `within` half of the ratios lie."""
    speedup = median(ratios)
    return {
        "run": run,
        "speedup": round(speedup, 4),
        "seconds": round(reference / speedup, 4),
        "within": round(median(abs(value / speedup - 1) for value in ratios), 4),
        "ratios": ratios,
    }


def measured_settings() -> dict[str, Setting]:
    """Those that have a row of quality, by run, but the reference."""
    known, settings = quality.known_rows(), [setting for group in quality.GROUPS.values() for setting in group()]
    found = {setting.run: setting for setting in settings if quality.row_key(setting) in known}
    return {run: setting for run, setting in found.items() if run != REFERENCE.run}


def time_beside_reference(settings: dict[str, Setting], number: int) -> tuple[Seconds, list[float]]:
    """As `measure_beside`, of these runs, in an order that no other process has."""
    studio, labels = Studio(), torch.arange(PICTURES) % CLASSES
    runs: Runs = {run: partial(studio.sample, setting, labels, SEED) for run, setting in settings.items()}
    for model in dict.fromkeys(model for setting in (REFERENCE, *settings.values()) for model in setting.models):
        for cfg in (1.0, 2.0):  # loads it, and meets both sizes of a batch
            studio.sample(Setting((model,), (0, 0), quality.SAMPLER, cfg), labels, SEED)
    turns = [run for run, setting in settings.items() for _ in range(rounds(setting))]
    Random(number).shuffle(turns)
    reference = partial(studio.sample, REFERENCE, labels, SEED)
    return measure_beside(reference, runs, turns, title="wall time")


if __name__ == "__main__":
    main()
