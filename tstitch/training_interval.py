"""Limits the host's own LoRA training to the noise levels of one stage (fine-tuning, arXiv 2402.14167).

The host's trainer draws each noise level as `model_sampling.percent_to_sigma(u)` with u uniform in [0, 1]. A clone
whose `percent_to_sigma` maps [0, 1] to a part of the run makes it draw from that part only, with unchanged relative
frequency.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .checks.choices import check_choice
from .checks.inputs import check_model
from .errors import StitchError
from .host.model_options import is_stitched
from .resolution.model import scale_of
from .trajectory import timestep_of

UNITS = ("steps", "timestep", "sigma")
BISECTIONS = 50


@dataclass(frozen=True)
class TrainingInterval:
    """The part of a run from `start`, its noisier end, to `end`."""

    start: float
    end: float
    unit: str = "steps"

    def check(self) -> None:
        """Raise StitchError unless the interval is valid."""
        check_choice("unit", self.unit, UNITS)
        for name, value in (("start", self.start), ("end", self.end)):
            if not isinstance(value, (int, float)):
                raise StitchError(f"{name} must be a number, got {value!r}.")
            if not math.isfinite(value) or value < 0:
                raise StitchError(f"{name} must be zero or above, got {value:g}.")
            if self.unit != "sigma" and value > 1:
                raise StitchError(
                    f"{name} in unit {self.unit} goes from 0 to 1, got {value:g}: lower it, or set unit to sigma."
                )
        if self.unit == "steps" and self.end <= self.start:
            raise StitchError(
                f"end must be above start in unit steps, got start {self.start:g} and end {self.end:g}: the first 40 %"
                " of the steps are 0 and 0.4."
            )
        if self.unit != "steps" and self.end >= self.start:
            raise StitchError(
                f"end must be below start in unit {self.unit}, as the noise falls, got start {self.start:g} and end"
                f" {self.end:g}: exchange them."
            )

    def percents(self, model_sampling: Any) -> tuple[float, float]:
        """The interval as arguments of `percent_to_sigma`, 0 = noise and 1 = image. Raises StitchError."""
        self.check()
        if self.unit == "steps":
            return self.start, self.end
        of_percent = functools.partial(_level, self.unit, model_sampling)
        top = 1.0 if self.unit == "timestep" else float(model_sampling.sigma_max)
        if self.end >= top:
            raise StitchError(
                f"end is sigma {self.end:g}, but the noise of this model begins at sigma {top:g}, so nothing would be"
                " left to train: lower end."
            )
        start, end = (_percent(value, top, of_percent) for value in (self.start, self.end))
        if math.isclose(start, end):
            raise StitchError(
                f"start {self.start:g} and end {self.end:g} in unit {self.unit} are the same noise level to this"
                " model: move them apart."
            )
        return start, end


def _level(unit: str, model_sampling: Any, percent: float) -> float:
    sigma = float(model_sampling.percent_to_sigma(percent))
    return timestep_of(sigma, model_sampling) if unit == "timestep" else sigma


def _percent(level: float, top: float, level_of_percent: Callable[[float], float]) -> float:
    """The percent at which the falling `level_of_percent` reaches `level`."""
    if level >= top:
        return 0.0
    if level <= 0:
        return 1.0
    above, below = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (above + below) / 2
        above, below = (above, middle) if level_of_percent(middle) <= level else (middle, below)
    return below


class IntervalSampling:
    """Mixin for a model's own sampling class."""

    percents: tuple[float, float]  # of the interval's start and end
    levels: tuple[float, float]  # their sigmas, the lower first

    def percent_to_sigma(self, percent: float) -> float:
        """The host's; mapped into the interval while gradients are recorded, that is, in training only."""
        own: Any = super()
        if not torch.is_grad_enabled():
            return own.percent_to_sigma(percent)
        start, end = self.percents
        sigma = float(own.percent_to_sigma(start + percent * (end - start)))
        low, high = self.levels
        return min(max(sigma, low), high)


def limit_training(model: Any, interval: TrainingInterval) -> Any:
    """A clone of `model` that is trained in `interval` only; sampling is unchanged.

    Raises StitchError.
    """
    check_model("model", model)
    if is_stitched(model):
        raise StitchError(
            "model is already stitched from several models, and a LoRA is trained on one: connect the model of the"
            " stage itself."
        )
    if scale_of(model) < 1:
        raise StitchError(
            f"model is asked at {scale_of(model):g} of the resolution in sampling, and a LoRA is trained at the size of"
            " its pictures: connect the model as it is before Low-Resolution Model, and train on smaller pictures."
        )
    base = model.get_model_object("model_sampling")
    if isinstance(base, IntervalSampling):
        raise StitchError("model already has a Training Interval: connect the model as it is before that node.")
    start, end = interval.percents(base)
    limited = model.clone()
    if (start, end) != (0, 1):
        limited.add_object_patch("model_sampling", _limited_sampling(base, start, end))
    return limited


def _limited_sampling(base: Any, start: float, end: float) -> Any:
    sampling = copy.deepcopy(base)
    sampling.__class__ = type(f"Interval{type(base).__name__}", (IntervalSampling, type(base)), {})
    sampling.percents = (start, end)
    sampling.levels = (
        float(base.percent_to_sigma(end)),
        min(float(base.percent_to_sigma(start)), float(base.sigma_max)),
    )
    return sampling
