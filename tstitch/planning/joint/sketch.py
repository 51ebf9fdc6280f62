"""Latents in a few thousand numbers that keep their inner products, by bands of spatial frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...resolution.scaling import dct_matrix

LARGEST = 8192  # numbers a sample
BANDS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, math.inf)  # upper ends, 1 = the highest frequency along one side
SEED = 0


@dataclass(frozen=True)
class Sketcher:
    """A linear map of latents (N, ...) of one shape: cosine coefficients, small enough as they are, else summed up.

    Large latents are added up with random signs into random places of their band (count sketch, Charikar et al. 2002),
    which keeps inner products on average.
    """

    rows: Tensor | None  # DCT of the height and of the width; None for latents without them
    columns: Tensor | None
    place: Tensor  # of each coefficient in the sketch
    sign: Tensor
    bands: tuple[slice, ...]  # of the sketch

    @classmethod
    def of(cls, shape: Sequence[int]) -> Sketcher:
        """shape: of a batch of latents."""
        values = math.prod(shape[1:])
        if len(shape) < 4:
            rows = columns = None
            band = torch.zeros(values, dtype=torch.int64)
        else:
            height, width = shape[-2:]
            rows, columns = dct_matrix(height).float(), dct_matrix(width).float()
            frequency = torch.hypot(torch.arange(height)[:, None] / height, torch.arange(width)[None] / width)
            of_pixel = torch.bucketize(frequency, torch.tensor(BANDS[:-1]))
            band = of_pixel.expand(*shape[1:]).reshape(-1)
        random = torch.Generator().manual_seed(SEED)
        place, sign = torch.empty(values, dtype=torch.int64), torch.ones(values)
        if values > LARGEST:
            sign = torch.randint(0, 2, (values,), generator=random).mul(2).sub(1).float()
        bands, start, present = [], 0, band.unique().tolist()
        for each in present:
            members = torch.nonzero(band == each).reshape(-1)
            size = len(members) if values <= LARGEST else min(len(members), LARGEST // len(present))
            if size < len(members):
                place[members] = start + torch.randint(0, size, (len(members),), generator=random)
            else:
                place[members] = start + torch.arange(size)
            bands.append(slice(start, start + size))
            start += size
        return cls(rows, columns, place, sign, tuple(bands))

    def __call__(self, latents: Tensor) -> Tensor:
        """(N, K) float32 in main memory."""
        values = latents.detach().to("cpu", torch.float32)
        if self.rows is not None and self.columns is not None:
            values = self.rows @ values @ self.columns.T
        values = values.reshape(len(values), -1) * self.sign
        return values.new_zeros(len(values), self.bands[-1].stop).index_add_(1, self.place, values)
