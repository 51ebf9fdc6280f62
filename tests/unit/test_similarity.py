"""Likeness of latents and images, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tstitch.views.similarity import cosine_similarity, psnr, relative_error, spectrum, ssim


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_equal_batches_are_exactly_equal() -> None:
    images = random(3, 20, 24, 3)
    assert relative_error(images, images).tolist() == [0.0] * 3
    assert cosine_similarity(images, images).tolist() == [1.0] * 3
    assert psnr(images, images).tolist() == [math.inf] * 3
    assert ssim(images, images).tolist() == pytest.approx([1.0] * 3, abs=1e-12)
    zeros = torch.zeros(2, 4)
    assert relative_error(zeros, zeros).tolist() == [0.0, 0.0]


def test_samples_of_a_batch_are_told_apart() -> None:
    reference = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    found = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert relative_error(found, reference).tolist() == pytest.approx([1.0, math.sqrt(5)])
    turned = torch.tensor([[-3.0, -4.0], [1.0, 1.0]])
    assert cosine_similarity(turned, reference).tolist() == pytest.approx([-1.0, math.sqrt(0.5)])


def test_psnr_of_a_constant_difference() -> None:
    images = random(2, 8, 8, 3) * 0.5
    assert psnr(images + 0.1, images).tolist() == pytest.approx([20.0, 20.0], abs=1e-4)


@pytest.mark.parametrize("size", [(16, 20), (5, 7), (1, 1)])
def test_ssim_of_flat_images_is_that_of_their_luminance(size: tuple[int, int]) -> None:
    first, second = torch.full((1, *size, 3), 0.3), torch.full((1, *size, 3), 0.6)
    c1 = 0.01**2
    expected = (2 * 0.3 * 0.6 + c1) / (0.3**2 + 0.6**2 + c1)
    assert ssim(first, second).item() == pytest.approx(expected, abs=1e-6)


def test_ssim_of_a_negative_is_negative() -> None:
    """With mean 1/2 and a deviation far above the constants, structure is exactly inverted."""
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float()[None, ..., None].expand(1, 32, 32, 3)
    assert ssim(1 - board, board).item() == pytest.approx(-1, abs=0.01)


@pytest.mark.parametrize("cycles", [0, 2, 4, 8])
def test_a_wave_lies_in_its_band(cycles: int) -> None:
    """Of 16 samples, 8 cycles are the highest frequency."""
    wave = torch.cos(2 * math.pi * cycles * torch.arange(16) / 16).expand(1, 4, 16, 16)
    found = spectrum(wave)
    assert len(found.frequencies) == 9
    assert found.frequencies[int(found.log_amplitude[0].argmax())] == cycles / 8


@pytest.mark.parametrize("shape", [(2, 4, 7, 7), (2, 4, 64, 48), (2, 16, 3, 8, 10), (2, 8, 1, 40), (2, 8, 33)])
def test_white_noise_is_flat(shape: tuple[int, ...]) -> None:
    noise = torch.randn(20, *shape[1:], generator=torch.Generator().manual_seed(0))
    found = spectrum(noise)
    assert found.frequencies[0] == 0
    assert found.frequencies[-1] == 1
    assert found.log_amplitude.shape == (20, len(found.frequencies))
    middle = found.log_amplitude[:, 1:-1].mean(dim=0)  # of complex values; the ends may be real
    assert float(middle.max() - middle.min()) < 0.25


def test_a_single_pixel_has_one_band() -> None:
    found = spectrum(torch.full((2, 4, 1, 1), math.e))
    assert found.frequencies == (0.0,)
    assert found.log_amplitude.tolist() == [[pytest.approx(1.0)], [pytest.approx(1.0)]]
