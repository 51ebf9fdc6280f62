"""Latents taken down and brought up in the cosine domain."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tstitch.resolution.scaling import Scaling, dct_matrix, smaller_size

SIZES = {
    "even": ((16, 16), (8, 8)),
    "odd": ((17, 23), (9, 11)),
    "sides apart": ((13, 40), (5, 31)),
    "one value": ((7, 5), (1, 1)),
}
CASES = pytest.mark.parametrize(("full", "small"), SIZES.values(), ids=SIZES)
CPU = torch.device("cpu")


def scaling(full: tuple[int, int], small: tuple[int, int]) -> Scaling:
    return Scaling.of(full, small, CPU, torch.float64)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_the_cosine_matrix_is_orthonormal(size: int) -> None:
    torch.testing.assert_close(dct_matrix(size) @ dct_matrix(size).T, torch.eye(size, dtype=torch.float64))


@CASES
@pytest.mark.parametrize("front", [(2, 4), (1, 3, 5)], ids=["picture", "video"])
def test_down_after_up_is_the_same(full: tuple[int, int], small: tuple[int, int], front: tuple[int, ...]) -> None:
    between, y = scaling(full, small), noise(*front, *small)
    torch.testing.assert_close(between.down(between.spectrum(between.up(y))), y)
    noisy = between.spectrum(noise(*front, *full, seed=1))
    torch.testing.assert_close(between.down(between.spectrum(between.up(y, noisy, 0.7))), y)


@CASES
def test_a_constant_stays_the_same_constant(full: tuple[int, int], small: tuple[int, int]) -> None:
    between, picture = scaling(full, small), torch.full((1, 4, *full), 0.3, dtype=torch.float64)
    down = between.down(between.spectrum(picture))
    torch.testing.assert_close(down, torch.full((1, 4, *small), 0.3, dtype=torch.float64))
    torch.testing.assert_close(between.up(down, between.spectrum(picture), 0.5), picture)


@CASES
def test_white_noise_stays_white_and_quiets_by_k(full: tuple[int, int], small: tuple[int, int]) -> None:
    """D D^T = I / k^2, so the covariance is exact, not sampled."""
    between = scaling(full, small)
    values = full[0] * full[1]
    basis = torch.eye(values, dtype=torch.float64).reshape(values, *full)
    operator = between.down(between.spectrum(basis)).reshape(values, -1)
    covariance = operator.T @ operator
    torch.testing.assert_close(covariance, torch.eye(len(covariance), dtype=torch.float64) / between.k**2)


def test_up_of_the_full_size_is_the_same() -> None:
    between, x = scaling((6, 9), (6, 9)), noise(1, 2, 6, 9)
    assert between.k == 1
    torch.testing.assert_close(between.up(x, between.spectrum(x), 2.0), x)


def extra_errors(sigma: float) -> tuple[float, float]:
    """Of x0 against the exact posterior mean, in parts of its power, without and with the gain.

    The field has the spectrum of Flux's latents at 128 x 128, P = 203.6 w^-1.915 with w in cycles (arXiv 2605.18736).
    """
    between = scaling((128, 128), (64, 64))
    power = 203.6 * (64 * between.frequency.clamp_min(1 / 128)) ** -1.915
    noisy = noise(4, 4, 128, 128) * power.sqrt() + sigma * noise(4, 4, 128, 128, seed=1)
    exact = between.rows.T @ (noisy * power / (power + sigma**2)) @ between.columns
    # The smaller model's exact answer: its data have power P / k^2, its noise has sigma / k.
    ratio, small_power = sigma / between.k, power[:64, :64] / between.k**2
    seen = between.small_rows @ between.down(noisy) @ between.small_columns.T
    answer = between.small_rows.T @ (seen * small_power / (small_power + ratio**2)) @ between.small_columns

    def error(found: Tensor) -> float:
        return float((found - exact).square().mean() / exact.square().mean())

    return error(between.up(answer)), error(between.up(answer, noisy, sigma))


@pytest.mark.parametrize("sigma", [0.7, 2.3, 6.0])
def test_the_gain_keeps_the_detail_of_a_known_spectrum(sigma: float) -> None:
    plain, gained = extra_errors(sigma)
    assert gained < 0.01 * plain
    if sigma == 2.3:
        assert 0.004 < plain < 0.006
        assert gained < 0.00065


@CASES
def test_the_fit_finds_a_power_law(full: tuple[int, int], small: tuple[int, int]) -> None:
    fit = scaling(full, small).fit
    values = 3.0 - 1.7 * fit.place[: small[0], : small[1]]
    if small == (1, 1):
        assert float((fit.slope * values).sum()) == 0
        return
    assert float((fit.mean * values).sum()) == pytest.approx(3.0 - 1.7 * fit.centre)
    assert float((fit.slope * values).sum()) == pytest.approx(-1.7)


@pytest.mark.parametrize(
    ("size", "scale", "multiple", "expected"),
    [
        ((128, 128), 0.5, 2, (64, 64)),
        ((90, 131), 0.5, 2, (46, 66)),
        ((7, 7), 0.5, 1, (4, 4)),
        ((9, 3), 0.25, 4, (4, 3)),
    ],
)
def test_smaller_sizes_fit_the_model(
    size: tuple[int, int], scale: float, multiple: int, expected: tuple[int, int]
) -> None:
    assert smaller_size(*size, scale, multiple) == expected
    assert smaller_size(*size, 1.0, 1) == size


def test_k_is_the_root_of_the_ratio_of_areas() -> None:
    assert scaling((17, 23), (9, 11)).k == math.sqrt(17 * 23 / (9 * 11))
