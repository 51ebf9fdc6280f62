"""What each step between two noise levels loses, of each model: from the inner products of one fine run.

A step is the solver's own update from a state of the fine run, held against the state that the fine run reaches. Both
are sums of states and predictions, so their distance follows from inner products alone. The distance counts as far as
it reaches the picture: for a Gaussian of standard deviation s, an error at the ratio r of noise to signal shrinks by
s / sqrt(s^2 + r^2) on its way, with s^2 the power of the finished pictures in each band of frequencies. Sums of local
errors along a run are the cost of GITS (arXiv 2506.10177) and, weighted, of BOSS (arXiv 2312.16414).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from ...errors import StitchError
from ..plan.problem import GRAINS, Costs
from .graph import Floats
from .problem import Ints, JointProblem

#: Solvers whose steps are known exactly, with the predictions that a step reads; all others count as euler.
SOLVER_ORDERS = {"euler": 1, "ddim": 1, "dpmpp_2m": 2}
LEAST, MOST = 0.4, 2.0  # of a step in the logarithm of sigma over the one before it, for solvers of second order
LARGEST = 1e3  # error that is counted: a thousand times the picture is as bad as any


def order_of(sampler: str) -> int:
    return SOLVER_ORDERS.get(sampler, 1)


@dataclass(frozen=True, eq=False)
class Products:
    """Mean inner products of the states and of all models' predictions, by band of frequencies.

    Along both axes there are the states at all levels, then for each model its predictions at all levels but the last.
    """

    sigmas: tuple[float, ...]  # falling to 0
    signal: tuple[float, ...]  # the weight of the picture in the state at each level
    ratio: tuple[float, ...]  # of noise to signal
    power: tuple[float, ...]  # of the finished pictures in each band, a coefficient
    table: Floats  # (bands, vectors, vectors)
    models: int

    @property
    def levels(self) -> int:
        return len(self.sigmas)

    def prediction(self, model: int, level: Ints) -> Ints:
        return self.levels + model * (self.levels - 1) + level

    def weights(self) -> Floats:
        """(bands, levels): the square of how far an error at a level reaches the picture, over the picture's size."""
        power, ratio, signal = (np.array(each, np.float64) for each in (self.power, self.ratio, self.signal))
        finite = np.isfinite(ratio) & (signal > 0)
        ratio, signal = np.where(finite, ratio, 1.0), np.where(finite, signal, 1.0)
        gain = power[:, None] / np.maximum(power[:, None] + ratio**2, 1e-30)
        size = self.table[:, self.levels - 1, self.levels - 1].sum()
        return np.where(finite, gain / (signal**2 * max(size, 1e-30)), 0.0)


@dataclass(frozen=True, eq=False)
class Edges:
    """The errors of steps, in parts of the size of the finished picture."""

    sigmas: tuple[float, ...]
    pairs: Ints  # (P, 2): the levels of a step, from and to
    alone: Floats  # (models, P)
    triples: Ints | None = None  # (T, 3): of solvers of second order the level before, from and to
    after: Floats | None = None  # (model before, model, T)

    @property
    def models(self) -> int:
        return len(self.alone)

    def problem(
        self, costs: Sequence[Costs], power: float = 1.0, small_first: bool = False, networks: Sequence[int] = ()
    ) -> JointProblem:
        """power: what errors are raised to before they are added up; 1 takes them to point the same way."""

        def grains(errors: Floats) -> Ints:
            return np.round(np.minimum(errors, LARGEST) ** power * GRAINS).astype(np.int64)

        after = None if self.after is None else grains(self.after)
        levels = len(self.sigmas)
        return JointProblem(
            *(tuple(costs), levels, self.pairs, grains(self.alone), self.triples, after),
            small_first=small_first,
            networks=tuple(networks),
        )

    def of(self, models: Sequence[int]) -> Edges:
        """With these models alone."""
        chosen = list(models)
        after = None if self.after is None else self.after[np.ix_(chosen, chosen)]
        return Edges(self.sigmas, self.pairs, self.alone[chosen], self.triples, after)


