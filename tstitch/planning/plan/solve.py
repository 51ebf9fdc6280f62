"""From costs and errors of each model to the best schedule: exact, in whole numbers, without tensors or host.

With two models, small first, this is the lookup table of T-Stitch (arXiv 2402.14167, section 3.3). In general it is the
choice of a model for every step with the least error within a budget of time, by dynamic programming over (step, model)
as Watson et al. do for the steps themselves (arXiv 2106.03802).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .frontier import Search
from .lattice import lattice_of, quickest, relax
from .problem import Choice, PlanProblem

FIRST, NEXT = 256, 4  # parts of the gap between the bound and a known schedule in which the best is looked for


def fastest(problem: PlanProblem) -> Choice:
    """The quickest schedule: always one model alone."""
    alone = [problem.rate([model] * problem.steps) for model in range(problem.models)]
    return min(alone, key=lambda choice: (choice.ticks, choice.grains))


def fastest_allowed(problem: PlanProblem, allowed: Sequence[Sequence[bool]]) -> Choice:
    """The quickest schedule of allowed steps ([model][step]; the last model's always are), then of least error."""
    lattice = lattice_of(problem, problem.sets(), allowed)
    possible = [problem.rate(owners) for owners in quickest(lattice)]
    return min(possible, key=lambda choice: (choice.ticks, choice.grains))


def best_within(problem: PlanProblem, budget: int) -> Choice | None:
    """The schedule with the least error that takes at most `budget` ticks, of those the quickest; None if none does.

    Each set of models is a problem without set-ups. Searches error windows growing from the lower bound; stops once one
    contains the optimum.
    """
    best = fastest(problem)
    if best.ticks > budget:
        return None
    sets = problem.sets()
    lattice = lattice_of(problem, sets)
    limit = min(budget, problem.most_ticks) - problem.steps * min(cost.step for cost in problem.costs)
    relaxed = relax(lattice, np.array([limit - problem.setup_of(members) for members in sets]))
    best = min([best, *map(problem.rate, relaxed.owners)], key=preference)
    search = Search(lattice, relaxed)
    lower = min(relaxed.lower, best.grains)
    width = (best.grains - lower) // FIRST + 1
    while True:
        looked_for = min(lower + width, best.grains)
        found = search.up_to(looked_for)
        if found is not None:
            best = min(best, problem.rate(found), key=preference)
        if best.grains <= looked_for:
            return best
        width *= NEXT


def preference(choice: Choice) -> tuple[int, int]:
    return choice.grains, choice.ticks
