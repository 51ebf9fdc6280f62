"""What stitching costs beside the stock sampler: seconds, waits for the device, kernels, and Python's time."""

from __future__ import annotations

import cProfile
import pstats
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.gpu.card import Card, Run
from benchmarks.gpu.families import Family, families
from benchmarks.gpu.parts import Job
from benchmarks.tools.results import Row
from benchmarks.tools.timing import ideal, median_ratio

FRACTION = 0.4
ROUNDS, WITHIN = {True: 1, False: 7}, 9.0  # by dry; seconds a family
SHOWN = 12  # functions of a profile
PACK = Path(__file__).resolve().parents[2] / "tstitch"


def rows(job: Job) -> Iterator[Row]:
    """One row a family, and what its profile shows."""
    for name, make in families(job.dry).items():
        yield from job.cells([({"family": name}, lambda make=make: measure(make(), ROUNDS[job.dry]))])  # type: ignore[misc]
        Card().clean_up()


def measure(family: Family, rounds: int) -> Row:
    card = Card()
    itself = family.stitched(family.pattern(FRACTION), itself=True)
    pair = family.stitched(family.pattern(FRACTION))
    runs = {
        "small": partial(family.sample, family.small),
        "stock": partial(family.sample, family.large),
        "itself": partial(family.sample, itself),
        "pair": partial(family.sample, pair),
    }
    seconds = card.measure(runs, rounds, WITHIN)
    first = round(FRACTION * family.steps)
    free = ideal([seconds["small"]] * first + [seconds["stock"]] * (family.steps - first))
    waits = {run: card.waits(runs[run]) for run in runs}
    launches = {run: card.launches(runs[run]) for run in ("small", "stock", "itself", "pair")}
    return {
        "title": family.name,
        "tokens": family.tokens,
        "steps": family.steps,
        "rounds": len(free),
        "seconds": {run: round(median(values), 5) for run, values in seconds.items()},
        "over stock": median_ratio(seconds["itself"], seconds["stock"]),
        "pair over ideal": median_ratio(seconds["pair"], free),
        "waits": {run: sum(found.values()) for run, found in waits.items()},
        "waits of stitching": dict((waits["itself"] - waits["stock"]).most_common(SHOWN)),
        "launches a step": {run: round(count / family.steps, 1) for run, count in launches.items()},
        "profile": profile(runs["pair"], family.steps),
    }


def profile(run: Run, steps: int) -> list[Row]:
    """The pack's functions by their own time, in microseconds per step."""
    profiler = cProfile.Profile()
    profiler.runcall(run)
    found: Counter[str] = Counter()
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if file.startswith(str(PACK)):
            found[f"{Path(file).relative_to(PACK.parent).as_posix()} {function}"] += own * 1e6 / steps
    shown = [{"function": name, "microseconds": round(value, 1)} for name, value in found.most_common(SHOWN)]
    return [*shown, {"function": "all of the pack", "microseconds": round(sum(found.values()), 1)}]
