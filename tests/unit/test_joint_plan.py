"""Noise levels and models chosen together: equal to brute force, and fast."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tstitch.errors import StitchError
from tstitch.planning.joint.problem import JointChoice, JointProblem
from tstitch.planning.joint.solve import best_within, fastest, fastest_within
from tstitch.planning.plan.problem import Costs

at_any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def problems(draw: Any) -> JointProblem:
    models, levels = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    fine = draw(st.sampled_from([1, 10**9]))  # ticks and grains of which no two sums are alike, too
    seed = draw(st.integers(0, 2**32))
    random = np.random.default_rng(seed)

    def numbers(*shape: int, most: int = 15) -> Any:
        return random.integers(0, most, shape) * fine + random.integers(0, fine, shape)

    once = draw(st.sampled_from([0, 12]))
    load = draw(st.sampled_from([0, 12]))
    costs = tuple(
        Costs(int(numbers(most=20)) + 1, int(numbers(most=once + 1)) * bool(once), int(numbers(most=load + 1)))
        for _ in range(models)
    )
    if not load:
        costs = tuple(cost._replace(load=0) for cost in costs)
    pairs = [pair for pair in combinations(range(levels), 2) if pair[1] - pair[0] == 1 or random.random() < 0.8]
    order = random.permutation(len(pairs))
    pairs = [pairs[place] for place in order]
    alone = numbers(models, len(pairs))
    networks = tuple(random.integers(0, 2, models).tolist()) if draw(st.booleans()) else ()
    more: dict[str, Any] = {"small_first": draw(st.booleans()), "networks": networks}
    if draw(st.booleans()):
        return JointProblem(costs, levels, np.array(pairs), alone, **more)
    triples = [
        (before, start, stop)
        for before, start in pairs
        for stop in range(start + 1, levels)
        if (start, stop) in pairs and random.random() < 0.8
    ]
    after = numbers(models, models, len(triples))
    table = np.array(triples, np.int64).reshape(-1, 3)
    return JointProblem(costs, levels, np.array(pairs), alone, table, after, **more)


def all_choices(problem: JointProblem) -> list[JointChoice]:
    inner = range(1, problem.last)
    found = []
    for count in range(problem.levels - 1):
        for stops in combinations(inner, count):
            for owners in product(range(problem.models), repeat=count + 1):
                levels = (0, *stops, problem.last)
                if all(problem.pair_index[pair] >= 0 for pair in pairwise(levels)):
                    found.append(problem.rate(levels, owners))
    return [choice for choice in found if choice is not None]


@at_any_speed
@given(problems(), st.floats(-0.1, 1.1))
def test_the_plan_is_the_best_of_all(problem: JointProblem, place: float) -> None:
    every = all_choices(problem)
    ticks = [choice.ticks for choice in every] or [0]
    budget = round(min(ticks) + place * (max(ticks) - min(ticks)))
    possible = [(choice.grains, choice.ticks) for choice in every if choice.ticks <= budget]
    found = best_within(problem, budget)
    assert (found and (found.grains, found.ticks)) == min(possible, default=None)


@at_any_speed
@given(problems(), st.floats(-0.1, 1.1))
def test_the_fastest_within_an_error_is_the_fastest_of_all(problem: JointProblem, place: float) -> None:
    every = all_choices(problem)
    grains = [choice.grains for choice in every] or [0]
    limit = round(min(grains) + place * (max(grains) - min(grains)))
    possible = [(choice.ticks, choice.grains) for choice in every if choice.grains <= limit]
    found = fastest_within(problem, limit)
    assert (found and (found.ticks, found.grains)) == min(possible, default=None)
    if every:
        assert fastest(problem).ticks == min(choice.ticks for choice in every)


def curved(models: int, levels: int, second_order: bool) -> JointProblem:
    """Errors that grow with the square of a step, or its cube, and with what a model lacks, more so at low noise."""
    t = np.linspace(0, 1, levels)
    pairs = np.array(list(combinations(range(levels), 2)))
    start, stop = t[pairs].T
    lacks = 0.3 ** np.arange(1, models + 1)
    lacks[-1] = 0.0
    alone = (stop - start) ** 2 * (1 + start) + lacks[:, None] * (stop - start) * (0.05 + start**2)
    costs = tuple(
        Costs(round(1e9 * 0.031 * 1.83**model), 1_000_000 * (model + 1), 300_000 * model) for model in range(models)
    )
    if not second_order:
        return JointProblem(costs, levels, pairs, np.round(1e9 * alone).astype(np.int64))
    triples = np.array(
        [
            (before, start, stop)
            for start in range(levels)
            for stop in range(start + 1, levels)
            for before in range(start)
            if 0.4 <= (stop - start) / (start - before) <= 2.0
        ]
    )
    before, start, stop = t[triples].T
    curve = (stop - start) ** 2 * (stop - before) * (1 + start)
    after = curve + (lacks[None, :, None] + 0.5 * lacks[:, None, None]) * (stop - start) * (0.05 + start**2)
    return JointProblem(
        costs, levels, pairs, np.round(1e9 * alone).astype(np.int64), triples, np.round(1e9 * after).astype(np.int64)
    )


@pytest.mark.parametrize("second_order", [False, True])
def test_fifty_levels_of_six_models_are_planned_for_time_and_for_tolerance_alike(second_order: bool) -> None:
    problem = curved(6, 51, second_order)
    alone = [problem.rate(range(51), [5] * 50), problem.rate(range(0, 51, 2), [5] * 25)]
    for base, part in product(filter(None, alone), (0.15, 0.3, 0.6, 0.9)):
        plan = best_within(problem, round(base.ticks * part))
        assert plan is not None
        assert plan.ticks <= base.ticks * part
        again = fastest_within(problem, plan.grains)
        assert again is not None
        assert (again.ticks, again.grains) == (plan.ticks, plan.grains)


def test_more_time_never_loses_more() -> None:
    problem = curved(4, 31, False)
    budgets = [round(fastest(problem).ticks * factor) for factor in (1, 2, 4, 8, 16, 64)]
    plans = [best_within(problem, budget) for budget in budgets]
    errors = [plan.grains for plan in plans if plan is not None]
    assert len(errors) == len(budgets)
    assert errors == sorted(errors, reverse=True)
    assert best_within(problem, budgets[0] - 1) is None


def test_sums_that_would_not_stay_whole_are_refused() -> None:
    pairs = np.array([(0, 1)])
    with pytest.raises(StitchError, match="too large to add up"):
        JointProblem((Costs(1),), 2, pairs, np.array([[2**52]]))
