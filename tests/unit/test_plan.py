"""The best schedule for a budget: equal to brute force, fast, and one sentence where there is none."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tstitch.errors import StitchError
from tstitch.planning.calibration.record import Calibration
from tstitch.planning.plan.problem import Choice, Costs, PlanProblem
from tstitch.planning.plan.request import Request, check_latent_shape, make_plan, resampled
from tstitch.planning.plan.solve import best_within, fastest, fastest_allowed
from tstitch.planning.profile.record import ModelTiming, Profile
from tstitch.planning.records import ModelMark

SMALL, MIDDLE, LARGE = (ModelMark(name, name * 6) for name in ("S", "M", "L"))


at_any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def problems(draw: Any, least_models: int = 1) -> PlanProblem:
    models, steps = draw(st.integers(least_models, 3)), draw(st.integers(1, 6))
    fine = draw(st.sampled_from([1, 10**12]))  # ticks and grains of which no two sums are alike, too
    step, once, error = (st.integers(*ends).map(fine.__mul__) for ends in ((1, 20), (0, 12), (0, 15)))
    rest = st.integers(0, min(fine - 1, 10**6))
    costs = tuple(Costs(draw(step) + draw(rest), draw(once), draw(once)) for _ in range(models))
    errors = tuple(tuple(draw(error) + draw(rest) for _ in range(steps)) for _ in range(models))
    return PlanProblem(costs, errors, draw(st.booleans()))


def all_choices(problem: PlanProblem) -> list[Choice]:
    owners = product(range(problem.models), repeat=problem.steps)
    return [problem.rate(each) for each in owners if not problem.small_first or all(a <= b for a, b in pairwise(each))]


@at_any_speed
@given(problems(), st.integers(-5, 150))
def test_the_plan_is_the_best_of_all_schedules(problem: PlanProblem, above: int) -> None:
    every = all_choices(problem)
    least = min(choice.ticks for choice in every)
    budget = least + above * (1 if least < 10**12 else 10**12)
    possible = [(choice.grains, choice.ticks) for choice in every if choice.ticks <= budget]
    found = best_within(problem, budget)
    assert (found and (found.grains, found.ticks)) == min(possible, default=None)
    assert found is None or found == problem.rate(found.owners)


@at_any_speed
@given(problems())
def test_the_fastest_is_the_fastest_of_all(problem: PlanProblem) -> None:
    assert fastest(problem)[1:] == min((choice.ticks, choice.grains) for choice in all_choices(problem))


@at_any_speed
@given(problems(least_models=2), st.integers(0, 15))
def test_the_fastest_within_a_tolerance_is_the_fastest_of_all(problem: PlanProblem, tolerance: int) -> None:
    problem = replace(problem, errors=(*problem.errors[:-1], (0,) * problem.steps))
    allowed = [[error <= tolerance for error in row] for row in problem.errors]
    possible = [
        (choice.ticks, choice.grains)
        for choice in all_choices(problem)
        if all(allowed[model][step] for step, model in enumerate(choice.owners))
    ]
    assert fastest_allowed(problem, allowed)[1:] == min(possible)


def test_the_time_of_a_schedule_counts_steps_set_ups_and_loads() -> None:
    problem = PlanProblem((Costs(1, 100, 10_000), Costs(5, 1_000, 100_000)), ((0,) * 4, (0,) * 4), False)
    assert problem.rate([0, 0, 1, 0]).ticks == 8 + 1_100 + 10_000 + 100_000 + 10_000
    assert problem.rate([1] * 4).ticks == 20 + 1_000  # the run before has left it on the device


def test_a_hundred_steps_of_five_models_are_planned() -> None:
    """Too many for brute force: the plan keeps its budget, and no exchange of two steps' models makes it better."""
    errors = [
        [0.1 * (4 - model) * (0.1 + step / 100 + 0.03 * (step * 7 % 5)) for step in range(100)] for model in range(5)
    ]
    grains = tuple(tuple(round(1e9 * error) for error in row) for row in errors)
    problem = PlanProblem(tuple(Costs(round(1e9 * 0.031 * 1.83**model), 500_000) for model in range(5)), grains, False)
    slowest = problem.rate([4] * 100).ticks
    for part in (0.3, 0.5, 0.8):
        budget = round(part * slowest)
        plan = best_within(problem, budget)
        assert plan is not None
        assert plan.ticks <= budget
        owners = list(plan.owners)
        for first, second in combinations(range(0, 100, 3), 2):
            owners[first], owners[second] = owners[second], owners[first]
            exchanged = problem.rate(owners)
            assert exchanged.ticks > budget or exchanged.grains >= plan.grains
            owners[first], owners[second] = owners[second], owners[first]


