"""Wall time of every run whose quality is measured, beside that of XL alone.

The rows of quality are drawn in hours, beside whatever else the machine does, so their own seconds do not compare. Each
run is timed on ten pictures and kept in `results/wall_time.json` with all its ratios while the machine is the same.
"""

from __future__ import annotations

from functools import partial
from multiprocessing import get_context
from random import Random
from statistics import median

import torch

from benchmarks.measure.groups import GROUPS
from benchmarks.measure.quality import valid_rows
from benchmarks.tools.results import Row, read_results, write_results
from benchmarks.tools.settings import ALONE, Setting
from benchmarks.tools.studio import studio
from benchmarks.tools.timing import Runs, Seconds, machine, measure_beside
from training.data import STYLES

NAME = "wall_time"
PICTURES, SEED, ROUNDS = 10, 7, 3
OFTENER = 2  # times as many rounds for one model alone, with which the mixtures are compared


def main() -> None:
    ratios, reference = known_ratios()
    settings = {run: each for run, each in measured_settings().items() if not is_complete(each, ratios.get(run, []))}
    if not settings:
        return
    with get_context("spawn").Pool(1) as pool:  # a fresh process, whatever was measured before
        found, seconds = pool.apply(time_beside_reference, (settings, len(reference)))
    reference.append(round(median(seconds), 4))
    write(ratios | {run: [round(value, 4) for value in values] for run, values in found.items()}, reference)


def rounds(setting: Setting) -> int:
    return ROUNDS * (OFTENER if len(setting.parts) == 1 else 1)


def is_complete(setting: Setting, ratios: list[float]) -> bool:
    return len(ratios) >= rounds(setting)


def known_ratios() -> tuple[Seconds, list[float]]:
    """What this machine has measured so far: of each run, and the reference's median seconds in each process."""
    known = read_results(NAME)
    if known is None or known["machine"] != machine():
        return {}, []
    others = {row["run"]: row["ratios"] for row in known["rows"] if row["run"] != ALONE.run}
    return others, known["setting"]["reference_seconds"]


def write(ratios: Seconds, reference: list[float]) -> None:
    seconds = median(reference)
    rows = [row_of(run, values, seconds) for run, values in ({ALONE.run: [1.0]} | ratios).items()]
    write_results(
        NAME,
        rows,
        reference=ALONE.run,
        reference_seconds=reference,
        batch=PICTURES,
        rounds=ROUNDS,
        rounds_alone=ROUNDS * OFTENER,
    )


def row_of(run: str, ratios: list[float], reference: float) -> Row:
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
    known = {row["title"] for row in valid_rows()}
    settings = [setting for group in GROUPS.values() for setting in group.settings() if setting.title in known]
    return {setting.run: setting for setting in settings if setting.run != ALONE.run}


def time_beside_reference(settings: dict[str, Setting], number: int) -> tuple[Seconds, list[float]]:
    """As `measure_beside`, of these runs, in an order that no other process has."""
    labels = torch.arange(PICTURES) % len(STYLES)
    runs: Runs = {run: partial(studio().sample, setting, labels, SEED) for run, setting in settings.items()}
    parts = [part for setting in (ALONE, *settings.values()) for part in setting.parts]
    for part in dict.fromkeys(parts):
        for cfg in (1.0, 2.0):  # loads it, and meets both sizes of a batch
            studio().sample(Setting((part,), (0, 0), cfg=cfg), labels, SEED)
    turns = [run for run, setting in settings.items() for _ in range(rounds(setting))]
    Random(number).shuffle(turns)
    reference = partial(studio().sample, ALONE, labels, SEED)
    return measure_beside(reference, runs, turns, title="wall time")
