"""A planning problem: models, time and error of their steps, and schedules to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

from ...schedule import Schedule

TICKS = 10**9  # of a second: whole numbers add up to the same sum in any order
GRAINS = 10**9  # of an error of 1

Members = tuple[int, ...]  # models that a schedule may use, in run order


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

    @property
    def most_ticks(self) -> int:
        """No schedule takes longer."""
        return self.steps * max(cost.step + cost.load for cost in self.costs) + self.setup_of(range(self.models))

    @property
    def most_grains(self) -> int:
        """No schedule loses more."""
        return self.steps * max(map(max, self.errors))

    def setup_of(self, members: Sequence[int]) -> int:
        return sum(self.costs[model].setup for model in members)

    def sets(self) -> list[Members]:
        """All sets of models that may be worth a plan of their own: where set-ups are free, only the whole."""
        every = range(self.models)
        if not self.setup_of(every):
            return [tuple(every)]
        return [members for size in range(1, self.models + 1) for members in combinations(every, size)]

    def rate(self, owners: Sequence[int]) -> Choice:
        """Time and error of a schedule."""
        ticks = sum(self.costs[model].step for model in owners) + self.setup_of(sorted(set(owners)))
        loads = (model for before, model in pairwise((self.models - 1, *owners)) if model != before)
        ticks += sum(self.costs[model].load for model in loads)
        return Choice(tuple(owners), ticks, sum(self.errors[model][step] for step, model in enumerate(owners)))


class Choice(NamedTuple):
    """A schedule with its time and its error."""

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
