"""A joint problem as a graph: nodes are what the next step depends on, arcs are steps of one model.

Every arc leads to a node of a later level, so one pass over the levels finds all shortest ways.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .problem import Ints, JointProblem

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes are numbered by level, the start first and the end last; arcs are sorted by their head."""

    node_level: Ints
    tail: Ints
    head: Ints
    model: Ints
    ticks: Ints
    grains: Ints

    @property
    def end(self) -> int:
        return len(self.node_level) - 1

    def where(self, kept: Ints) -> Graph:
        arcs = (each[kept] for each in (self.tail, self.head, self.model, self.ticks, self.grains))
        return Graph(self.node_level, *arcs)

    def of(self, members: Sequence[int]) -> Graph:
        """With these models alone."""
        return self.where(np.flatnonzero(np.isin(self.model, members)))

    def turned(self) -> Graph:
        """With ticks and grains exchanged."""
        return Graph(self.node_level, self.tail, self.head, self.model, self.grains, self.ticks)


def graph_of(problem: JointProblem) -> Graph:
    return _graph_of_first_order(problem) if problem.triples is None else _graph_of_second_order(problem)


def _graph_of_first_order(problem: JointProblem) -> Graph:
    """Nodes are (level, model before), or levels alone where it does not matter which model came before."""
    models, last = problem.models, problem.last
    matters = problem.small_first or any(cost.load for cost in problem.costs)
    states = models if matters else 1
    node_level = np.array([0, *np.repeat(np.arange(1, last), states), last], np.int64)

    def node(level: Ints, state: Ints) -> Ints:
        inner = 1 + (level - 1) * states + state
        return np.where(level == 0, 0, np.where(level == last, len(node_level) - 1, inner))

    pair, before, model = (each.ravel() for each in np.indices((len(problem.pairs), states, models)))
    start, stop = problem.pairs[pair].T
    is_first = start == 0
    before = np.where(is_first, models - 1, before) if matters else before
    allowed = ~is_first | (np.indices((len(problem.pairs), states, models))[1].ravel() == 0)
    if problem.small_first:
        allowed &= is_first | (model >= before)
    pair, before, model, start, stop = (each[allowed] for each in (pair, before, model, start, stop))
    tail = node(start, before if matters else np.zeros_like(before))
    head = node(stop, model if matters else np.zeros_like(model))
    ticks = _ticks(problem, before if matters else model, model)
    return _sorted(node_level, tail, head, model, ticks, problem.alone[model, pair])


def _graph_of_second_order(problem: JointProblem) -> Graph:
    """Nodes are (step before, its model)."""
    assert problem.triples is not None
    assert problem.after is not None
    models, last = problem.models, problem.last
    inner = np.flatnonzero(problem.pairs[:, 1] < last)
    inner = inner[np.argsort(problem.pairs[inner, 1], kind="stable")]
    place = np.full(len(problem.pairs), -1, np.int64)
    place[inner] = np.arange(len(inner))
    node_level = np.concatenate([[0], np.repeat(problem.pairs[inner, 1], models), [last]])
    end = len(node_level) - 1

    def node(pair: Ints, model: Ints) -> Ints:
        return 1 + place[pair] * models + model

    parts: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []  # tail, head, model, ticks, grains
    first = np.flatnonzero(problem.pairs[:, 0] == 0)
    pair, model = (each.ravel() for each in np.meshgrid(first, np.arange(models), indexing="ij"))
    head = np.where(problem.pairs[pair, 1] == last, end, node(pair, model))
    ticks = _ticks(problem, np.full_like(model, models - 1), model)
    parts.append((np.zeros_like(pair), head, model, ticks, problem.alone[model, pair]))

    follows = problem.triples[problem.triples[:, 2] < last]
    columns = np.flatnonzero(problem.triples[:, 2] < last)
    index, before, model = (each.ravel() for each in np.indices((len(follows), models, models)))
    earlier, later = (problem.pair_index[tuple(follows[:, ends].T)][index] for ends in ([0, 1], [1, 2]))
    grains = problem.after[before, model, columns[index]]
    parts.append((node(earlier, before), node(later, model), model, _ticks(problem, before, model), grains))

    to_end = np.full(problem.levels, -1, np.int64)
    ends = np.flatnonzero(problem.pairs[:, 1] == last)
    to_end[problem.pairs[ends, 0]] = ends
    from_pairs = inner[to_end[problem.pairs[inner, 1]] >= 0]
    index, before, model = (each.ravel() for each in np.indices((len(from_pairs), models, models)))
    earlier = from_pairs[index]
    grains = problem.alone[model, to_end[problem.pairs[earlier, 1]]]
    ticks = _ticks(problem, before, model)
    parts.append((node(earlier, before), np.full_like(model, end), model, ticks, grains))

    tail, head, model, ticks, grains = (np.concatenate(column) for column in zip(*parts, strict=True))
    before = np.where(tail == 0, 0, (tail - 1) % models)
    kept = (model >= before) | (tail == 0) | (not problem.small_first)
    return _sorted(node_level, tail[kept], head[kept], model[kept], ticks[kept], grains[kept])


