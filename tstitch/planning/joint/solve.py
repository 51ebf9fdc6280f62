"""The best way through a joint problem within a limit: exact, in whole numbers, without tensors or host.

A price on time in place of the limit (Lagrange's relaxation; Handler and Zang, A dual algorithm for the constrained
shortest path problem, Networks 10, 1980) bounds what any way within it loses. Dynamic programming over fronts of
(ticks, grains), as Watson et al. do for the steps alone (arXiv 2106.03802), then looks no further than the bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..plan.frontier import pareto
from ..plan.lattice import MARGIN
from .graph import Floats, Graph, Passes, graph_of
from .problem import MOST, Ints, JointChoice, JointProblem

FIRST, NEXT = 256, 4  # parts of the gap between the bound and a known way in which the best is looked for


def best_within(problem: JointProblem, budget: int) -> JointChoice | None:
    """The way that loses least in at most `budget` ticks, of those the quickest; None if there is none."""
    graph = graph_of(problem)
    least = _least(graph, problem, budget, of_time=True)
    return None if least is None else least


def fastest_within(problem: JointProblem, grains: int) -> JointChoice | None:
    """The quickest way that loses at most `grains`, of those the one that loses least; None if there is none."""
    return _least(graph_of(problem).turned(), problem, grains, of_time=False)


def fastest(problem: JointProblem) -> JointChoice:
    """The quickest way of all: as few steps as the levels allow, by one model."""
    found = fastest_within(problem, MOST)
    assert found is not None
    return found


def _least(graph: Graph, problem: JointProblem, limit: int, of_time: bool) -> JointChoice | None:
    """Each set of models is a problem without set-ups, which count towards the limit, or towards what is least."""
    found: JointChoice | None = None
    key = (lambda choice: (choice.grains, choice.ticks)) if of_time else (lambda choice: (choice.ticks, choice.grains))
    bounded = []
    for members in problem.sets():
        part, setup = graph.of(members), problem.setup_of(members)
        search = Search(part, limit - setup if of_time else limit)
        if search.relaxed is not None:
            bounded.append((search.relaxed.lower + (0 if of_time else setup), len(bounded), search, setup))
    for lower, _, search, setup in sorted(bounded, key=lambda each: each[:2]):
        if found is not None and lower > key(found)[0]:
            break
        choice = _choice(problem, search.graph, search.best())
        found = choice if found is None else min(found, choice, key=key)
    return found


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
        self._passes = Passes(graph)
        self.relaxed = self._relax()

    def best(self) -> Ints:
        """Looks in windows that grow from the bound, until one holds a way that is no worse than what it looked for."""
        assert self.relaxed is not None
        best = self.relaxed.way
        known = self._sums(best)[1]
        width = (known - min(self.relaxed.lower, known)) // FIRST + 1
        while True:
            looked_for = min(self.relaxed.lower + width, known)
            found = self._up_to(looked_for)
            if found is not None:
                best, known = min((best, self._sums(best)[1]), (found, self._sums(found)[1]), key=lambda each: each[1])
                if known <= looked_for:
                    return found
            if known <= looked_for:
                return best
            width *= NEXT

    def _prices(self, of_time: float) -> Floats:
        return self.graph.grains + of_time * self.graph.ticks

    def _sums(self, way: Ints) -> tuple[int, int]:
        return int(self.graph.ticks[way].sum()), int(self.graph.grains[way].sum())

    def _relax(self) -> Relaxed | None:
        """Walks the lower convex hull of all (ticks, grains) from its two ends towards the limit."""
        under = self._passes.cheapest(self.graph.ticks.astype(np.float64))
        if under is None or self._sums(under)[0] > self._limit:
            return None
        over = self._passes.cheapest(self._prices(0.0))
        assert over is not None
        if self._sums(over)[0] <= self._limit:
            return Relaxed(0.0, self._sums(over)[1], over)
        of_time = 0.0
        while True:
            (quick, more), (slow, less) = self._sums(under), self._sums(over)
            slope = max((more - less) / max(slow - quick, 1), 0.0)
            middle = self._passes.cheapest(self._prices(slope))
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

    def _up_to(self, grains: int) -> Ints | None:
        """The best way within the limit if it loses no more than `grains`; else any way, or None."""
        assert self.relaxed is not None
        graph, passes, of_time = self.graph, self._passes, self.relaxed.of_time
        kept = np.ones(len(graph.tail), bool)
        for prices, bound in (
            (self._prices(of_time), (grains + of_time * self._limit) * (1 + MARGIN)),
            (graph.ticks.astype(np.float64), self._limit),
            (graph.grains.astype(np.float64), grains),
        ):
            through = passes.from_start(prices)[graph.tail] + prices + passes.to_end(prices)[graph.head]
            kept &= through <= bound
        places = np.flatnonzero(kept)
        if not len(places):
            return None
        way = Labels(graph.where(kept), self._limit, grains).best()
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
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
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
