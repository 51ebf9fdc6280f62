"""The best way through a joint problem within a limit: exact, in whole numbers, without tensors or host.

A price on time in place of the limit (Lagrange's relaxation; Handler and Zang, A dual algorithm for the constrained
shortest path problem, Networks 10, 1980) bounds what any way within it loses. Dynamic programming over fronts of
(ticks, grains), as Watson et al. do for the steps alone (arXiv 2106.03802), then looks no further than the bound.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..plan.frontier import pareto
from ..plan.lattice import MARGIN
from ..plan.problem import Members
from .graph import Floats, Graph, Passes, graph_of
from .problem import MOST, Ints, JointChoice, JointProblem

FIRST, NEXT = 256, 4  # parts of the gap between the bound and a known way in which the best is looked for


def best_within(problem: JointProblem, budget: int) -> JointChoice | None:
    """The way that loses least in at most `budget` ticks, of those the quickest; None if there is none."""
    parts = [Part(members, budget - problem.setup_of(members), 0) for members in problem.sets()]
    return _least(graph_of(problem), problem, parts, lambda choice: (choice.grains, choice.ticks))


def fastest_within(problem: JointProblem, grains: int) -> JointChoice | None:
    """The quickest way that loses at most `grains`, of those the one that loses least; None if there is none."""
    parts = [Part(members, grains, problem.setup_of(members)) for members in problem.sets()]
    return _least(graph_of(problem).turned(), problem, parts, lambda choice: (choice.ticks, choice.grains))


def fastest(problem: JointProblem) -> JointChoice:
    """The quickest way of all: as few steps as the levels allow, by one model."""
    found = fastest_within(problem, MOST)
    assert found is not None
    return found


class Part(NamedTuple):
    """The problem with a set of models whose set-ups are counted: they lower the limit, or add to what is least."""

    members: Members
    limit: int
    added: int


def _least(
    graph: Graph, problem: JointProblem, parts: Sequence[Part], key: Callable[[JointChoice], tuple[int, int]]
) -> JointChoice | None:
    """The best of all parts, those first that may be best by one price on ticks for all."""
    found: JointChoice | None = None
    bounds = Bounds(graph, max(part.limit for part in parts))
    for lower, part in sorted(((bounds.of(part), part) for part in parts), key=lambda each: each[0]):
        if lower > (np.finfo(np.float64).max if found is None else key(found)[0]):
            break
        search = Search(bounds.near(part, None if found is None else key(found)[0]), part.limit)
        way = search.best(None if found is None else key(found)[0] - part.added)
        if way is not None:
            choice = _choice(problem, search.graph, way)
            found = choice if found is None else min(found, choice, key=key)
    return found


class Bounds:
    """What parts of a problem lose at least, by one price on ticks for all of them."""

    def __init__(self, graph: Graph, limit: int) -> None:
        self._graph, self._passes = graph, Passes(graph)
        relaxed = Search(graph, limit).relaxed
        self._of_time = 0.0 if relaxed is None else relaxed.of_time
        self._prices = graph.grains + self._of_time * graph.ticks

    def of(self, part: Part) -> float:
        """Infinite where no way leads to the end."""
        least = float(self._passes.to_end(self._priced(part))[0])
        return least * (1 - MARGIN) - self._of_time * part.limit + part.added - 1

    def near(self, part: Part, most: int | None) -> Graph:
        """The graph of a part; without what loses more than `most`."""
        if most is None:
            return self._graph.of(part.members)
        prices, passes, graph = self._priced(part), self._passes, self._graph
        through = passes.from_start(prices)[graph.tail] + prices + passes.to_end(prices)[graph.head]
        bound = (most - part.added + self._of_time * part.limit) * (1 + MARGIN)
        return graph.where(np.flatnonzero(through <= bound))

    def _priced(self, part: Part) -> Floats:
        is_member = np.isin(np.arange(self._graph.model.max(initial=0) + 1), part.members)
        return np.where(is_member[self._graph.model], self._prices, np.inf)


def _choice(problem: JointProblem, graph: Graph, way: Ints) -> JointChoice:
    levels = (0, *graph.node_level[graph.head[way]].tolist())
    choice = problem.rate(levels, graph.model[way].tolist())
    assert choice is not None
    return choice


class Relaxed(NamedTuple):
    """The price on ticks that bounds best, the bound, and a way within the limit."""

    of_time: float
    lower: int  # about the least that any way loses
    way: Ints


class Search:
    """For the way with the least grains, then ticks, within a limit of ticks."""

    def __init__(self, graph: Graph, limit: int) -> None:
        self.graph, self._limit = graph, min(limit, MOST)
        self.passes = Passes(graph)
        self.relaxed = self._relax()

    def best(self, below: int | None = None) -> Ints | None:
        """Looks in windows that grow from the bound, until one holds a way that is no worse than what it looked for.

        below: ways that lose more are of no interest.
        """
        if self.relaxed is None:
            return None
        lower, most = self.relaxed.lower, self._sums(self.relaxed.way)[1]
        most = most if below is None else min(most, below)
        width = (most - lower) // FIRST + 1
        while lower <= most:
            looked_for = min(lower + width, most)
            found = self._up_to(looked_for)
            if found is not None:
                most = min(most, self._sums(found)[1])
                if most <= looked_for:
                    return found
            if looked_for >= most:
                break
            width *= NEXT
        return None

    def prices(self, of_time: float) -> Floats:
        return self.graph.grains + of_time * self.graph.ticks

    def _sums(self, way: Ints) -> tuple[int, int]:
        return int(self.graph.ticks[way].sum()), int(self.graph.grains[way].sum())

    def _relax(self) -> Relaxed | None:
        """Walks the lower convex hull of all (ticks, grains) from its two ends towards the limit."""
        under = self.passes.cheapest(self.graph.ticks.astype(np.float64))
        if under is None or self._sums(under)[0] > self._limit:
            return None
        over = self.passes.cheapest(self.prices(0.0))
        assert over is not None
        if self._sums(over)[0] <= self._limit:
            return Relaxed(0.0, self._sums(over)[1], over)
        of_time = 0.0
        while True:
            (quick, more), (slow, less) = self._sums(under), self._sums(over)
            slope = max((more - less) / max(slow - quick, 1), 0.0)
            middle = self.passes.cheapest(self.prices(slope))
            assert middle is not None
            ticks, grains = self._sums(middle)
            of_time = slope
            if grains + slope * ticks >= (1 - MARGIN / 2) * (less + slope * slow):
                break
            if ticks <= self._limit:
                under = middle
            else:
                over = middle
        lower = min(grains + of_time * ticks, less + of_time * slow) - of_time * self._limit
        return Relaxed(of_time, max(int(lower * (1 - MARGIN)) - 1, 0), under)

    @cached_property
    def _through(self) -> tuple[Floats, Floats, Floats]:
        """The least price, ticks and grains of the ways over each arc."""
        assert self.relaxed is not None
        graph, passes = self.graph, self.passes
        of_all = (self.prices(self.relaxed.of_time), graph.ticks.astype(np.float64), graph.grains.astype(np.float64))
        first, second, third = (
            passes.from_start(prices)[graph.tail] + prices + passes.to_end(prices)[graph.head] for prices in of_all
        )
        return first, second, third

    def _up_to(self, grains: int) -> Ints | None:
        """The best way within the limit if it loses no more than `grains`; else any way that does not, or None."""
        assert self.relaxed is not None
        prices, ticks, sums = self._through
        bound = (grains + self.relaxed.of_time * self._limit) * (1 + MARGIN)
        places = np.flatnonzero((prices <= bound) & (ticks <= self._limit) & (sums <= grains))
        if not len(places):
            return None
        way = Labels(self.graph.where(places), self._limit, grains).best()
        return None if way is None else places[way]


class Labels:
    """Ways from the start to each node so that no other is at least as good in both ticks and grains."""

    def __init__(self, graph: Graph, limit: int, grains: int) -> None:
        self._graph, self._limit, self._grains = graph, limit, grains
        passes = Passes(graph)
        self._ticks_left = passes.to_end(graph.ticks.astype(np.float64))
        self._grains_left = passes.to_end(graph.grains.astype(np.float64))
        nodes = len(graph.node_level)
        self._first, self._count = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
        self._count[0] = 1
        none = np.array([-1])
        self._ticks, self._sum, self._arc, self._parent = np.zeros(1, np.int64), np.zeros(1, np.int64), none, none
        level = graph.node_level[graph.head]
        bounds = [0, *(np.flatnonzero(np.diff(level)) + 1), len(level)]
        for start, stop in itertools.pairwise(bounds):
            self._add(np.arange(start, stop))

    def best(self) -> Ints | None:
        """The way to the end with the least grains, then ticks."""
        end = self._graph.end
        if not self._count[end]:
            return None
        label = int(self._first[end] + self._count[end] - 1)  # grains fall as ticks rise
        way = []
        while self._arc[label] >= 0:
            way.append(self._arc[label])
            label = int(self._parent[label])
        return np.array(way[::-1])

    def _add(self, arcs: Ints) -> None:
        """All labels over arcs to the nodes of one level."""
        graph, count = self._graph, self._count[self._graph.tail[arcs]]
        arc = np.repeat(arcs, count)
        within = np.arange(len(arc)) - np.repeat(np.cumsum(count) - count, count)
        parent = self._first[graph.tail[arc]] + within
        head = graph.head[arc]
        ticks, grains = self._ticks[parent] + graph.ticks[arc], self._sum[parent] + graph.grains[arc]
        fits = (ticks + self._ticks_left[head] <= self._limit) & (grains + self._grains_left[head] <= self._grains)
        arc, parent, head, ticks, grains = (each[fits] for each in (arc, parent, head, ticks, grains))
        if not len(arc):
            return
        kept = pareto(np.unique(head, return_inverse=True)[1].reshape(-1), ticks, grains)
        nodes, first, count = np.unique(head[kept], return_index=True, return_counts=True)
        self._first[nodes], self._count[nodes] = len(self._ticks) + first, count
        self._ticks = np.concatenate([self._ticks, ticks[kept]])
        self._sum = np.concatenate([self._sum, grains[kept]])
        self._arc = np.concatenate([self._arc, arc[kept]])
        self._parent = np.concatenate([self._parent, parent[kept]])
