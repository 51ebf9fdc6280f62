"""Plans of steps and models from a calibration: equal to brute force, verified on other samples, refused in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest

from tstitch.errors import StitchError
from tstitch.planning.calibration.record import Calibration
from tstitch.planning.joint.candidates import STOCK
from tstitch.planning.joint.edges import Edges, all_pairs, allowed_triples
from tstitch.planning.joint.problem import JointChoice
from tstitch.planning.joint.record import EdgeTable, StepErrors, StockRun
from tstitch.planning.joint.request import AS_CALIBRATED, Planning, make_joint_plan
from tstitch.planning.joint.views import joint_chart, joint_table
from tstitch.planning.plan.request import Request
from tstitch.planning.profile.record import ModelTiming, Profile
from tstitch.planning.records import ModelMark
from tstitch.schedule import Schedule, ScheduleSpec

SECONDS = (0.1, 0.3, 1.0)
MARKS = tuple(ModelMark(name, name * 6) for name in "SML")
STEPS = 8


def sigmas_of(levels: int) -> tuple[float, ...]:
    return tuple((1 - step / (levels - 1)) ** 2 * 10 for step in range(levels))


def edges_of(levels: int, models: int, seed: int, second_order: bool = False, lack: float = 1.0) -> Edges:
    """Small models are as good as the large one at high noise, and far off at low noise; no two sums are alike."""
    sigmas, pairs = sigmas_of(levels), all_pairs(levels)
    t = np.linspace(0, 1, levels)
    random = np.random.default_rng(seed)
    start, stop = t[pairs].T
    lacks = lack * np.array([1.0, 0.4, 0.0])[3 - models :, None]
    alone = (stop - start) ** 2 + lacks * (stop - start) * np.maximum(start - 0.3, 0.0)
    alone = alone * random.uniform(0.97, 1.03, alone.shape)
    if not second_order:
        return Edges(sigmas, pairs, alone)
    triples = allowed_triples(sigmas)
    index = {tuple(pair): place for place, pair in enumerate(pairs.tolist())}
    after = alone[:, [index[start, stop] for _, start, stop in triples.tolist()]]
    return Edges(sigmas, pairs, alone, triples, np.stack([after] * models) * random.uniform(0.9, 1.1, after.shape))


def calibration_of(edges: Edges, held_out: Edges | None = None, **changes: Any) -> Calibration:
    held_out = edges if held_out is None else held_out
    levels, models = len(edges.sigmas), edges.models
    stock = []
    for steps in range(1, levels):
        near = [round(step * (levels - 1) / steps) for step in range(steps + 1)]
        errors = [along(each, near) for each in (edges, held_out)]
        stock.append(StockRun(tuple(edges.sigmas[level] for level in near), *errors))
    record = StepErrors(EdgeTable.of(edges), EdgeTable.of(held_out), tuple(stock), tuple(range(models)), 8, 4)
    rows = ((0.1, 0.2),) * (models - 1) + ((0.0, 0.0),)
    cosine = ((0.9, 0.9),) * (models - 1) + ((1.0, 1.0),)
    sampler = "euler" if edges.after is None else "dpmpp_2m"
    whole = Calibration(
        MARKS[-models:], (1.0, 0.5), (10.0, 2.0), rows, rows, cosine, rows, rows, (0,), 1, 2, sampler, "simple", 3.0,
        3.0, step_errors=record,
    )  # fmt: skip
    return replace(whole, **changes)


def along(edges: Edges, levels: list[int]) -> float:
    """Of the finishing model, each step alone."""
    index = {tuple(pair): place for place, pair in enumerate(edges.pairs.tolist())}
    return float(sum(edges.alone[-1, index[pair]] for pair in pairwise(levels)))


def profile_of(models: int, **changes: Any) -> Profile:
    timings = tuple(ModelTiming(step, step, 0.0, 0.02, 0.05, None, 5) for step in SECONDS[-models:])
    given = Profile(MARKS[-models:], timings, "cpu", (1, 4, 8, 8), guided=(True,) * models, together=True)
    return replace(given, **changes)


def request_of(goal: str, budget: float, calibration: Calibration, order: str = "free", **changes: Any) -> Request:
    return Request(goal, budget, STEPS, order, profile_of(len(calibration.models), **changes), calibration)


def every_choice(request: Request) -> Iterator[JointChoice]:
    problem = Planning.of(request, AS_CALIBRATED).budgeted.problem()
    for count in range(problem.levels - 1):
        for stops in combinations(range(1, problem.last), count):
            for owners in product(range(problem.models), repeat=count + 1):
                choice = problem.rate((0, *stops, problem.last), owners)
                if choice is not None:
                    yield choice


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", ["free", "small first"])
@pytest.mark.parametrize(("goal", "budget"), [("speed-up", 2.0), ("speed-up", 8.0), ("seconds", 2.5), ("seconds", 0.4)])
def test_the_plan_for_a_time_is_the_best_of_all(
    goal: str, budget: float, order: str, together: bool, second_order: bool
) -> None:
    request = request_of(goal, budget, calibration_of(edges_of(7, 3, 1, second_order)), order, together=together)
    plan = make_joint_plan(request)
    most = budget if goal == "seconds" else (STEPS * 1.0 + 0.02) / budget
    expected = min(choice.error for choice in every_choice(request) if choice.seconds <= most + 1e-12)
    best = min(plan.tried.trials, key=lambda trial: trial.distance)
    assert best.candidate.error == pytest.approx(expected, rel=1e-12)
    assert best.distance == pytest.approx(expected, rel=1e-6)  # the held-out samples are the same here
    assert plan.seconds <= most
    if order == "small first":
        assert list(plan.choice.owners) == sorted(plan.choice.owners)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("tolerance", [0.9, 0.4, 0.25])
def test_the_plan_for_a_tolerance_is_the_quickest_of_all(tolerance: float, second_order: bool) -> None:
    request = request_of("no visible loss", tolerance, calibration_of(edges_of(7, 3, 1, second_order)))
    plan = make_joint_plan(request)
    possible = [choice.seconds for choice in every_choice(request) if choice.error <= tolerance]
    assert plan.seconds == pytest.approx(min(possible), rel=1e-12)
    assert plan.tried.trials[0].distance <= tolerance


def test_the_pattern_and_the_levels_are_those_of_one_run() -> None:
    plan = make_joint_plan(request_of("speed-up", 3.0, calibration_of(edges_of(11, 3, 2))))
    sigmas = plan.choice.sigmas
    assert sigmas[0] == 10.0
    assert sigmas[-1] == 0.0
    assert all(later < earlier for earlier, later in pairwise(sigmas))
    spec = ScheduleSpec.parse("", "steps", plan.pattern, 3)
    assert spec.pattern_steps == len(sigmas) - 1
    assert Schedule(plan.choice.owners).pattern == plan.pattern
    assert plan.fraction == -1.0


def test_the_winner_is_chosen_on_samples_that_no_plan_was_made_from() -> None:
    """Where the small model is only by chance as good, the held-out samples say so, and the stock scheduler wins."""
    planned, held_out = edges_of(11, 2, 3, lack=0.0), edges_of(11, 2, 4, lack=0.0)
    held_out.alone[0] += 5.0
    plan = make_joint_plan(request_of("speed-up", 4.0, calibration_of(planned, held_out)))
    assert set(plan.choice.owners) == {1}
    lost = {trial.candidate.kind: trial.distance for trial in plan.tried.trials}
    assert lost["joint plan"] > 5.0
    assert [trial.distance for trial in plan.tried.trials] == sorted(lost.values())


def test_it_says_so_when_the_stock_scheduler_wins() -> None:
    """Even steps are the best ones here, and the small model is of no use."""
    levels = 9
    pairs = all_pairs(levels)
    length = (pairs[:, 1] - pairs[:, 0]) / (levels - 1)
    edges = Edges(sigmas_of(levels), pairs, np.stack([length**2 + 1, length**2]))
    plan = make_joint_plan(request_of("speed-up", 1.9, calibration_of(edges)))
    assert plan.choice.kind == STOCK
    assert plan.pattern == "2x4"
    words = joint_table(plan)
    assert "The stock scheduler with this number of steps wins: no plan is better here." in words
    assert "pattern 2x4" in words


def test_the_table_says_what_was_chosen_and_what_it_rests_on() -> None:
    plan = make_joint_plan(request_of("speed-up", 3.5, calibration_of(edges_of(11, 2, 5))))
    words = joint_table(plan)
    assert words.startswith(f"{plan.choice.kind}, ")
    assert "times as fast as 8 steps of L" in words
    assert "the stock scheduler with 2 steps in the same time loses" in words or plan.choice.kind == STOCK
    assert "expected, on the 8 samples that the plans are made from; held-out, on 4 others" in words
    assert "No plan was sampled" in words
    assert "counted as those of euler" not in words
    assert joint_chart(plan).shape[-1] == 3
    unknown = calibration_of(edges_of(11, 2, 5), sampler="heun")
    assert "The steps of heun are counted as those of euler" in joint_table(
        make_joint_plan(request_of("speed-up", 3.5, unknown))
    )


@pytest.mark.parametrize(("sampler", "fits"), [("ddim", True), ("euler_ancestral", True), ("dpmpp_2m", False)])
def test_a_plan_for_another_solver(sampler: str, fits: bool) -> None:
    request = request_of("speed-up", 2.0, calibration_of(edges_of(9, 2, 6)))
    if fits:
        assert make_joint_plan(request, sampler).sampler == sampler
        return
    with pytest.raises(StitchError, match="is of the steps of euler, but the plan is for dpmpp_2m, whose steps lose"):
        make_joint_plan(request, sampler)


@pytest.mark.parametrize(
    ("goal", "budget", "sentence"),
    [
        ("speed-up", 100.0, r"one step of the quickest model takes 0.32 s, which is 25.06 times as fast as the run"),
        ("seconds", 0.1, "A budget of 0.1 s cannot be met: one step of the quickest model takes 0.32 s: raise"),
        ("no visible loss", 1e-6, "No plan loses as little as 1e-06 against a run of many steps: the closest loses 0."),
    ],
)
def test_a_goal_that_nobody_reaches_is_refused_with_the_best(goal: str, budget: float, sentence: str) -> None:
    with pytest.raises(StitchError, match=sentence):
        make_joint_plan(request_of(goal, budget, calibration_of(edges_of(9, 2, 6))))


def test_what_is_missing_is_named() -> None:
    whole = request_of("speed-up", 2.0, calibration_of(edges_of(9, 2, 6)))
    calibration = whole.calibration
    assert calibration is not None
    with pytest.raises(StitchError, match=r"turn record_steps on in T-Stitch Calibrate, and calibrate again\.$"):
        make_joint_plan(replace(whole, calibration=replace(calibration, step_errors=None)))
    with pytest.raises(StitchError, match=r"connect a calibration \(T-Stitch Calibrate\) too"):
        make_joint_plan(replace(whole, calibration=None))
    with pytest.raises(StitchError, match=r"connect a profile \(T-Stitch Profile\) too"):
        make_joint_plan(replace(whole, goal="no visible loss", budget=0.1, profile=None))


@pytest.mark.parametrize("second_order", [False, True])
def test_what_was_recorded_comes_back_from_the_file(second_order: bool) -> None:
    written = calibration_of(edges_of(9, 2, 6, second_order))
    assert Calibration.from_json(written.to_json()) == written
    plain = replace(written, step_errors=None)
    assert Calibration.from_json(plain.to_json()) == plain
    older = {key: value for key, value in json.loads(plain.to_json()).items() if key != "step_errors"}
    assert Calibration.from_json(json.dumps(older)) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"planned": {}},
        {"networks": [0]},
        {"stock": [{"sigmas": [1.0], "error": 0.1, "held_out_error": 0.1}]},
        {"stock": [{"sigmas": [1.0, 0.0], "error": "x", "held_out_error": 0.1}]},
        {"stock": "x"},
        {"samples": None},
    ],
    ids=str,
)
def test_damaged_records_are_refused(change: dict[str, Any]) -> None:
    content = json.loads(calibration_of(edges_of(9, 2, 6)).to_json())
    content["step_errors"] |= change
    with pytest.raises(StitchError, match="The calibration is damaged"):
        Calibration.from_json(json.dumps(content))


def test_one_model_in_every_socket_leaves_the_steps_to_choose() -> None:
    request = request_of("speed-up", 2.0, calibration_of(edges_of(7, 2, 1)))
    assert request.calibration is not None
    assert request.profile is not None
    same = (MARKS[-1],) * 2
    slow = replace(request.profile, models=same, timings=(request.profile.timings[-1],) * 2)
    both = replace(request.calibration, models=same)
    plan = make_joint_plan(replace(request, profile=slow, calibration=both))
    assert plan.choice.seconds <= (STEPS * 1.0 + 0.02) / 2.0
