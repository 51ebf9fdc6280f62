"""Similarity of two batches of latents or images. Every function takes (N, ...) and returns one float64 per sample."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MAX_BANDS = 16
_TINY = 1e-12
_WINDOW, _WINDOW_SIGMA = 11, 1.5  # of SSIM, as in the paper
_SSIM_FLOOR = (0.01**2, 0.03**2)  # its constants for values in [0, 1]


def norms(values: Tensor) -> Tensor:
    """(N,) Euclidean norm of each sample."""
    return values.double().flatten(1).norm(dim=1)


def relative_error(found: Tensor, reference: Tensor) -> Tensor:
    """(N,) |found - reference| / |reference|; exactly 0 where both are equal."""
    return norms(found.double() - reference.double()) / norms(reference).clamp_min(_TINY)


def cosine_similarity(found: Tensor, reference: Tensor) -> Tensor:
    """(N,) cosine of the angle between samples; exactly 1 where both are equal."""
    first, second = (value.double().flatten(1) / norms(value).clamp_min(_TINY)[:, None] for value in (found, reference))
    return 1 - (first - second).square().sum(dim=1) / 2


def psnr(found: Tensor, reference: Tensor) -> Tensor:
    """(N,) peak signal-to-noise ratio in dB of images in [0, 1]; infinite where both are equal."""
    return -10 * torch.log10((found.double() - reference.double()).flatten(1).square().mean(dim=1))


def ssim(found: Tensor, reference: Tensor) -> Tensor:
    """(N,) structural similarity (Wang et al. 2004) of the luma of images (N, H, W, 3) in [0, 1].

    The Gaussian window is 11 pixels wide, or as wide as a smaller image is.
    """
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64, device=found.device)
    first, second = ((image[..., :3].double() @ weights)[:, None] for image in (found, reference))  # (N, 1, H, W)
    window = _window(min(_WINDOW, *first.shape[-2:])).to(first.device)

    def mean(values: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(values, window)

    mean_1, mean_2 = mean(first), mean(second)
    variance_1, variance_2 = mean(first**2) - mean_1**2, mean(second**2) - mean_2**2
    covariance = mean(first * second) - mean_1 * mean_2
    c1, c2 = _SSIM_FLOOR
    likeness = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    return (likeness / ((mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2))).flatten(1).mean(dim=1)


def _window(size: int) -> Tensor:
    """(1, 1, size, size), of sum 1."""
    line = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    line = torch.exp(-(line**2) / (2 * _WINDOW_SIGMA**2))
    return ((line[:, None] * line) / line.sum() ** 2)[None, None]


class Spectrum(NamedTuple):
    frequencies: tuple[float, ...]  # centres of the bands: 0 = constant, 1 = the highest a latent can hold
    log_amplitude: Tensor  # (N, bands), natural logarithm


def spectrum(latents: Tensor) -> Spectrum:
    """Log-amplitudes of the Fourier transform of latents (N, C, ..., H, W), low frequencies first.

    Amplitudes are averaged over channels, frames and all directions (as in the frequency analysis of T-Stitch,
    arXiv 2402.14167). Corners of the spectrum, beyond the highest frequency along one side, count as that one.
    """
    dims = [dim for dim in range(max(2, latents.ndim - 2), latents.ndim) if latents.shape[dim] > 1]
    if not dims:
        return Spectrum((0.0,), latents.double().abs().flatten(1).mean(dim=1, keepdim=True).clamp_min(_TINY).log())
    bands = min(MAX_BANDS, min(latents.shape[dim] for dim in dims) // 2 + 1)
    radius = torch.zeros([1] * latents.ndim, dtype=torch.float64)
    for dim in dims:
        line = torch.fft.fftfreq(latents.shape[dim], dtype=torch.float64) / 0.5
        radius = radius + (line**2).reshape([-1 if d == dim else 1 for d in range(latents.ndim)])
    band = (radius.sqrt() * (bands - 1)).round().long().clamp_max(bands - 1)
    amplitude = torch.fft.fftn(latents.double().cpu(), dim=dims, norm="ortho").abs()
    index = band.expand(amplitude.shape).flatten(1)
    sums = torch.zeros(len(latents), bands, dtype=torch.float64).scatter_add_(1, index, amplitude.flatten(1))
    counts = torch.bincount(index[0], minlength=bands)
    return Spectrum(tuple(k / (bands - 1) for k in range(bands)), (sums / counts).clamp_min(_TINY).log())
