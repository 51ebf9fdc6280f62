"""The step size of Shortcut models (section 3 of arXiv 2410.12557), read from the noise levels of the run."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import weakref

import torch
from torch import Tensor

logger = logging.getLogger("tstitch")

FINEST = 7  # log2 of the 128 steps of the plain flow model
_ROUNDING = 1e-4


def step_level(sigmas: Tensor, sample_sigmas: Tensor | None) -> Tensor:
    """log2(1 / d) of the step that each of `sigmas` (N,) belongs to, rounded to a trained one (N,).

    Step j covers (sigma_{j+1}, sigma_j], as in the schedule. Stays on the device, so that nothing waits for the GPU.
    """
    if sample_sigmas is None:
        return torch.full_like(sigmas, FINEST)
    levels = sample_sigmas.to(sigmas)[None]  # (1, T + 1)
    lower = levels < sigmas[:, None] - _ROUNDING
    below = torch.where(lower, levels, 0).amax(dim=1)
    above = torch.where(lower, torch.inf, levels).amin(dim=1)
    sizes = torch.where(above.isinf(), sigmas, above) - below
    return (-sizes.clamp(min=2.0**-FINEST).log2()).round().clamp(0, FINEST)  # (N,)


class StepSizeCheck:
    """Warns of step sizes that no Shortcut model was trained for; checks each list of noise levels once."""

    def __init__(self) -> None:
        self._seen: weakref.ref[Tensor] | None = None

    def __call__(self, sample_sigmas: Tensor | None) -> None:
        if sample_sigmas is None or (self._seen is not None and self._seen() is sample_sigmas):
            return
        self._seen = weakref.ref(sample_sigmas)
        levels = sample_sigmas.tolist()
        sizes = [high - low for high, low in itertools.pairwise(levels)]
        if any(size > 0 and not _is_trained(size) for size in sizes):
            _warn_once(len(sizes))


def _is_trained(size: float) -> bool:
    level = -math.log2(size)
    nearest = min(max(round(level), 0), FINEST)
    return abs(level - nearest) < 0.02


@functools.cache
def _warn_once(steps: int) -> None:
    logger.warning(
        "A Shortcut model was trained for steps of 1, 1/2, 1/4 ... 1/128 of the way only, and some of these %d steps"
        " have another size: the nearest is used. Use 1, 2, 4 ... 128 steps with the scheduler simple.",
        steps,
    )
