"""Between a latent and a smaller one of the same picture, in the cosine domain (arXiv 2605.18736).

C is the orthonormal DCT-II. Down keeps the low frequencies, D(x) = C_h^T (C_H x C_W^T)[:h, :w] C_w / k with
k = sqrt(HW / hw); up, U, puts them back. D U = I, and white noise of standard deviation s stays white with s / k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: From where on, in parts of the smaller latent's highest frequency, its spectrum tells that of the finer detail.
FITTED_FROM = 0.25
STEEPEST = 6.0  # power law that is believed
_TINY = 1e-12


def dct_matrix(size: int) -> Tensor:
    """The orthonormal DCT-II (size, size) in float64: frequency by position."""
    frequency, place = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * frequency * (2 * place + 1) / (2 * size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def smaller_size(height: int, width: int, scale: float, multiple: int) -> tuple[int, int]:
    """Height and width at `scale`, multiples of what the model's patches or U-Net levels need; never above the full."""
    return _smaller(height, scale, multiple), _smaller(width, scale, multiple)


def _smaller(length: int, scale: float, multiple: int) -> int:
    return min(length, max(multiple, math.floor(length * scale / multiple + 0.5) * multiple))


@dataclass(frozen=True)
class Scaling:
    """Between latents (..., H, W) and (..., h, w), on one device in one type."""

    full: tuple[int, int]
    small: tuple[int, int]
    rows: Tensor  # C_H
    columns: Tensor  # C_W
    small_rows: Tensor  # C_h
    small_columns: Tensor  # C_w
    frequency: Tensor  # (H, W), of each coefficient, 1 = the highest along one side
    fit: PowerFit

    @classmethod
    def of(
        cls, full: Sequence[int], small: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> Scaling:
        (height, width), (h, w) = full, small
        rows, columns, small_rows, small_columns = (
            dct_matrix(size).to(dtype).to(device) for size in (height, width, h, w)
        )
        down, across = torch.arange(height) / height, torch.arange(width) / width
        frequency = torch.hypot(down[:, None], across).to(dtype).to(device)
        fit = PowerFit.of(frequency, (h, w), min(h / height, w / width))
        return cls((height, width), (h, w), rows, columns, small_rows, small_columns, frequency, fit)

    @property
    def k(self) -> float:
        """Factor by which averaging quiets the noise."""
        return math.sqrt(self.full[0] * self.full[1] / (self.small[0] * self.small[1]))

    def spectrum(self, x: Tensor) -> Tensor:
        """Cosine coefficients (..., H, W) of a full-size latent."""
        return self.rows @ x.to(self.rows.dtype) @ self.columns.T

    def down(self, spectrum: Tensor) -> Tensor:
        """D: the smaller latent (..., h, w) of `spectrum` (..., H, W)."""
        h, w = self.small
        return self.small_rows.T @ spectrum[..., :h, :w] @ self.small_columns / self.k

    def shrink(self, latent: Tensor) -> Tensor:
        """D(x) of a latent (..., H, W) of any device and type, on which it stays."""
        return self.down(self.spectrum(latent.to(self.rows.device))).to(latent.device, latent.dtype)

    def up(self, y: Tensor, noisy: Tensor | None = None, ratio: float = math.inf) -> Tensor:
        """U y, with the detail that `y` lacks estimated from the noisy latent: x0 = U y + G (x / a - U D x / a).

        noisy: coefficients (..., H, W) of x / a, whose noise has standard deviation `ratio` = b / a; without it the
        detail stays empty. G = P / (P + ratio^2) is the Wiener gain, with a power law P = A w^-beta that fits the
        spectrum of `y`, carried on to the frequencies above it.
        """
        h, w = self.small
        low = self.k * (self.small_rows @ y.to(self.rows.dtype) @ self.small_columns.T)
        if noisy is None:
            whole = low.new_zeros(*low.shape[:-2], *self.full)
        else:
            power = self._power(low, ratio)
            whole = noisy * (power / (power + ratio * ratio))
        whole[..., :h, :w] = low
        return self.rows.T @ whole @ self.columns

    def _power(self, low: Tensor, ratio: float) -> Tensor:
        """Power P (..., H, W) of x0 at each frequency, a power law of what `low` (..., h, w) shows of it.

        `low` is a posterior mean, whose power is S = P^2 / (P + ratio^2) for a Gaussian field: S is fitted by least
        squares in its upper octaves, and P = (S + sqrt(S^2 + 4 S ratio^2)) / 2 carried on from the last of them.
        """
        # The logarithm of a squared normal coefficient lies 1.27 below that of its variance on average.
        y = (low.square() + _TINY).log() + 1.2704
        mean = (self.fit.mean * y).sum((-2, -1), keepdim=True)
        slope = (self.fit.slope * y).sum((-2, -1), keepdim=True)

        def log_power(place: float) -> Tensor:
            shown = (mean + slope * (place - self.fit.centre)).exp()
            return ((shown + (shown.square() + 4 * shown * ratio * ratio).sqrt()) / 2).log()

        top, octave = log_power(0.0), math.log(2)
        steepness = ((top - log_power(-octave)) / octave).clamp(-STEEPEST, 0.0)
        return (top + steepness * self.fit.place).exp()


@dataclass(frozen=True)
class PowerFit:
    """Least squares of a power law, of which only the values to fit change from call to call."""

    mean: Tensor  # (h, w), weights that sum to the mean of the values
    slope: Tensor  # (h, w), weights that sum to their slope over `place`
    centre: float  # mean place
    place: Tensor  # (H, W), logarithm of the frequency in parts of the smaller latent's highest

    @classmethod
    def of(cls, frequency: Tensor, small: Sequence[int], limit: float) -> PowerFit:
        place = (frequency / limit).clamp_min(_TINY).log()
        h, w = small
        fitted, x = frequency[:h, :w], place[:h, :w]
        weight = ((fitted >= FITTED_FROM * limit) & (fitted > 0)).to(frequency.dtype)
        mean = weight / weight.sum().clamp_min(1.0)
        centre = (mean * x).sum()
        spread = (weight * (x - centre).square()).sum().clamp_min(_TINY)
        return cls(mean, weight * (x - centre) / spread, float(centre), place)
