"""One noise level in two models' coordinates.

Every model mixes image and noise as x = a(sigma) x0 + b(sigma) noise. Two stages see the same signal-to-noise ratio
when b / a agrees, and then x differs by one factor only. (a, b) are read from the host's own `noise_scaling`, so no
table of classes is kept; see section 2 of arXiv 2206.00364 and section 2 of arXiv 2403.03206 for the two usual forms.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger("tstitch")

PROBES = (0.05, 0.3, 0.7, 0.95)
_EXACT = 1e-9


def mixing(model_sampling: Any, sigma: float, side: int = 1) -> tuple[float, float]:
    """Weights (a, b) of image and noise at `sigma`, asked of the host in float64, for latents of `side` x `side`."""
    level = torch.tensor([sigma], dtype=torch.float64)
    one, zero = (torch.full((1, 1, side, side), value, dtype=torch.float64) for value in (1.0, 0.0))
    a = model_sampling.noise_scaling(level, zero.clone(), one.clone())
    b = model_sampling.noise_scaling(level, one.clone(), zero.clone())
    return float(a.flatten()[0]), float(b.flatten()[0])


def same_mixing(first: Any, second: Any) -> bool:
    return first is second or all(
        math.isclose(p, q, rel_tol=_EXACT, abs_tol=_EXACT)
        for sigma in PROBES
        for p, q in zip(mixing(first, sigma), mixing(second, sigma), strict=True)
    )


#: The place of t = 1, which has no ratio of noise to image, among levels beyond a model's noisiest.
_FAR = 10.0


@dataclass(frozen=True)
class Mixing:
    """How a model mixes image and noise, and the way back from a noise-to-signal ratio to its sigma."""

    at: Callable[[float], tuple[float, float]]  # sigma -> (a, b)
    sigma_of_ratio: Callable[[float], float]  # b / a -> sigma
    sigma_max: float

    @classmethod
    def of(cls, model_sampling: Any) -> Mixing:
        probes = {sigma: mixing(model_sampling, sigma) for sigma in PROBES}
        sigma_max = float(model_sampling.sigma_max)
        if _matches(probes, lambda sigma: (1.0, sigma)):
            return cls(lambda sigma: (1.0, sigma), lambda ratio: ratio, sigma_max)
        if _matches(probes, lambda sigma: (1.0 - sigma, sigma)):
            return cls(lambda sigma: (1.0 - sigma, sigma), _flow_time, sigma_max)
        return cls(
            lambda sigma: mixing(model_sampling, sigma),
            lambda ratio: _bisect(lambda sigma: mixing(model_sampling, sigma), ratio, sigma_max),
            sigma_max,
        )


class Conversion:
    """From the coordinates of the model that leads the run to those of a stage."""

    def __init__(self, lead: Any, stage: Any) -> None:
        self._lead, self._stage = Mixing.of(lead), Mixing.of(stage)

    def __call__(self, sigma: float) -> tuple[float, float]:
        """The stage's sigma for the lead's `sigma`, and the factor on x.

        Levels above the stage's noisiest are clamped to it; the noise keeps its scale.
        """
        a, b = self._lead.at(sigma)
        if b == 0:
            return 0.0, self._stage.at(0.0)[0] / a
        ratio = b / a if a > 0 else math.inf
        top = self._stage.sigma_max
        a_top, b_top = self._stage.at(top)
        if ratio == math.inf or (a_top > 0 and ratio > b_top / a_top * (1 + 1e-4)):
            return top, b_top / b
        level = self._stage.sigma_of_ratio(ratio)
        return level, self._stage.at(level)[1] / b

    def sigmas(self, sigmas: Tensor) -> Tensor:
        """The lead's list of levels in the stage's coordinates."""
        return sigmas.new_tensor([self(float(sigma))[0] for sigma in sigmas.cpu()])

    def sampler_sigmas(self, sigmas: Tensor) -> Tensor:
        """The same for a sampler: levels above the stage's noisiest stay distinct.

        Clamped to one level, these steps would have length 0, and multistep solvers divide by it. A model with
        no levels beyond its noisiest is asked as at its noisiest, by its own `timestep`.
        """
        levels = sigmas.tolist()
        found = [self(level)[0] for level in levels]
        beyond = sum(level == self._stage.sigma_max for level in found)
        if beyond > 1 and levels[0] > levels[-1]:
            for index in reversed(range(beyond)):
                a, b = self._lead.at(levels[index])
                found[index] = self._stage.sigma_of_ratio(b / a) if a > 0 else _FAR * found[index + 1]
        return sigmas.new_tensor(found)


def conversion(lead: Any, stage: Any, sigmas: Sequence[float], name: str) -> Conversion | None:
    """Conversion from the lead's levels to the stage's; None if both use the same."""
    reaches = max(sigmas) <= float(stage.sigma_max) * (1 + 1e-4)
    if same_mixing(lead, stage) and (reaches or max(sigmas) > float(lead.sigma_max) * (1 + 1e-4)):
        return None
    if not reaches and same_mixing(lead, stage):
        warn_once(
            f"{name} knows noise up to sigma {float(stage.sigma_max):g} only, the schedule starts at {max(sigmas):g}:"
            " its first steps run at its own maximum."
        )
    return Conversion(lead, stage)


@functools.cache
def warn_once(message: str) -> None:
    logger.warning(message)


def _matches(probes: dict[float, tuple[float, float]], form: Callable[[float], tuple[float, float]]) -> bool:
    return all(
        math.isclose(p, q, rel_tol=_EXACT, abs_tol=_EXACT)
        for sigma, found in probes.items()
        for p, q in zip(found, form(sigma), strict=True)
    )


def _flow_time(ratio: float) -> float:
    return ratio / (1.0 + ratio)


def _bisect(at: Callable[[float], tuple[float, float]], ratio: float, sigma_max: float) -> float:
    low, high = 0.0, sigma_max
    for _ in range(60):
        middle = 0.5 * (low + high)
        a, b = at(middle)
        low, high = (middle, high) if b < ratio * a else (low, middle)
    return 0.5 * (low + high)
