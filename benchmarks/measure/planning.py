"""Seconds that planning itself takes: 100 steps, 5 models, over kinds of costs, errors, orders and budgets.

A problem is timed as the least processor time of several calls, which other work on the machine hardly touches.
Writes `results/planning.json`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from statistics import median, quantiles
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.tools.results import Row, write_results
from tstitch.planning.calibration.record import Calibration
from tstitch.planning.plan.problem import GRAINS, TICKS, Costs, PlanProblem
from tstitch.planning.plan.request import Request, make_plan
from tstitch.planning.plan.solve import best_within, fastest
from tstitch.planning.profile.record import ModelTiming, Profile
from tstitch.planning.records import ModelMark

STEPS, MODELS = 100, 5
PROBLEMS = 5  # of each class
CALLS = 2
PLANS = 1  # whole plans with their alternatives, of each class
PARTS = (0.2, 0.95)  # of the slowest schedule's time: the budgets

Errors = list[list[float]]  # [model][step], of all models but the finishing one, which has no error


class Kind(NamedTuple):
    """A class of problems."""

    small_first: bool
    loads: bool
    setups: bool
    errors: str
    costs: str

    @property
    def structure(self) -> str:
        extras = [name for name, there in (("loads", self.loads), ("set-ups", self.setups)) if there]
        return ", ".join(["small first" if self.small_first else "free order", *extras])


def smooth(dice: random.Random) -> Errors:
    """As calibrations are: rising or falling along the run, less for larger models, with a little noise."""
    rise, noise = dice.uniform(-1.5, 1.5), dice.uniform(0.0, 0.05)
    scales = sorted((dice.uniform(0.02, 0.3) for _ in range(MODELS - 1)), reverse=True)
    bends = [dice.uniform(0.7, 1.4) for _ in scales]
    return [
        [scale * place(step, rise) ** bend * dice.uniform(1 - noise, 1 + noise) for step in range(STEPS)]
        for scale, bend in zip(scales, bends, strict=True)
    ]


def place(step: int, rise: float) -> float:
    return 1.5 + rise * ((step + 0.5) / STEPS - 0.5)


def constant(dice: random.Random) -> Errors:
    """The same at each step."""
    return [[error] * STEPS for error in sorted((dice.uniform(0.0, 0.3) for _ in range(MODELS - 1)), reverse=True)]


def equal(dice: random.Random) -> Errors:
    """All models but the finishing one are equally good at a step, and many steps are alike."""
    levels = [dice.uniform(0.0, 0.3) for _ in range(3)]
    row = [dice.choice(levels) for _ in range(STEPS)]
    return [row] * (MODELS - 1)


def independent(dice: random.Random) -> Errors:
    return [[dice.uniform(0.0, 0.3) for _ in range(STEPS)] for _ in range(MODELS - 1)]


def geometric(dice: random.Random) -> list[float]:
    """Seconds of a step: each model some times as slow as the one before."""
    seconds = [dice.uniform(0.02, 0.2)]
    while len(seconds) < MODELS:
        seconds.append(seconds[-1] * dice.uniform(1.3, 2.5))
    return seconds


def close(dice: random.Random) -> list[float]:
    return sorted(0.5 * dice.uniform(1.0, 1.1) for _ in range(MODELS))


ERRORS: dict[str, Callable[[random.Random], Errors]] = {
    "smooth": smooth, "constant": constant, "equal": equal, "independent": independent,
}  # fmt: skip
COSTS: dict[str, Callable[[random.Random], list[float]]] = {"geometric": geometric, "close": close}
KINDS = [Kind(*each) for each in product((True, False), (False, True), (False, True), ERRORS, COSTS)]


def costs_of(kind: Kind, dice: random.Random) -> tuple[Costs, ...]:
    seconds = COSTS[kind.costs](dice)
    setups = [dice.uniform(0.1, 2.0) * own if kind.setups else 0.0 for own in seconds]
    loads = [dice.choice((0.01, 0.3, 3.0)) * dice.uniform(0.5, 1.5) * own if kind.loads else 0.0 for own in seconds]
    return tuple(Costs(*(round(TICKS * own) for own in each)) for each in zip(seconds, setups, loads, strict=True))


def problem_of(kind: Kind, dice: random.Random) -> tuple[PlanProblem, int]:
    """A problem and a budget that can be met."""
    costs = costs_of(kind, dice)
    rows = [*ERRORS[kind.errors](dice), [0.0] * STEPS]
    errors = tuple(tuple(round(GRAINS * error / STEPS) for error in row) for row in rows)
    problem = PlanProblem(costs, errors, kind.small_first)
    least = fastest(problem).ticks
    most = max(problem.rate([model] * STEPS).ticks for model in range(MODELS))
    budget = round(dice.uniform(*PARTS) * most)
    return problem, budget if budget >= least else round(dice.uniform(least, most))


def timing_of(step: float, setup: float, load: float) -> ModelTiming:
    return ModelTiming(step, mean=step, spread=0.0, setup=setup, load=load, peak_bytes=None, repeats=5)


def request_of(kind: Kind, problem: PlanProblem, budget: int) -> Request:
    """The same problem as the node Plan is asked it."""
    models = tuple(ModelMark(str(number), str(number)) for number in range(MODELS))
    timings = tuple(timing_of(*(ticks / TICKS for ticks in costs)) for costs in problem.costs)
    profile = Profile(models, timings, "cpu", (1, 4, 8, 8), guided=(True,) * len(models), together=not kind.loads)
    rows = tuple(tuple(STEPS * grains / GRAINS for grains in row) for row in problem.errors)
    levels = tuple(1 - step / STEPS for step in range(STEPS))
    unknown = tuple((0.0,) * STEPS for _ in rows)
    calibration = Calibration(
        models=models, timesteps=levels, sigmas=levels, relative_error=unknown, relative_error_spread=unknown,
        cosine=unknown, cosine_spread=unknown, noise_error=rows, seeds=(0,), samples=1, steps=STEPS, sampler="euler",
        scheduler="simple", cfg=2.0, small_cfg=2.0,
    )  # fmt: skip
    order = "small first" if kind.small_first else "free"
    return Request("seconds", budget / TICKS, STEPS, order, profile, calibration)


def seconds_of(call: Callable[[], object]) -> float:
    """Of this process, without what others do; the least of some calls."""
    found = []
    for _ in range(CALLS):
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return min(found)


def measure() -> tuple[dict[Kind, list[float]], dict[str, list[float]]]:
    """Seconds of one plan by class, and of all that the node computes by goal."""
    alone: dict[Kind, list[float]] = {}
    whole: dict[str, list[float]] = {"a budget": [], "no visible loss": []}
    for number, kind in enumerate(tqdm(KINDS, desc="planning", unit="class")):
        dice = random.Random(number)
        problems = [problem_of(kind, dice) for _ in range(PROBLEMS)]
        alone[kind] = [seconds_of(lambda asked=asked: best_within(*asked)) for asked in problems]  # type: ignore[misc]
        for problem, budget in problems[:PLANS]:
            request = request_of(kind, problem, budget)
            whole["a budget"].append(seconds_of(lambda request=request: make_plan(request)))  # type: ignore[misc]
            lossless = replace(request, goal="no visible loss", budget=0.1)
            whole["no visible loss"].append(seconds_of(lambda request=lossless: make_plan(request)))  # type: ignore[misc]
    return alone, whole


def summary(seconds: list[float]) -> Row:
    return {
        "problems": len(seconds),
        "median": round(median(seconds), 5),
        "p99": round(quantiles(seconds, n=100, method="inclusive")[98], 5),
        "max": round(max(seconds), 5),
    }


def summaries(alone: dict[Kind, list[float]], name: Callable[[Kind], str]) -> list[Row]:
    groups: dict[str, list[float]] = {}
    for kind, seconds in alone.items():
        groups.setdefault(name(kind), []).extend(seconds)
    return [{"class": name, **summary(seconds)} for name, seconds in groups.items()]


def main() -> None:
    alone, whole = measure()
    runs = [
        *summaries(alone, lambda kind: "all"),
        *summaries(alone, lambda kind: kind.structure),
        *({"class": f"with all alternatives, goal {goal}", **summary(seconds)} for goal, seconds in whole.items()),
    ]
    write_results("planning", runs, steps=STEPS, models=MODELS, budgets=PARTS)
    for row in runs:
        print(f"{row['class']:<46} median {row['median']:.4f}  p99 {row['p99']:.4f}  max {row['max']:.4f} s")
