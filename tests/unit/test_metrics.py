"""FID, precision and recall against independent implementations and constructed cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import linalg

from benchmarks.tools.metrics import Gaussian, accuracy, frechet_distance, precision_recall
from benchmarks.tools.starter import flops, load_denoiser, metadata, weights_path
from tstitch.families.dit.network import DiTConfig


def random_gaussian(seed: int, dim: int, rank: int) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(dim, rank, generator=generator, dtype=torch.float64)
    return Gaussian(torch.randn(dim, generator=generator, dtype=torch.float64), factor @ factor.T / rank)


def reference_distance(a: Gaussian, b: Gaussian) -> float:
    product = linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    trace = np.trace(a.covariance.numpy()) + np.trace(b.covariance.numpy()) - 2 * np.trace(product).real
    return float(((a.mean - b.mean) ** 2).sum()) + float(trace)


@pytest.mark.parametrize("seed", range(4))
def test_frechet_distance_equals_scipy_sqrtm(seed: int) -> None:
    a, b = random_gaussian(seed, 24, 60), random_gaussian(100 + seed, 24, 60)
    assert frechet_distance(a, b) == pytest.approx(reference_distance(a, b), rel=1e-9)


def test_frechet_distance_of_diagonal_gaussians_is_the_analytic_value() -> None:
    deviations_a, deviations_b = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([2.0, 2.0, 0.5]).double()
    a = Gaussian(torch.zeros(3).double(), deviations_a.square().diag())
    b = Gaussian(torch.tensor([1.0, 0.0, -2.0]).double(), deviations_b.square().diag())
    expected = 5.0 + (deviations_a - deviations_b).square().sum().item()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_rotated_gaussians_is_the_analytic_value() -> None:
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double())
    variances = torch.arange(1.0, 7.0).double()
    a = Gaussian(torch.zeros(6).double(), (rotation * variances) @ rotation.T)
    b = Gaussian(torch.zeros(6).double(), (rotation * (4 * variances)) @ rotation.T)
    assert frechet_distance(a, b) == pytest.approx(variances.sum().item(), rel=1e-10)


def test_frechet_distance_to_itself_is_zero_for_singular_covariance() -> None:
    gaussian = random_gaussian(3, 32, 5)
    assert frechet_distance(gaussian, gaussian) == pytest.approx(0.0, abs=1e-6)


def test_fit_equals_numpy() -> None:
    features = torch.randn(200, 7, generator=torch.Generator().manual_seed(1))
    fitted = Gaussian.fit(features)
    np.testing.assert_allclose(fitted.mean, features.double().numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.covariance, np.cov(features.double().numpy(), rowvar=False), rtol=1e-10)


def line(*positions: float) -> torch.Tensor:
    return torch.tensor(positions)[:, None]


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        pytest.param(line(0, 1, 2, 3, 4), line(0, 1, 2, 3, 4), (1.0, 1.0), id="same set"),
        pytest.param(line(0, 1, 2, 3, 4), line(100, 101, 102, 103, 104), (0.0, 0.0), id="disjoint"),
        pytest.param(line(0, 1, 2, 10, 11, 12), line(0.5, 1, 1.5, 2), (1.0, 0.5), id="one of two modes"),
        pytest.param(line(0, 1, 2), line(0, 1, 2, 90, 91, 92), (0.5, 1.0), id="half outside"),
    ],
)
def test_precision_and_recall_of_constructed_sets(real, fake, expected) -> None:
    assert precision_recall(real, fake, k=1) == expected


def test_precision_and_recall_do_not_depend_on_the_batch() -> None:
    generator = torch.Generator().manual_seed(2)
    real, fake = torch.randn(90, 3, generator=generator), 0.6 * torch.randn(70, 3, generator=generator)
    assert precision_recall(real, fake, batch=7) == precision_recall(real, fake, batch=1000)


def test_precision_and_recall_equal_a_direct_count() -> None:
    generator = torch.Generator().manual_seed(5)
    real, fake = torch.randn(40, 3, generator=generator), torch.randn(30, 3, generator=generator) + 1.5

    def fraction_covered(points: np.ndarray, centres: np.ndarray) -> float:
        radii = [np.sort(np.linalg.norm(centres - centre, axis=1))[3] for centre in centres]
        inside = [any(np.linalg.norm(point - c) <= r for c, r in zip(centres, radii, strict=True)) for point in points]
        return sum(inside) / len(inside)

    pair = real.double().numpy(), fake.double().numpy()
    expected = fraction_covered(pair[1], pair[0]), fraction_covered(pair[0], pair[1])
    assert precision_recall(real, fake) == pytest.approx(expected, abs=1e-12)


def test_accuracy_counts_the_highest_logit() -> None:
    logits = torch.tensor([[0.0, 2.0], [3.0, 1.0], [0.0, 1.0]])
    assert accuracy(logits, torch.tensor([1, 0, 0])) == pytest.approx(2 / 3)


def test_operations_are_those_of_the_matrix_products() -> None:
    """Of S's blocks: 12 width^2 per token, 2 tokens^2 width of attention, and 6 width^2 of modulation; twice each."""
    path = weights_path("S")
    config = DiTConfig(**json.loads(metadata(path)["tstitch.dit"]))
    tokens, width = (16 // config.patch) ** 2, config.width
    block = tokens * 12 * width**2 + 2 * tokens**2 * width + 6 * width**2
    assert flops(path, 16) == pytest.approx(2 * config.depth * block, rel=0.2)
    assert load_denoiser("S").model.position(8, 8).device.type == "cpu"  # no cache holds a meta tensor
