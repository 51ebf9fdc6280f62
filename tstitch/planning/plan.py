"""From costs and errors of each model to the best schedule: exact, in whole numbers, without tensors or host.

With two models, small first, this is the lookup table of T-Stitch (arXiv 2402.14167, section 3.3). In general it is the
choice of a model for every step with the least error within a budget of time, by dynamic programming over (step, model)
as Watson et al. do for the steps themselves (arXiv 2106.03802). The table keeps the Pareto front of (time, error) in
each state, without what a Lagrangian bound proves to be no part of the best schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from ..schedule import Schedule

TICKS = 10**9  # of a second: whole numbers add up to the same sum in any order
GRAINS = 10**9  # of an error of 1


class Costs(NamedTuple):
    """What a model costs, in ticks."""

    step: int
    setup: int = 0  # once in a run that uses it
    load: int = 0  # each time it takes over


@dataclass(frozen=True)
class PlanProblem:
    """Models in run order, the finishing one last; a run begins with that one loaded."""

    costs: tuple[Costs, ...]
    errors: tuple[tuple[int, ...], ...]  # grains, [model][step]
    small_first: bool  # models keep their order: none comes back after a later one

    @property
    def models(self) -> int:
        return len(self.costs)

    @property
    def steps(self) -> int:
        return len(self.errors[0])

    def rate(self, owners: Sequence[int]) -> Choice:
        """Time and error of a schedule."""
        ticks = sum(self.costs[model].step for model in owners) + sum(self.costs[model].setup for model in set(owners))
        loads = (model for before, model in pairwise((self.models - 1, *owners)) if model != before)
        ticks += sum(self.costs[model].load for model in loads)
        return Choice(tuple(owners), ticks, sum(self.errors[model][step] for step, model in enumerate(owners)))


class Choice(NamedTuple):
    """A schedule with what it costs and what it loses."""

    owners: tuple[int, ...]
    ticks: int
    grains: int

    @property
    def pattern(self) -> str:
        return Schedule(self.owners).pattern

    @property
    def seconds(self) -> float:
        return self.ticks / TICKS

    @property
    def error(self) -> float:
        return self.grains / GRAINS


class Weights(NamedTuple):
    """Prices that turn a time and an error into one number."""

    of_error: int
    of_time: int


Table = list[list[int]]  # [step][model before it]: the least weighted cost from here to the end
Members = tuple[int, ...]  # models a schedule may use, in run order


#: A way to a step: time and error up to there, its last model, and the label before. The start has no label before.
Label = tuple[int, int, int, Any]


def fastest(problem: PlanProblem) -> Choice:
    """The quickest schedule: one model alone, as every model besides it adds to the time."""
    alone = [problem.rate([model] * problem.steps) for model in range(problem.models)]
    return min(alone, key=lambda choice: (choice.ticks, choice.grains))


def fastest_allowed(problem: PlanProblem, allowed: Sequence[Sequence[bool]]) -> Choice:
    """The quickest schedule of allowed steps ([model][step]; the last model's always are), then of least error."""
    of_time = 1 + problem.steps * max(max(row) for row in problem.errors)
    forbidden = of_time * (1 + max_ticks(problem))
    errors = [
        tuple(error if fine else forbidden for error, fine in zip(row, fines, strict=True))
        for row, fines in zip(problem.errors, allowed, strict=True)
    ]
    strict = replace(problem, errors=tuple(errors))
    choices = [cheapest(strict, members, Weights(1, of_time)) for members in subsets(problem)]
    possible = [problem.rate(choice.owners) for choice in choices if choice.grains < forbidden]
    return min(possible, key=lambda choice: (choice.ticks, choice.grains))


def best_within(problem: PlanProblem, budget: int) -> Choice | None:
    """The schedule with the least error that takes at most `budget` ticks, of those the quickest; None if none does.

    Each set of models is a problem without set-ups; most sets are ruled out by the bound of the whole.
    """
    best = fastest(problem)
    if best.ticks > budget:
        return None
    every = tuple(range(problem.models))
    weights, found = best_prices(problem, every, budget, without_setups(problem, best))
    best = min(best, filled(problem, found if found.ticks <= budget else best, budget), key=preference)
    bounds = sorted((bound_of(problem, members, weights, budget), members) for members in subsets(problem))
    for bound, members in bounds:
        if bound <= weights.of_error * best.grains:
            best = search(problem, members, budget, best)
    return best


def preference(choice: Choice) -> tuple[int, int]:
    return choice.grains, choice.ticks


def subsets(problem: PlanProblem) -> list[Members]:
    """All sets of models that may be worth a plan of their own: where set-ups are free, only the whole."""
    every = range(problem.models)
    if not setup_of(problem, tuple(every)):
        return [tuple(every)]
    return [members for size in range(1, problem.models + 1) for members in combinations(every, size)]


def setup_of(problem: PlanProblem, members: Members) -> int:
    return sum(problem.costs[model].setup for model in members)


def bound_of(problem: PlanProblem, members: Members, weights: Weights, budget: int) -> int:
    """No schedule of `members` within the budget has less than this error times its price (Lagrange's bound)."""
    choice = without_setups(problem, cheapest(problem, members, weights))
    return weighted(choice, weights) - weights.of_time * (budget - setup_of(problem, members))


def search(problem: PlanProblem, members: Members, budget: int, best: Choice) -> Choice:
    """The best schedule of `members`, or `best` if none is better: dynamic programming, pruned by bounds."""
    limit = budget - setup_of(problem, members)
    start = without_setups(problem, cheapest(problem, members, Weights(0, 1)))
    if start.ticks > limit:
        return best
    weights, found = best_prices(problem, members, limit, start)
    best = min(best, filled(problem, found, budget), key=preference)
    price_left, ticks_left = relaxed(problem, members, weights), relaxed(problem, members, Weights(0, 1))
    bound = weights.of_error * best.grains + weights.of_time * limit
    of_error, of_time = weights
    knows_model = problem.small_first or any(cost.load for cost in problem.costs)  # what comes depends on the last one
    fronts: dict[int, list[Label]] = {problem.models - 1: [(0, 0, 0, None)]}
    for step in range(problem.steps):
        reached: dict[int, list[Label]] = {}
        for before, front in fronts.items():
            for model in successors(problem, members, before, step):
                ticks = problem.costs[model].step + (problem.costs[model].load if model != before else 0)
                grains = problem.errors[model][step]
                most_ticks = limit - ticks_left[step + 1][model] - ticks
                most_price = bound - price_left[step + 1][model] - of_error * grains - of_time * ticks
                reached.setdefault(model if knows_model else problem.models - 1, []).extend(
                    (label[0] + ticks, label[1] + grains, model, label)
                    for label in front
                    if label[0] <= most_ticks and of_error * label[1] + of_time * label[0] <= most_price
                )
        fronts = {before: pareto(labels) for before, labels in reached.items()}
    ends = [problem.rate(owners_of(label)) for front in fronts.values() for label in front]
    return min([best, *ends], key=preference)


def owners_of(label: Label) -> list[int]:
    owners = []
    while label[3] is not None:
        owners.append(label[2])
        label = label[3]
    return owners[::-1]


def best_prices(problem: PlanProblem, members: Members, limit: int, under: Choice) -> tuple[Weights, Choice]:
    """The prices at which the bound is tightest, and the best schedule within `limit` on the way to them.

    Without set-ups; `under` is a schedule within the limit. Walks the lower convex hull of all (time, error) from its
    two ends towards the limit.
    """
    known = under
    over = without_setups(problem, cheapest(problem, members, Weights(1 + max_ticks(problem), 1)))
    if over.ticks <= limit:
        return Weights(1, 0), problem.rate(over.owners)
    while True:
        weights = Weights(over.ticks - under.ticks, under.grains - over.grains)
        middle = without_setups(problem, cheapest(problem, members, weights))
        if weighted(middle, weights) >= weighted(over, weights):
            return weights, problem.rate(known.owners)
        if middle.ticks <= limit:
            under = middle
            known = min(known, middle, key=preference)
        else:
            over = middle


def filled(problem: PlanProblem, choice: Choice, budget: int) -> Choice:
    """`choice` with what is left of the budget spent on single steps, the largest gain first; not always the best."""
    owners, left = list(choice.owners), budget - choice.ticks
    gains = [
        (problem.errors[model][step] - problem.errors[present][step], step, model)
        for step, present in enumerate(owners)
        for model in range(problem.models)
    ]
    for _, step, model in sorted(gain for gain in gains if gain[0] < 0):
        ticks = problem.costs[model].step - problem.costs[owners[step]].step
        if ticks > left or problem.errors[model][step] >= problem.errors[owners[step]][step]:
            continue
        changed = [*owners[:step], model, *owners[step + 1 :]]
        rated = problem.rate(changed)
        if rated.ticks <= budget and (not problem.small_first or is_ordered(changed)):
            owners, left = changed, budget - rated.ticks
    return problem.rate(owners)


def is_ordered(owners: Sequence[int]) -> bool:
    return all(before <= after for before, after in pairwise(owners))


def without_setups(problem: PlanProblem, choice: Choice) -> Choice:
    return choice._replace(ticks=choice.ticks - setup_of(problem, tuple(set(choice.owners))))


def weighted(choice: Choice, weights: Weights) -> int:
    return weights.of_error * choice.grains + weights.of_time * choice.ticks


def max_ticks(problem: PlanProblem) -> int:
    return problem.steps * max(cost.step + cost.load for cost in problem.costs) + sum(c.setup for c in problem.costs)


def relaxed(problem: PlanProblem, members: Members, weights: Weights) -> Table:
    """The least weighted cost from each step on, after each model, without set-ups."""
    last = problem.models - 1
    table = [[0] * problem.models]
    for step in reversed(range(problem.steps)):
        end, row, best_later = table[-1], [0] * problem.models, None
        entries = {}
        for model in reversed(members):
            cost = problem.costs[model]
            stay = weights.of_error * problem.errors[model][step] + weights.of_time * cost.step + end[model]
            enter = stay + weights.of_time * cost.load
            best_later = enter if best_later is None else min(best_later, enter)
            entries[model] = stay
            row[model] = min(stay, best_later)
        assert best_later is not None
        if not problem.small_first:
            row = [min(entries.get(model, best_later), best_later) for model in range(last + 1)]
        table.append(row)
    table.reverse()
    return table


def cheapest(problem: PlanProblem, members: Members, weights: Weights) -> Choice:
    """The schedule of `members` with the least weighted cost, as if set-ups were free."""
    table = relaxed(problem, members, weights)
    owners: list[int] = []
    before = problem.models - 1
    for step in range(problem.steps):
        prices = {}
        for model in successors(problem, members, before, step):
            ticks = problem.costs[model].step + (problem.costs[model].load if model != before else 0)
            price = weights.of_error * problem.errors[model][step] + weights.of_time * ticks
            prices[model] = price + table[step + 1][model]
        before = min(prices, key=prices.__getitem__)
        owners.append(before)
    return problem.rate(owners)


def successors(problem: PlanProblem, members: Members, before: int, step: int) -> Members:
    if step == 0 or not problem.small_first:
        return members
    return tuple(model for model in members if model >= before)


def pareto(labels: list[Label]) -> list[Label]:
    """Those that no other is at least as good as in both time and error."""
    labels.sort(key=itemgetter(0, 1))
    front: list[Label] = []
    for label in labels:
        if not front or label[1] < front[-1][1]:
            front.append(label)
    return front
