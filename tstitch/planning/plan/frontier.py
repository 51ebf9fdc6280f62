"""The best way through a lattice within a limit: Pareto fronts of (ticks, grains) that grow from both ends and meet.

Labels whose bound exceeds the target error are pruned, for all sets of models together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .lattice import MARGIN, MOST, Floats, Ints, Lattice, Relaxed, least_left


class Front(NamedTuple):
    """Pareto-optimal labels, by node, then ticks: ways to a node, in ticks and grains.

    A node is a state of a set: state * sets + set.
    """

    node: Ints
    ticks: Ints
    grains: Ints
    model: Ints  # of the last step
    parent: Ints  # the label before, in the front before
    before: Front | None

    def owners(self, label: int) -> list[int]:
        """From the last step back."""
        found, front = [], self
        while front.before is not None:
            found.append(int(front.model[label]))
            label, front = int(front.parent[label]), front.before
        return found


class Half:
    """Grows a front over a lattice from its start, with bounds on the rest of the way."""

    def __init__(self, lattice: Lattice, of_time: Floats, start_states: int) -> None:
        steps, models, states, sets = lattice.is_open.shape
        nodes = np.arange(states * sets)
        prices = lattice.prices(1.0, of_time)
        through = prices + least_left(prices)[1:, :, None]
        self.through = through.reshape(steps, models, len(nodes))
        self.of_time = np.tile(of_time, states)
        self.arcs, self.state = lattice, nodes // sets
        self.to = np.tile(nodes, (models, 1))
        if lattice.has_states:
            self.to = np.arange(models)[:, None] * sets + nodes % sets
        self.start = nodes[: start_states * sets]

    def restart(self, bounds: Floats) -> None:
        zeros = np.zeros_like(self.start)
        self.front, self.step = Front(self.start, zeros, zeros, zeros, zeros, None), 0
        self.room = np.tile(bounds, len(self.of_time) // len(bounds)) - self.through

    def advance(self) -> None:
        """Advance by one step along all arcs that may lie on a way within the bounds."""
        front = self.front
        prices = front.grains + self.of_time[front.node] * front.ticks
        model, parent = (prices <= self.room[self.step][:, front.node]).nonzero()
        node = front.node[parent]
        arcs = self.step, model, self.state[node], 0
        node = self.to[model, node]
        ticks = front.ticks[parent] + self.arcs.ticks[arcs]
        grains = front.grains[parent] + self.arcs.grains[arcs]
        best = pareto(node, ticks, grains)
        self.front = Front(
            node[best], ticks[best], grains[best], self.arcs.model[arcs][best], parent[best], before=front
        )
        self.step += 1


def pareto(node: Ints, ticks: Ints, grains: Ints) -> Ints:
    """Labels not dominated by another of the same node, by node, then ticks."""
    order = np.lexsort((grains, ticks, node))
    falling = grains[order] - node[order] * MOST  # below all of the nodes before
    is_best = np.ones(len(order), bool)
    is_best[1:] = falling[1:] < np.minimum.accumulate(falling)[:-1]
    return order[is_best]


class Search:
    def __init__(self, lattice: Lattice, relaxed: Relaxed) -> None:
        lattice = lattice.of(relaxed.sets)
        self.steps, _, states, _ = lattice.is_open.shape
        self.limits, self.of_time = relaxed.limits, relaxed.of_time
        self.ahead = Half(lattice, self.of_time, 1)
        self.behind = Half(lattice.turned(), self.of_time, states)

    def up_to(self, grains: int) -> list[int] | None:
        """The models of the best way within the limits, if it loses no more than `grains`; else any way, or None."""
        bounds = (grains + self.of_time * self.limits) * (1 + MARGIN)
        for half in (self.ahead, self.behind):
            half.restart(bounds)
        while self.ahead.step + self.behind.step < self.steps:
            smaller = min(self.ahead, self.behind, key=lambda half: len(half.front.node))
            smaller.advance()
            if not len(smaller.front.node):
                return None
        return self.meet(self.ahead.front, self.behind.front)

    def meet(self, first: Front, second: Front) -> list[int] | None:
        """Join each label with the last quick enough, so best, label of its node in the other front."""
        left = self.limits[first.node % len(self.limits)] - first.ticks
        other = np.searchsorted(second.node * MOST + second.ticks, first.node * MOST + left, "right") - 1
        fits = ((other >= 0) & (second.node[other] == first.node)).nonzero()[0]
        if not len(fits):
            return None
        other = other[fits]
        best = np.lexsort((second.ticks[other] - left[fits], first.grains[fits] + second.grains[other]))[0]
        return first.owners(fits[best])[::-1] + second.owners(other[best])