def _ticks(problem: JointProblem, before: Ints, model: Ints) -> Ints:
    step, _, load = (np.array(column, np.int64) for column in zip(*problem.costs, strict=True))
    network = np.array(problem.networks or range(problem.models))
    return step[model] + load[model] * (network[before] != network[model])


def _sorted(node_level: Ints, tail: Ints, head: Ints, model: Ints, ticks: Ints, grains: Ints) -> Graph:
    order = np.argsort(head, kind="stable")
    return Graph(node_level, *(np.ascontiguousarray(each[order]) for each in (tail, head, model, ticks, grains)))


class Passes:
    """Shortest ways over the arcs of a graph, level by level."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._by_tail = np.argsort(graph.tail, kind="stable")
        self._ahead = _groups(graph.head, graph.node_level)
        self._behind = _groups(graph.tail[self._by_tail], graph.node_level)[::-1]

    def from_start(self, prices: Floats) -> Floats:
        """The least sum of prices from the start to each node."""
        graph = self._graph
        least = np.full(len(graph.node_level), np.inf)
        least[0] = 0.0
        for arcs, nodes, starts in self._ahead:
            least[nodes] = np.minimum.reduceat(least[graph.tail[arcs]] + prices[arcs], starts)
        return least

    def to_end(self, prices: Floats) -> Floats:
        """The least sum of prices from each node to the end."""
        graph = self._graph
        least = np.full(len(graph.node_level), np.inf)
        least[graph.end] = 0.0
        for places, nodes, starts in self._behind:
            arcs = self._by_tail[places]
            least[nodes] = np.minimum.reduceat(least[graph.head[arcs]] + prices[arcs], starts)
        return least

    def cheapest(self, prices: Floats) -> Ints | None:
        """The arcs of the way with the least sum of prices; None where no way leads to the end."""
        graph, left = self._graph, self.to_end(prices)
        if not np.isfinite(left[0]):
            return None
        starts = np.searchsorted(graph.tail[self._by_tail], np.arange(len(graph.node_level) + 1))
        node, way = 0, []
        while node != graph.end:
            arcs = self._by_tail[starts[node] : starts[node + 1]]
            way.append(arcs[(prices[arcs] + left[graph.head[arcs]]).argmin()])
            node = int(graph.head[way[-1]])
        return np.array(way)


def _groups(node: Ints, node_level: Ints) -> list[tuple[slice, Ints, Ints]]:
    """For arcs in the order of `node`, by level: the arcs, the nodes among them, and where each node's begin."""
    if not len(node):
        return []
    level = node_level[node]
    bounds = [0, *(np.flatnonzero(np.diff(level)) + 1), len(node)]
    found = []
    for start, stop in itertools.pairwise(bounds):
        nodes, starts = np.unique(node[start:stop], return_index=True)
        found.append((slice(start, stop), nodes, starts))
    return found
