"""Training for the noise levels of one stage only, the fine-tuning that T-Stitch allows (arXiv 2402.14167).

Noise levels are t in [0, 1] with t = 1 noise: the first 40 % of the steps of a flow model, with its time shift of 3,
start from t in (0.818, 1], those of S-eps from t in (0.6, 1].
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

DDPM_STEPS = 1000


class TrainingInputError(ValueError):
    """A wrong argument of a training run, as one sentence."""


@dataclass(frozen=True)
class Interval:
    """Noise levels low <= t <= high."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise TrainingInputError(
                f"--interval takes two noise levels t that rise within 0 to 1, got {self.low:g} {self.high:g}:"
                " write 0.82 1 for the first 40 % of the steps."
            )

    def flow_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Logit-normal times (count,) (section 3.1 of arXiv 2403.03206), conditioned on the interval.

        Both intervals draw the same random numbers, so that runs differ in nothing but the interval.
        """
        normal = torch.randn(count, generator=generator, device=generator.device)
        if self == WHOLE:
            return normal.sigmoid()
        low, high = torch.special.ndtr(torch.tensor([self.low, self.high], dtype=torch.float64).logit())
        quantile = low + (high - low) * torch.special.ndtr(normal.double())
        return torch.special.ndtri(quantile).sigmoid().float().clamp(self.low, self.high)

    def ddpm_steps(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform step numbers (count,) of the DDPM schedule."""
        first = min(round(self.low * DDPM_STEPS), DDPM_STEPS - 1)
        end = max(round(self.high * DDPM_STEPS), first + 1)
        return torch.randint(first, end, (count,), generator=generator, device=generator.device)


WHOLE = Interval()


@dataclass(frozen=True)
class FineTuning:
    """What a run changes about a recipe."""

    out: Path  # where the weights go
    interval: Interval = WHOLE
    start: Path | None = None  # weights to begin with
    images: int | None = None  # length of the run

    RATE = 0.25  # factor on the recipe's learning rates where the run begins with trained weights

    @property
    def rate(self) -> float:
        return 1.0 if self.start is None else self.RATE

    def run_name(self, model: str) -> str:
        """Name of the checkpoint to resume from: another one as soon as the run is another one."""
        parts = [model, f"t{self.interval.low:g}-{self.interval.high:g}"]
        if self.start:
            parts.append(f"from-{self.start.stem}-{hashlib.sha256(self.start.read_bytes()).hexdigest()[:8]}")
        parts += [] if self.images is None else [str(self.images)]
        return "_".join(parts)
