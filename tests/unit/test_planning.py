"""Plans of mid-sized problems, against a dynamic programme that leaves nothing out but what another label beats."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import product

import pytest

from tstitch.errors import StitchError
from tstitch.planning.plan.problem import Costs, PlanProblem
from tstitch.planning.plan.solve import best_within, fastest, fastest_allowed

STEPS, MODELS = 12, 4

Label = tuple[int, int]  # ticks, grains
Rows = list[list[int]]  # [model][step]


def full_front(problem: PlanProblem, allowed: list[list[bool]] | None = None) -> list[Label]:
    """The Pareto front of all schedules, from a front for each last model and set of models used so far."""
    fronts: dict[tuple[int, frozenset[int]], list[Label]] = {(problem.models - 1, frozenset()): [(0, 0)]}
    for step in range(problem.steps):
        reached: dict[tuple[int, frozenset[int]], list[Label]] = {}
        for ((before, used), front), model in product(fronts.items(), range(problem.models)):
            if (problem.small_first and used and model < before) or (allowed and not allowed[model][step]):
                continue
            cost = problem.costs[model]
            ticks = cost.step + (cost.load if model != before else 0) + (cost.setup if model not in used else 0)
            labels = reached.setdefault((model, used | {model}), [])
            labels.extend((label[0] + ticks, label[1] + problem.errors[model][step]) for label in front)
        fronts = {state: undominated(labels) for state, labels in reached.items()}
    return undominated(label for front in fronts.values() for label in front)


def undominated(labels: Iterable[Label]) -> list[Label]:
    kept: list[Label] = []
    for label in sorted(labels):
        if not kept or label[1] < kept[-1][1]:
            kept.append(label)
    return kept


def smooth(dice: random.Random) -> Rows:
    rise, scales = dice.choice((-1, 1)), sorted((dice.randrange(10**8) for _ in range(MODELS - 1)), reverse=True)
    slope = [1 + rise * (step / STEPS - 0.5) for step in range(STEPS)]
    return [*([round(scale * part * dice.uniform(1, 1.05)) for part in slope] for scale in scales), [0] * STEPS]


def independent(dice: random.Random) -> Rows:
    return [[dice.randrange(10**8) for _ in range(STEPS)] for _ in range(MODELS)]


def few(dice: random.Random) -> Rows:
    return [[dice.randrange(4) for _ in range(STEPS)] for _ in range(MODELS)]


def constant(dice: random.Random) -> Rows:
    return [[dice.randrange(10**8)] * STEPS for _ in range(MODELS)]


KINDS = list(product((smooth, independent, few, constant), (True, False), (0, 1), (0, 1)))


@pytest.mark.parametrize(("errors", "small_first", "setups", "loads"), KINDS)
def test_plans_are_those_of_the_full_front(
    errors: Callable[[random.Random], Rows], small_first: bool, setups: int, loads: int
) -> None:
    dice = random.Random(str((errors.__name__, small_first, setups, loads)))
    step = sorted(dice.randrange(10**8, 10**9) for _ in range(MODELS))
    costs = tuple(Costs(each, setups * dice.randrange(10**9), loads * dice.randrange(10**8)) for each in step)
    problem = PlanProblem(costs, tuple(map(tuple, errors(dice))), small_first)
    front = full_front(problem)
    budgets = [*range(front[0][0], front[-1][0] + 10**9, 10**9 // 3), *(label[0] for label in front[::50])]
    for budget in dice.sample(budgets, min(len(budgets), 12)):
        plan = best_within(problem, budget)
        assert plan is not None
        assert plan == problem.rate(plan.owners)
        assert plan[1:] == max(label for label in front if label[0] <= budget)
    assert best_within(problem, front[0][0] - 1) is None
    allowed = [*([dice.random() < 0.7 for _ in range(STEPS)] for _ in range(MODELS - 1)), [True] * STEPS]
    assert fastest_allowed(problem, allowed)[1:] == full_front(problem, allowed)[0]


def test_budgets_far_above_the_slowest_schedule_are_met() -> None:
    problem = PlanProblem((Costs(1), Costs(2)), ((1, 1), (0, 0)), False)
    assert best_within(problem, 10**30) == problem.rate([1, 1])


def test_the_largest_numbers_are_counted_exactly_and_larger_ones_refused() -> None:
    third = 2**51 // 3
    problem = PlanProblem((Costs(third - 1), Costs(third)), ((1, 2, 4), (0, 0, 0)), False)
    plan = best_within(problem, 3 * third - 1)
    assert plan == problem.rate([0, 1, 1])
    assert fastest_allowed(problem, [[False, True, True], [True] * 3]) == problem.rate([1, 0, 0])
    with pytest.raises(StitchError, match=r"A run of 3 steps could take 2\.25e\+06 s.*lower steps, or profile again"):
        best_within(PlanProblem((Costs(third), Costs(third + 1)), problem.errors, False), 3 * third + 1)
    too_bad = PlanProblem(problem.costs, ((third + 1, 0, 0), (0, 0, 0)), False)
    with pytest.raises(StitchError, match=r"The largest error of a step is 2\.25e\+06.*calibrate again"):
        best_within(too_bad, fastest(too_bad).ticks)
