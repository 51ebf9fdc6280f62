"""Plans that are worth a trial within one budget: joint ones by several measures, and what people do without a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from ...errors import StitchError
from ...schedule import Schedule
from ..plan.problem import GRAINS, TICKS, Costs
from .edges import Edges, nearest_levels
from .problem import JointChoice, JointProblem
from .solve import best_within, fastest_within

STOCK = "stock scheduler"


@dataclass(frozen=True)
class Candidate:
    """Noise levels and the model of each step between them."""

    kind: str
    sigmas: tuple[float, ...]
    owners: tuple[int, ...]
    seconds: float
    error: float | None = None  # that the calibration expects, in parts of the picture's size; None where it is unknown

    @property
    def steps(self) -> int:
        return len(self.owners)

    @property
    def used(self) -> tuple[int, ...]:
        return Schedule(self.owners).stages

    def numbered(self, models: int) -> tuple[tuple[int, ...], str]:
        """The models to connect, in run order with the finishing one last, and the pattern by these numbers."""
        members = tuple(sorted({*self.owners, models - 1}))
        return members, Schedule(tuple(members.index(owner) for owner in self.owners)).pattern


@dataclass(frozen=True)
class Budgeted:
    """What is planned with: the errors, the costs and the time."""

    edges: Edges
    costs: tuple[Costs, ...]  # in run order, the finishing model last
    networks: tuple[int, ...]
    budget: int  # ticks
    steps: int  # of the stock scheduler in a run without a plan
    stock: Callable[[int], Sequence[float]]  # its levels, by the number of steps
    small_first: bool = False  # in all plans, not only in those that say so
    stock_error: Callable[[int], float | None] | None = None  # what it loses, where that is known beforehand

    @property
    def last(self) -> int:
        return len(self.costs) - 1

    @cached_property
    def whole(self) -> JointProblem:
        """By plain errors, and in any order that is allowed."""
        return self.problem()

    def problem(self, power: float = 1.0, small_first: bool = False) -> JointProblem:
        return self.edges.problem(self.costs, power, small_first or self.small_first, self.networks)

    @property
    def fastest_seconds(self) -> float:
        """Of the quickest run of all: one step of the quickest model."""
        return (
            min(
                cost.step + cost.setup + cost.load * (self.networks[model] != self.networks[self.last])
                for model, cost in enumerate(self.costs)
            )
            / TICKS
        )

    def candidates(self) -> list[Candidate]:
        """All within the budget, without repetitions; the joint plan first. Empty where nothing is quick enough."""
        whole = self.whole
        found = [
            self._of("joint plan", whole, best_within(whole, self.budget)),
            self._of("joint plan by squared errors", whole, best_within(self.problem(2.0), self.budget)),
            self._of("joint plan, small models first", whole, best_within(self.problem(small_first=True), self.budget)),
            self._models_on_stock_levels(whole),
            self._steps_alone(whole),
            self._stock(),
        ]
        return _distinct(found)

    def within_error(self, most: float) -> Candidate | None:
        """The quickest plan that is expected to lose no more."""
        whole = self.whole
        return self._of("joint plan", whole, fastest_within(whole, round(most * GRAINS)))

    def stock_within_error(self, most: float) -> Candidate | None:
        """The scheduler with as few steps as lose no more."""
        for steps in range(1, self.steps + 1):
            candidate = self._stock_of(steps)
            if candidate.error is not None and candidate.error <= most:
                return candidate
        return None

    def ladder(self, budgets: Sequence[int]) -> list[Candidate]:
        """The joint plan for each budget that has one."""
        whole = self.whole
        found = [self._of("joint plan", whole, best_within(whole, budget)) for budget in budgets]
        return [each for each in found if each is not None]

    def _of(self, kind: str, problem: JointProblem, choice: JointChoice | None) -> Candidate | None:
        """Rated by `problem`, where `choice` may come from another measure."""
        rated = None if choice is None else problem.rate(choice.levels, choice.owners)
        if rated is None:
            return None
        sigmas = tuple(self.edges.sigmas[level] for level in rated.levels)
        return Candidate(kind, sigmas, rated.owners, rated.seconds, rated.error)

    def _models_on_stock_levels(self, whole: JointProblem) -> Candidate | None:
        """As Plan does: the scheduler's own levels, and the best model for each step."""
        levels = nearest_levels(self.edges.sigmas, self.stock(self.steps))
        if levels is None:
            return None
        steps = set(pairwise(levels))
        kept = [place for place, pair in enumerate(whole.pairs.tolist()) if tuple(pair) in steps]
        on_levels = replace(whole, pairs=whole.pairs[kept], alone=whole.alone[:, kept])
        if whole.triples is not None and whole.after is not None:
            ways = whole.triples.tolist()
            of_second = [place for place, (a, b, c) in enumerate(ways) if (a, b) in steps and (b, c) in steps]
            on_levels = replace(on_levels, triples=whole.triples[of_second], after=whole.after[..., of_second])
        return self._of("models on the scheduler's levels", whole, best_within(on_levels, self.budget))

    def _steps_alone(self, whole: JointProblem) -> Candidate | None:
        """Levels chosen for the finishing model alone."""
        alone = self.edges.of([self.last]).problem([self.costs[self.last]])
        choice = best_within(alone, self.budget)
        if choice is None:
            return None
        return self._of("noise levels alone", whole, choice._replace(owners=(self.last,) * choice.steps))

    def _stock(self) -> Candidate | None:
        """The scheduler with fewer steps of the finishing model."""
        cost = self.costs[self.last]
        steps = min((self.budget - cost.setup) // cost.step, self.steps)
        return None if steps < 1 else self._stock_of(steps)

    def _stock_of(self, steps: int) -> Candidate:
        sigmas, cost = tuple(self.stock(steps)), self.costs[self.last]
        owners = (self.last,) * (len(sigmas) - 1)
        seconds = (cost.setup + cost.step * len(owners)) / TICKS
        if self.stock_error is not None:
            return Candidate(STOCK, sigmas, owners, seconds, self.stock_error(steps))
        levels = nearest_levels(self.edges.sigmas, sigmas)
        rated = None if levels is None else self.whole.rate(levels, owners)
        return Candidate(STOCK, sigmas, owners, seconds, None if rated is None else rated.error)


def _distinct(found: Sequence[Candidate | None]) -> list[Candidate]:
    distinct: dict[tuple[object, ...], Candidate] = {}
    for each in found:
        if each is not None:
            same = distinct.setdefault((each.sigmas, each.owners), each)
            if each.kind == STOCK:  # a plan that comes to the same is none
                distinct[each.sigmas, each.owners] = replace(same, kind=STOCK)
    return list(distinct.values())


def unreachable(speed_up: float, base: float, quickest: float) -> StitchError:
    """base, quickest: seconds of the run without a plan, and of the quickest one."""
    return StitchError(
        f"A speed-up of {speed_up:g} cannot be reached: one step of the quickest model takes {quickest:.3g} s, which is"
        f" {base / quickest:.2f} times as fast as the run without a plan ({base:.3g} s): lower the speed-up."
    )