# --- Requests --------------------------------------------------------------------------------------------------------


def profile_of(models: dict[ModelMark, float], **changes: Any) -> Profile:
    timings = tuple(ModelTiming(step, step, 0.0, 0.0, 1.0, None, 5) for step in models.values())
    return replace(
        Profile(tuple(models), timings, "cpu", (1, 4, 8, 8), guided=(True,) * len(models), together=True), **changes
    )


def calibration_of(models: dict[ModelMark, list[float]], cfg: float = 2.0) -> Calibration:
    rows = tuple(map(tuple, models.values()))
    steps = len(rows[0])
    levels = tuple(1 - step / steps for step in range(steps))
    ones = tuple((1.0,) * steps for _ in rows)
    zeros = tuple((0.0,) * steps for _ in rows)
    return Calibration(
        models=tuple(models), timesteps=levels, sigmas=levels, relative_error=zeros, relative_error_spread=zeros,
        cosine=ones, cosine_spread=zeros, noise_error=rows, seeds=(0,), samples=1, steps=steps, sampler="euler",
        scheduler="simple", cfg=cfg, small_cfg=cfg,
    )  # fmt: skip


TIMES = profile_of({SMALL: 0.1, LARGE: 0.5})
RISING = calibration_of({SMALL: [0.0, 0.1, 0.2, 0.3], LARGE: [0.0] * 4})
LATE = calibration_of({SMALL: [0.3, 0.2, 0.1, 0.0], LARGE: [0.0] * 4})


def request(goal: str, budget: float, steps: int = 4, order: str = "small first", **known: Any) -> Request:
    return Request(goal, budget, steps, order, known.get("profile", TIMES), known.get("calibration", RISING))


@pytest.mark.parametrize(
    ("asked", "pattern", "seconds", "fraction"),
    [
        (request("seconds", 2.0), "1x1 2x3", 1.6, 0.25),  # the first step costs nothing on the small model
        (request("seconds", 1.21), "1x2 2x2", 1.2, 0.5),
        (request("seconds", 0.4), "1x4", 0.4, 1.0),
        (request("speed-up", 1.2), "1x1 2x3", 1.6, 0.25),
        (request("speed-up", 1.5, calibration=None), "1x2 2x2", 1.2, 0.5),
        (request("seconds", 1.21, order="free", calibration=LATE), "2x2 1x2", 1.2, -1.0),
        (request("seconds", 1.21, order="small first", calibration=LATE), "1x2 2x2", 1.2, 0.5),
        (request("no visible loss", 0.1), "1x2 2x2", 1.2, 0.5),
        (request("no visible loss", 0.1, profile=None), "1x2 2x2", 0.0, 0.5),
        (request("no visible loss", 0.1, order="free", calibration=LATE), "2x2 1x2", 1.2, -1.0),
        (request("no visible loss", 0.16, steps=8), "1x4 2x4", 2.4, 0.5),
    ],
)
def test_goals(asked: Request, pattern: str, seconds: float, fraction: float) -> None:
    plan = make_plan(asked)
    assert (plan.choice.pattern, plan.fraction) == (pattern, fraction)
    assert plan.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(("budget", "together", "apart"), [(10.0, "2x3 1x1", "2x4"), (1.9, "2x3 1x1", "2x1 1x3")])