def edges_of(products: Products, order: int) -> Edges:
    """The errors of all steps of a solver of first or second order. Raises StitchError where a number is none."""
    pairs = all_pairs(products.levels)
    alone = np.stack([_errors(products, *_euler(products, pairs, model)) for model in range(products.models)])
    triples = after = None
    if order == 2:
        triples = allowed_triples(products.sigmas)
        after = np.stack(
            [
                [
                    _errors(products, *_second_order(products, triples, before, model))
                    for model in range(products.models)
                ]
                for before in range(products.models)
            ]
        )
    for errors in (alone, after):
        if errors is not None and not np.isfinite(errors).all():
            raise StitchError(
                "A model predicts values that are no numbers (NaN or infinite): load it in another precision, or check"
                " that prompt and latent belong to it."
            )
    return Edges(products.sigmas, pairs, alone, triples, after)


def error_along(products: Products, levels: Sequence[int], model: int, order: int) -> float:
    """The sum over the steps of one model through `levels`, also where `allowed_triples` leaves some out."""
    pairs = np.array(list(pairwise(levels)), np.int64)
    alone = _errors(products, *_euler(products, pairs, model))
    if order == 1 or len(pairs) < 3:
        return float(alone.sum())
    triples = np.array([levels[place : place + 3] for place in range(len(levels) - 3)], np.int64)
    after = _errors(products, *_second_order(products, triples, model, model))
    return float(alone[0] + after.sum() + alone[-1])


def _euler(products: Products, pairs: Ints, model: int) -> tuple[Ints, list[tuple[Ints, Floats]]]:
    """The level that is reached, and the step as a sum: x_j = (s_j / s_i) x_i + (1 - s_j / s_i) D_i."""
    sigmas = np.array(products.sigmas)
    start, stop = pairs.T
    kept = sigmas[stop] / sigmas[start]
    return stop, [(start, kept), (products.prediction(model, start), 1 - kept)]


def _second_order(products: Products, triples: Ints, before: int, model: int) -> tuple[Ints, list[tuple[Ints, Floats]]]:
    """As the host's dpmpp_2m: DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2)."""
    sigmas = np.array(products.sigmas)
    earlier, start, stop = triples.T
    kept = sigmas[stop] / sigmas[start]
    half = 0.5 * np.log(kept) / np.log(sigmas[start] / sigmas[earlier])  # 1 / 2r, with r the step before over this one
    terms = [
        (start, kept),
        (products.prediction(model, start), (1 - kept) * (1 + half)),
        (products.prediction(before, earlier), -(1 - kept) * half),
    ]
    return stop, terms


def _errors(products: Products, reached: Ints, terms: list[tuple[Ints, Floats]]) -> Floats:
    """|sum of terms - the state that is reached|, weighted by band."""
    terms = [*terms, (reached, np.full(len(reached), -1.0))]
    weights = products.weights()
    total = np.zeros(len(reached))
    for band, table in enumerate(products.table):
        square = np.zeros(len(reached))
        for place, (index, factor) in enumerate(terms):
            square += factor**2 * table[index, index]
            for other, other_factor in terms[place + 1 :]:
                square += 2 * factor * other_factor * table[index, other]
        total += weights[band, reached] * np.maximum(square, 0.0)
    return np.sqrt(total)


def all_pairs(levels: int) -> Ints:
    return np.array(list(combinations(range(levels), 2)), np.int64)


def allowed_triples(sigmas: Sequence[float]) -> Ints:
    """Steps that may follow each other before the last level: too unequal ones make dpmpp_2m overshoot."""
    logs = np.log(np.array(sigmas[:-1]))
    found = [
        (before, start, stop)
        for start in range(1, len(logs))
        for before in range(start)
        for stop in range(start + 1, len(logs))
        if LEAST <= (logs[start] - logs[stop]) / (logs[before] - logs[start]) <= MOST
    ]
    return np.array(found, np.int64).reshape(-1, 3)


def nearest_levels(sigmas: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...] | None:
    """Levels of the fine run that come closest to a list of them, falling to 0; None where two would be one."""
    logs = np.log(np.maximum(np.array(sigmas), 1e-6))
    found = [int(np.abs(logs - np.log(max(level, 1e-6))).argmin()) for level in wanted]
    found[0], found[-1] = 0, len(sigmas) - 1
    return tuple(found) if all(later > earlier for earlier, later in pairwise(found)) else None
