"""What is planned jointly: at which of many noise levels a run stops, and which model takes each step between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import StitchError
from ...schedule import Schedule
from ..plan.problem import GRAINS, TICKS, Costs, Members

Ints = NDArray[np.int64]

#: Sums of ticks, and of grains, stay below, so that floating point adds them exactly.
MOST = 2**51


class JointChoice(NamedTuple):
    """A way through the levels, with what it costs and what it loses."""

    levels: tuple[int, ...]  # rising indices, the first and the last level among them
    owners: tuple[int, ...]  # the model of each step
    ticks: int
    grains: int

    @property
    def steps(self) -> int:
        return len(self.owners)

    @property
    def pattern(self) -> str:
        return Schedule(self.owners).pattern

    @property
    def seconds(self) -> float:
        return self.ticks / TICKS

    @property
    def error(self) -> float:
        return self.grains / GRAINS


@dataclass(frozen=True, eq=False)
class JointProblem:
    """Models in run order, the finishing one last; a run begins with that one loaded.

    A solver of second order reads the step before too: `after` is what a step loses that follows another one, and the
    `triples` which steps may follow each other. The first step, and the one to the last level, lose as in `alone`.
    """

    costs: tuple[Costs, ...]
    levels: int
    pairs: Ints  # (P, 2): the levels of a step, from and to
    alone: Ints  # (models, P) grains of a step
    triples: Ints | None = None  # (T, 3): the level before, from and to
    after: Ints | None = None  # (model before, model, T) grains
    small_first: bool = False  # models keep their order: none comes back after a later one
    networks: tuple[int, ...] = ()  # of each model: a switch within one network loads nothing; all differ if not given

    def __post_init__(self) -> None:
        tables = [self.alone] if self.after is None else [self.alone, self.after]
        steps = self.levels - 1
        if steps * max(int(table.max(initial=0)) for table in tables) >= MOST or self._most_ticks >= MOST:
            raise StitchError(
                f"The errors or the seconds of {steps} steps are too large to add up: calibrate and profile again."
            )

    @property
    def _most_ticks(self) -> int:
        each = max(cost.step + cost.load for cost in self.costs)
        return self.levels * each + self.setup_of(range(self.models))

    @property
    def models(self) -> int:
        return len(self.costs)

    def loads(self, before: int, model: int) -> bool:
        """Whether `model` has to be loaded to take over."""
        return before != model if not self.networks else self.networks[before] != self.networks[model]

    @property
    def last(self) -> int:
        """The level at which a run ends."""
        return self.levels - 1

    def setup_of(self, members: Sequence[int]) -> int:
        return sum(self.costs[model].setup for model in members)

    def sets(self) -> list[Members]:
        """All sets of models that may be worth a plan of their own: where set-ups are free, only the whole."""
        every = range(self.models)
        if not self.setup_of(every):
            return [tuple(every)]
        return [members for size in range(1, self.models + 1) for members in combinations(every, size)]

    @cached_property
    def pair_index(self) -> Ints:
        """(levels, levels): where a step stands in `pairs`, or -1."""
        found = np.full((self.levels, self.levels), -1, np.int64)
        found[tuple(self.pairs.T)] = np.arange(len(self.pairs))
        return found

    @cached_property
    def _triple_index(self) -> dict[tuple[int, ...], int]:
        assert self.triples is not None
        return {tuple(triple): index for index, triple in enumerate(self.triples.tolist())}

    def rate(self, levels: Sequence[int], owners: Sequence[int]) -> JointChoice | None:
        """Time and error of one way; None where it is not allowed."""
        if self.small_first and any(model < before for before, model in pairwise(owners)):
            return None
        ticks = sum(self.costs[model].step for model in owners) + self.setup_of(sorted(set(owners)))
        ticks += sum(
            self.costs[model].load
            for before, model in pairwise((self.models - 1, *owners))
            if self.loads(before, model)
        )
        grains = 0
        for step, model in enumerate(owners):
            start, stop = levels[step], levels[step + 1]
            if self.triples is None or step == 0 or stop == self.last:
                pair = int(self.pair_index[start, stop])
                if pair < 0:
                    return None
                grains += int(self.alone[model, pair])
                continue
            triple = self._triple_index.get((levels[step - 1], start, stop))
            if triple is None:
                return None
            assert self.after is not None
            grains += int(self.after[owners[step - 1], model, triple])
        return JointChoice(tuple(levels), tuple(owners), ticks, grains)
