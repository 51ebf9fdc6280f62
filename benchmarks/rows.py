"""What the results say: rows of quality with the speed-up of their model calls, and what follows from them.

A speed-up is that of the wall time of ten pictures, which `wall_time` measures apart from the thousands that a row is
drawn from; or that of the model calls: how often a picture went through each model, times what `speed` measured a step
of that model to cost. Both are against a reference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
ARROW = "\N{RIGHTWARDS ARROW}"
Row = dict[str, Any]


def read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def cost(calls: dict[str, float]) -> float:
    """Of the model calls of a picture, in seconds of the machine that `speed` ran on."""
    return sum(count * seconds_alone()[name] for name, count in calls.items())


@cache
def seconds_alone() -> dict[str, float]:
    """Of a run with one model, by its name."""
    speeds = read("speed")
    assert speeds is not None
    seconds = {row["run"]: row["seconds"] for row in speeds["runs"]}
    return {**seconds, "Shortcut": seconds["B"]}  # one size


class Reference(NamedTuple):
    """What a speed-up is counted from: model calls of a picture, and the run that has been timed."""

    calls: dict[str, float]
    run: str


def xl_alone(row: Row) -> Reference:
    """XL over all of the row's steps, unguided."""
    return Reference({"XL": row["steps"]}, f"XL 1x{row['steps']} {row['sampler']} simple cfg 1")


def twenty_steps(row: Row) -> Reference:
    return Reference({"XL": 20}, "XL 1x20 dpmpp_2m simple cfg 1")


def twenty_guided_steps(row: Row) -> Reference:
    return Reference({"XL": 40}, "XL 1x20 dpmpp_2m simple cfg 2")


def speedup(row: Row, reference: Callable[[Row], Reference] = twenty_steps) -> float:
    """Of the model calls."""
    return cost(reference(row).calls) / cost(row["calls"])


@cache
def wall_times() -> dict[str, Row]:
    """What `wall_time` measured, by run."""
    times = read("wall_time")
    return {row["run"]: row for row in times["runs"]} if times is not None else {}


def run_of(row: Row) -> str:
    """The name of what was timed for it; seeds share one."""
    return row["key"].split(" seed ")[0]


def timed_speedup(reference: str, run: str) -> float | None:
    """Of wall time, where both runs have been timed."""
    slow, fast = wall_times().get(reference), wall_times().get(run)
    return fast["speedup"] / slow["speedup"] if slow and fast else None


def speed_of(rows: list[Row], reference: Callable[[Row], Reference] = twenty_steps) -> Callable[[Row], float]:
    """The speed-up of any of `rows`: of wall time where all of them have been timed, else of the model calls."""
    found = {row["key"]: timed_speedup(reference(row).run, run_of(row)) for row in rows}
    timed = {key: gain for key, gain in found.items() if gain is not None}
    return partial(speedup, reference=reference) if len(timed) < len(found) else lambda row: timed[row["key"]]


def fraction_of(row: Row, model: str) -> float:
    """Of the steps, on `model`."""
    return row["calls"].get(model, 0) / sum(row["calls"].values())


def order_of(pattern: str) -> str:
    """Of two models, the small one number 1."""
    owners = [turn.split("x")[0] for turn in pattern.split()]
    return {"12": "small first", "21": "large first", "212": "large-small-large"}.get("".join(owners), "interleaved")


def words_of(row: Row) -> str:
    """What sets a row apart from the plain run of its models and steps, other than its cfg."""
    words = [f"seed {row['seed']}"] if row["seed"] else []
    words += ["two samplers"] if row["chained"] else []
    words += [f"EasyCache {row['cache']:g}"] if row["cache"] else []
    return ", ".join(words)


def pairs_of(rows: list[Row]) -> list[str]:
    """The mixtures among `rows`."""
    return list(dict.fromkeys(row["models"] for row in rows if ARROW in row["models"]))


def pair_rows(rows: list[Row], pair: str) -> list[Row]:
    """From the second model alone to the first alone, by rising fraction."""
    small, large = pair.split(ARROW)
    first, last = (next((row for row in rows if row["models"] == name), None) for name in (large, small))
    stitched = sorted((row for row in rows if row["models"] == pair), key=lambda row: fraction_of(row, small))
    return [row for row in (first, *stitched, last) if row is not None]


class Spread(NamedTuple):
    """Largest less smallest over seeds."""

    fid: float
    accuracy: float


def spread_of(row: Row) -> str:
    """The group with more seeds of runs like it."""
    if row["cfg"] != "1":
        return "spread_guided"
    return "spread_ddim" if row["sampler"] == "ddim" else "spread"


def seeds_alone(group: str) -> list[Row]:
    """XL alone, of each seed from 0."""
    results = read(group)
    assert results is not None
    return [row for row in results["rows"] if row["models"] == "XL"]


def seed_spread(group: str) -> Spread:
    """Of XL alone."""
    alone = seeds_alone(group)
    fids, accuracies = ([row[key] for row in alone] for key in ("fid", "accuracy"))
    return Spread(round(max(fids) - min(fids), 3), round(max(accuracies) - min(accuracies), 4))


def is_lossless(row: Row, alone: Row) -> bool:
    """No worse than `alone`, the large model's row, by more than seeds differ."""
    spread = seed_spread(spread_of(alone))
    worse = round(row["fid"] - alone["fid"], 3), round(alone["accuracy"] - row["accuracy"], 4)
    return worse[0] <= spread.fid and worse[1] <= spread.accuracy


def lossless(rows: list[Row], pair: str) -> Row:
    """That of the largest fraction up to which every row is without loss against the large model alone."""
    first, *others = pair_rows(rows, pair)
    best = first
    for row in others:
        if not is_lossless(row, first):
            break
        best = row
    return best


def front(rows: list[Row]) -> list[Row]:
    """Those that no other row beats in both speed-up and FID, the slowest first."""
    best: list[Row] = []
    speed = speed_of(rows)
    for row in sorted(rows, key=lambda row: (-speed(row), row["fid"])):
        if not best or row["fid"] < best[-1]["fid"]:
            best.append(row)
    return best[::-1]