def test_switches_cost_a_load_where_the_models_do_not_fit_together(budget: float, together: str, apart: str) -> None:
    for pattern, profile in ((together, TIMES), (apart, replace(TIMES, together=False))):
        plan = make_plan(request("seconds", budget, profile=profile, calibration=LATE, order="free"))
        assert plan.choice.pattern == pattern
        assert plan.seconds == pytest.approx({"2x3 1x1": 1.6, "2x4": 2.0, "2x1 1x3": 0.8 + 1.0}[pattern])


def test_three_models_small_first() -> None:
    profile = profile_of({SMALL: 0.1, MIDDLE: 0.2, LARGE: 0.5})
    calibration = calibration_of({SMALL: [0.1, 0.3, 0.9, 0.9], MIDDLE: [0.1, 0.1, 0.2, 0.9], LARGE: [0.0] * 4})
    plan = make_plan(request("seconds", 1.01, profile=profile, calibration=calibration))
    assert (plan.choice.pattern, plan.fraction) == ("1x1 2x2 3x1", -1.0)


def test_the_alternatives_are_a_pareto_front_that_holds_the_choice() -> None:
    for order in ("small first", "free"):
        plan = make_plan(request("speed-up", 1.5, order=order))
        assert plan.choice in plan.alternatives
        for quicker, slower in pairwise(plan.alternatives):
            assert quicker.ticks < slower.ticks
            assert quicker.grains > slower.grains


def test_another_number_of_steps_is_read_between_the_calibrated_ones() -> None:
    assert resampled([1.0, 0.5], 4) == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert resampled([0.9, 0.6, 0.3], 3) == [0.9, 0.6, 0.3]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (request("seconds", 0.0), "budget must be above 0, got 0.0: set it to the seconds a run may take."),
        (request("speed-up", -1.5), "budget must be above 0, got -1.5: set it to a factor such as 1.5."),
        (request("speed-up", float("nan")), "budget must be above 0, got nan"),
        (request("seconds", 1.0, steps=0), "steps must be 1 or more, got 0"),
        (request("hours", 1.0), "goal must be one of speed-up, seconds, no visible loss, got hours."),
        (request("seconds", 1.0, profile=None, calibration=None), "connect a profile, or a calibration, or both"),
        (request("seconds", 1.0, profile=None), 'The goal "seconds" needs the seconds of a step'),
        (
            request("no visible loss", 1.5),
            "A budget of 1.5 is no limit for no visible loss, as an error of 1 is as large as the prediction itself",
        ),
        (request("no visible loss", 0.1, calibration=None), 'The goal "no visible loss" needs the errors'),
        (request("seconds", 0.3), "A budget of 0.3 s cannot be met: at the fastest, all 4 steps by S (1x4) take 0.4 s"),
        (request("speed-up", 6), "the fastest, all 4 steps by S (1x4) take 0.4 s, which is 5.00 times as fast as L"),
        (
            request("seconds", 1.0, profile=profile_of({MIDDLE: 0.1, LARGE: 0.5})),
            "The profile is of other models than the calibration: M [MMMMMM], L [LLLLLL] against S [SSSSSS], L",
        ),
        (
            request("seconds", 1.0, profile=profile_of({LARGE: 0.5, SMALL: 0.1})),
            "The profile is in another order than the calibration",
        ),
        (
            request("seconds", 1.0, profile=replace(TIMES, models=(LARGE, LARGE))),
            "The profile is of one model only (L in every socket)",
        ),
        (
            request("seconds", 1.0, profile=replace(TIMES, guided=(False, False))),
            "without guidance, the calibration at cfg 2",
        ),
        (
            request("seconds", 1.0, profile=replace(TIMES, guided=(False, True))),
            "without guidance, the calibration at small_cfg 2: set the same small_cfg on both nodes",
        ),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(asked: Request, sentence: str) -> None:
    with pytest.raises(StitchError) as raised:
        make_plan(asked)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_profile_of_another_size_is_refused_with_both() -> None:
    check_latent_shape(TIMES, (1, 16, 8, 8))  # the host mends the channels of an empty latent
    with pytest.raises(StitchError, match=r"of latents of 1 x 4 x 8 x 8, but latent_image has 2 x 4 x 8 x 8"):
        check_latent_shape(TIMES, (2, 4, 8, 8))
