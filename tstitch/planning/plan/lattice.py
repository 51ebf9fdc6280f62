"""A planning problem as a lattice: states between the steps, and an arc for each model that may do the next step.

All sets of models are searched side by side. A price on time in place of a budget (Lagrange's relaxation; Handler and
Zang, A dual algorithm for the constrained shortest path problem, Networks 10, 1980) makes the best way a shortest path,
which bounds the loss of any way within the budget. Prices are floating point, as they only prune; ticks and grains are
integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import StitchError
from .problem import GRAINS, TICKS, Members, PlanProblem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: All ticks, and all grains, of a run stay below: floating point adds them exactly, and 2**11 of them fit in an int64.
MOST = 2**51  # ticks in 26 days

#: Relative. A price is a sum of some terms a step, none below 0, and each addition rounds by at most 2**-53 of it: for
#: the longest run of 10,000 steps that is below 1e-11.
MARGIN = 1e-9


@dataclass(frozen=True)
class Lattice:
    """Arcs by [step, model, state before, set]; a state is the model before, or one for all where it does not matter.

    A run begins in the first state. Only `is_open` differs between the sets.
    """

    ticks: Ints  # above those of the quickest model's step
    grains: Ints
    model: Ints
    is_open: Bools

    @property
    def has_states(self) -> bool:
        return self.is_open.shape[2] > 1

    def of(self, sets: Ints) -> Lattice:
        return replace(self, is_open=self.is_open[..., sets])

    def turned(self) -> Lattice:
        """From the last step to the first; the model and the state before it change places."""
        axes = (0, 2, 1, 3) if self.has_states else (0, 1, 2, 3)
        ticks, grains, model = (each[::-1].transpose(axes) for each in (self.ticks, self.grains, self.model))
        return Lattice(ticks, grains, model, self.is_open[::-1].transpose(axes))

    def prices(self, of_error: float, of_time: Floats | float) -> Floats:
        """Of each arc; infinite where there is none."""
        return np.where(self.is_open, of_error * self.grains + of_time * self.ticks, np.inf)


def lattice_of(
    problem: PlanProblem, sets: Sequence[Members], allowed: Sequence[Sequence[bool]] | None = None
) -> Lattice:
    """`allowed` steps are [model][step]; all, if it is None. Raises StitchError where numbers are too large."""
    check_size(problem)
    step, _, load = (np.array(column, np.int64)[:, None] for column in zip(*problem.costs, strict=True))
    model = np.arange(problem.models)[:, None]
    before = np.arange(problem.models if problem.small_first or load.any() else 1)
    ticks = step - step.min() + load * (model != before)
    ordered = (model >= before) | (not problem.small_first)
    shape = (problem.steps, *ordered.shape)
    ticks, ordered = np.broadcast_to(ticks, shape).copy(), np.broadcast_to(ordered, shape).copy()
    ticks[0], ordered[0] = ticks[0, :, -1:], True  # a run begins with the last model loaded, and with any model
    members = np.array([[each in members for members in sets] for each in range(problem.models)])[:, None]
    is_open = ordered[..., None] & members
    if allowed is not None:
        is_open &= np.array(allowed, bool).T[..., None, None]
    grains = np.array(problem.errors, np.int64).T[..., None]
    grains, model = np.broadcast_to(grains, shape), np.broadcast_to(model, shape)
    return Lattice(ticks[..., None], grains[..., None], model[..., None], is_open)


def check_size(problem: PlanProblem) -> None:
    if problem.most_ticks >= MOST:
        raise StitchError(
            f"A run of {problem.steps} steps could take {problem.most_ticks / TICKS:.3g} s, and Plan counts up to"
            f" {MOST / TICKS:.3g} s (26 days): lower steps, or profile again."
        )
    if problem.most_grains >= MOST:
        raise StitchError(
            f"The largest error of a step is {problem.most_grains / GRAINS:.3g}, and Plan counts up to"
            f" {MOST / GRAINS:.3g}: calibrate again."
        )


def least_left(prices: Floats) -> Floats:
    """The least sum of prices from each step to the end: [step, state, set]."""
    least = np.zeros((len(prices) + 1, *prices.shape[2:]))
    for step in reversed(range(len(prices))):
        np.min(prices[step] + least[step + 1][:, None], axis=0, out=least[step])
    return least


class Ways(NamedTuple):
    """One through the lattice for each set."""

    ticks: Ints
    grains: Ints
    owners: Ints  # [step, set]

    def where(self, chosen: Bools, others: Ways) -> Ways:
        return Ways(*(np.where(chosen, mine, other) for mine, other in zip(self, others, strict=True)))

    def of(self, sets: Ints) -> Ways:
        return Ways(*(each[..., sets] for each in self))

    def schedules(self) -> list[tuple[int, ...]]:
        return [tuple(owners) for owners in self.owners.T.tolist()]


def cheapest(lattice: Lattice, prices: Floats) -> Ways:
    """The way with the least sum of prices."""
    nexts = (prices + least_left(prices)[1:, :, None]).argmin(axis=1)
    steps, sets = np.arange(len(prices))[:, None], np.arange(prices.shape[-1])
    owners = np.empty((len(prices), len(sets)), np.int64)
    states = np.zeros((len(prices) + 1, len(sets)), np.int64)
    for step, row in enumerate(nexts):
        owners[step] = row[states[step], sets]
        if lattice.has_states:
            states[step + 1] = owners[step]
    arcs = steps, owners, states[:-1], 0
    return Ways(lattice.ticks[arcs].sum(0), lattice.grains[arcs].sum(0), owners)


def quickest(lattice: Lattice) -> list[tuple[int, ...]]:
    """The way with the least ticks, of those with the least grains, of each set that has any."""
    ticks = lattice.prices(0.0, 1.0)
    left = least_left(ticks)
    is_tight = lattice.is_open & (ticks + left[1:, :, None] == left[:-1, None])
    ways = cheapest(lattice, np.where(is_tight, lattice.grains, np.inf))
    return ways.of(np.isfinite(left[0, 0]).nonzero()[0]).schedules()


class Relaxed(NamedTuple):
    """Sets that may have the best way, each with its best price on time and a way within the limit."""

    sets: Ints
    limits: Ints
    of_time: Floats
    lower: int  # about the least that any way loses
    owners: list[tuple[int, ...]]


def relax(lattice: Lattice, limits: Ints) -> Relaxed:
    """Walks the lower convex hull of all (ticks, grains) from its two ends towards the limit, in all sets at once."""
    under = cheapest(lattice, lattice.prices(0.0, 1.0))
    possible = (under.ticks <= limits).nonzero()[0]
    lattice, limits, under = lattice.of(possible), limits[possible], under.of(possible)
    over = cheapest(lattice, lattice.prices(1.0, 0.0))
    of_time = np.zeros(len(possible))
    active = over.ticks > limits
    under = under.where(active, over)
    while active.any():
        slopes = (under.grains - over.grains) / np.maximum(over.ticks - under.ticks, 1)
        of_time = np.where(active, np.maximum(slopes, 0.0), of_time)
        middle = cheapest(lattice, lattice.prices(1.0, of_time))
        active &= price(middle, of_time) < (1 - MARGIN / 2) * price(over, of_time)
        under = middle.where(active & (middle.ticks <= limits), under)
        over = middle.where(active & (middle.ticks > limits), over)
    lower = price(over, of_time) - of_time * limits
    near = (price(over, of_time) <= (1 + 2 * MARGIN) * (under.grains.min() + of_time * limits)).nonzero()[0]
    return Relaxed(possible[near], limits[near], of_time[near], max(int(lower.min()), 0), under.of(near).schedules())


def price(ways: Ways, of_time: Floats) -> Floats:
    return ways.grains + of_time * ways.ticks
