"""Noise levels of a run that has not started, for the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
import torch
from comfy.samplers import KSampler

from ..checks.choices import check_choice
from ..errors import StitchError
from ..trajectory import check_sampler, read_trajectory

MAX_STEPS = 1000  # of the whole schedule; the page shows longer ones without noise levels

#: Fractions at which the host's `percent_to_sigma` is sampled: every split with two decimals is one of them.
FRACTIONS = 200


class EpsSampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """As the host puts one together for SD 1.x and SDXL."""


class FlowSampling(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    """As the host puts one together for flow models."""


@dataclass(frozen=True)
class PlannedRun:
    """Settings of a KSampler or scheduler node."""

    steps: int
    scheduler: str
    sampler_name: str = "euler"
    denoise: float = 1.0
    start: int = 0  # first step that is run
    end: int = MAX_STEPS  # step to stop before
    leftover_noise: bool = False  # else a run that stops early ends without noise
    sampling: str = "eps"  # eps: the noise table of SD 1.x, 2.x and SDXL; flow: with `shift`
    shift: float = 1.0

    def __post_init__(self) -> None:
        """Raises StitchError."""
        check_sampler(self.sampler_name, self.scheduler)
        check_choice("sampling", self.sampling, ("eps", "flow"))
        if not (math.isfinite(self.shift) and 0 < self.shift <= 100):
            raise StitchError(f"shift must lie between 0 and 100, got {self.shift:g}.")
        if not 0 < self.denoise <= 1:
            raise StitchError(f"denoise must lie between 0 and 1, got {self.denoise:g}.")
        if not 1 <= self.steps <= MAX_STEPS or self.steps / self.denoise >= MAX_STEPS + 1:
            raise StitchError(
                f"The whole schedule must have 1 to {MAX_STEPS} steps, got {self.steps} steps at denoise"
                f" {self.denoise:g}."
            )
        if not 0 <= self.start < self.end:
            raise StitchError(f"The run must start before it ends, got {self.start} and {self.end}.")

    @property
    def total_steps(self) -> int:
        return self.steps if self.denoise > 0.9999 else int(self.steps / self.denoise)

    def model_sampling(self) -> Any:
        if self.sampling == "eps":
            return EpsSampling()
        flow = FlowSampling()
        flow.set_parameters(shift=self.shift)
        return flow


@lru_cache(maxsize=64)
def preview_levels(planned: PlannedRun) -> dict[str, Any]:
    """Sigmas and t of the run, by the host's own arithmetic, on a model of a common kind. Raises StitchError.

    `whole` is false where the MODEL surface cannot know the full schedule and takes a fraction as a noise level: that
    of `fraction_sigmas`, which stand for fractions evenly spaced from 0 to 1; `starts` is false where it does not know
    the number of the first step either.
    """
    model_sampling = planned.model_sampling()
    model: Any = SimpleNamespace(get_model_object=lambda name: model_sampling)
    device = torch.device("cpu")
    full = KSampler(model, planned.total_steps, device, planned.sampler_name, planned.scheduler).sigmas
    first = max(0, len(full) - 1 - planned.steps) + planned.start if planned.denoise <= 0.9999 else planned.start
    sigmas = full[: first - planned.start + planned.end + 1].clone()
    if len(sigmas) - 1 <= first:
        raise StitchError(f"The run starts at step {first}, but the schedule has {len(full) - 1}.")
    if not planned.leftover_noise:
        sigmas[-1] = 0
    if not bool(sigmas.isfinite().all()):
        raise StitchError(
            f"{planned.scheduler} gives levels that are no numbers with steps at {planned.total_steps}: raise steps."
        )
    run = read_trajectory(sigmas[first:], model_sampling)
    return {
        "sigmas": run.sigmas,
        "timesteps": run.timesteps,
        "noises": run.noises,
        "first_step": first,
        "total_steps": len(full) - 1,
        "whole": run.total_steps is not None,
        "starts": run.first_step == 0,
        "fraction_sigmas": [run.sigma_of_fraction(step / FRACTIONS) for step in range(FRACTIONS + 1)],
    }
