"""The errors of steps, against steps taken one by one on the vectors themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.planning.joint.edges import Edges, Products, edges_of, error_along, nearest_levels, order_of
from tstitch.planning.joint.sketch import LARGEST, Sketcher
from tstitch.planning.plan.problem import Costs

LEVELS, MODELS, SAMPLES, VALUES = 7, 2, 3, 40
SIGMAS = (14.0, 7.0, 4.0, 2.0, 1.0, 0.5, 0.0)


def vectors() -> tuple[Tensor, Tensor]:
    """States (levels, samples, values) and predictions (models, levels - 1, samples, values)."""
    random = torch.Generator().manual_seed(1)
    states = torch.randn(LEVELS, SAMPLES, VALUES, generator=random, dtype=torch.float64)
    return states, torch.randn(MODELS, LEVELS - 1, SAMPLES, VALUES, generator=random, dtype=torch.float64)


def products_of(states: Tensor, predictions: Tensor, power: float = math.inf) -> Products:
    every = torch.cat([states, predictions.flatten(0, 1)])
    table = torch.einsum("isv,jsv->ij", every, every)[None] / SAMPLES
    power = 1e30 if math.isinf(power) else power  # an error anywhere reaches the picture in full
    ones = (1.0,) * LEVELS
    return Products(SIGMAS, ones, SIGMAS, (power,), table.numpy(), MODELS)


def size(values: Tensor) -> float:
    return float(values.square().sum(-1).mean().sqrt())


def test_the_errors_of_euler_are_those_of_its_steps() -> None:
    states, predictions = vectors()
    edges = edges_of(products_of(states, predictions), order_of("euler"))
    assert edges.triples is None
    assert len(edges.pairs) == LEVELS * (LEVELS - 1) // 2
    for model in range(MODELS):
        for (start, stop), error in zip(edges.pairs.tolist(), edges.alone[model], strict=True):
            x, denoised = states[start], predictions[model, start]
            moved = x + (x - denoised) / SIGMAS[start] * (SIGMAS[stop] - SIGMAS[start])
            assert error == pytest.approx(size(moved - states[stop]) / size(states[-1]), rel=1e-9)


def test_the_errors_of_dpmpp_2m_are_those_of_its_steps() -> None:
    states, predictions = vectors()
    edges = edges_of(products_of(states, predictions), order_of("dpmpp_2m"))
    assert edges.triples is not None
    assert edges.after is not None
    for (before, start, stop), column in zip(edges.triples.tolist(), np.moveaxis(edges.after, -1, 0), strict=True):
        h = math.log(SIGMAS[start] / SIGMAS[stop])
        r = math.log(SIGMAS[before] / SIGMAS[start]) / h
        assert 0.4 <= 1 / r <= 2.0
        for model_before in range(MODELS):
            for model in range(MODELS):
                old, new = predictions[model_before, before], predictions[model, start]
                mixed = (1 + 1 / (2 * r)) * new - 1 / (2 * r) * old
                moved = SIGMAS[stop] / SIGMAS[start] * states[start] - math.expm1(-h) * mixed
                expected = size(moved - states[stop]) / size(states[-1])
                assert column[model_before, model] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_the_error_along_levels_is_the_sum_of_the_steps(order: int) -> None:
    products = products_of(*vectors())
    problem = edges_of(products, order).problem([Costs(1)] * MODELS)
    for levels in ((0, 6), (0, 3, 6), (0, 2, 4, 6), (0, 1, 2, 3, 4, 5, 6)):
        for model in range(MODELS):
            rated = problem.rate(levels, (model,) * (len(levels) - 1))
            assert rated is not None
            assert error_along(products, levels, model, order) == pytest.approx(rated.error, abs=1e-8)
    assert edges_of(products, 2).problem([Costs(1)] * MODELS).rate((0, 1, 4, 5, 6), (0,) * 4) is None
    assert error_along(products, (0, 1, 4, 5, 6), 0, 2) > 0  # a step that plans leave out


def test_an_error_at_high_noise_shrinks_on_its_way_to_the_picture() -> None:
    states, predictions = vectors()
    in_full = edges_of(products_of(states, predictions), 1).alone
    shrunk = edges_of(products_of(states, predictions, power=4.0), 1)
    for column, (_, stop) in enumerate(shrunk.pairs.tolist()):
        gain = math.sqrt(4.0 / (4.0 + SIGMAS[stop] ** 2))
        assert shrunk.alone[:, column] == pytest.approx(gain * in_full[:, column])


def test_predictions_that_are_no_numbers_are_refused() -> None:
    states, predictions = vectors()
    predictions[1, 2] = math.nan
    with pytest.raises(StitchError, match="no numbers"):
        edges_of(products_of(states, predictions), 1)


def test_a_problem_of_some_models_has_their_errors() -> None:
    states, predictions = vectors()
    edges = edges_of(products_of(states, predictions), 2)
    problem = edges.of([1]).problem([Costs(1)])
    whole = edges.problem([Costs(1), Costs(1)])
    way = problem.rate((0, 2, 4, 6), (0, 0, 0))
    of_both = whole.rate((0, 2, 4, 6), (1, 1, 1))
    assert (way and way.grains) == (of_both and of_both.grains)
    assert isinstance(edges.of([1]), Edges)


@pytest.mark.parametrize("shape", [(2, 4, 8, 6), (2, 16, 3, 40, 36), (2, 9, 100), (2, 16, 64, 64)])
def test_sketches_keep_inner_products(shape: tuple[int, ...]) -> None:
    sketcher = Sketcher.of(shape)
    random = torch.Generator().manual_seed(2)
    first = torch.randn(shape, generator=random)
    second = first + torch.randn(shape, generator=random)
    found, other = sketcher(first), sketcher(second)
    assert found.shape[1] <= LARGEST
    assert torch.allclose(sketcher(first + 2 * second), found + 2 * other, atol=1e-3)
    exact = math.prod(shape[1:]) <= LARGEST
    expected = (first * second).flatten(1).sum(1)
    assert (found * other).sum(1).numpy() == pytest.approx(expected.numpy(), rel=1e-4 if exact else 0.1)
    assert sketcher.bands[-1].stop == found.shape[1]


def test_a_smooth_latent_lies_in_the_lowest_band() -> None:
    sketcher = Sketcher.of((1, 4, 32, 32))
    smooth = sketcher(torch.ones(1, 4, 32, 32)).square()
    assert smooth[:, sketcher.bands[0]].sum() == pytest.approx(float(smooth.sum()))
    checks = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    rough = sketcher(checks.expand(1, 4, 32, 32)).square()
    assert rough[:, sketcher.bands[-1]].sum() > 0.9 * rough.sum()


def test_the_nearest_levels_of_a_schedule() -> None:
    assert nearest_levels(SIGMAS, (13.0, 2.1, 0.9, 0.0)) == (0, 3, 4, 6)
    assert nearest_levels(SIGMAS, (13.0, 2.1, 2.0, 0.0)) is None
