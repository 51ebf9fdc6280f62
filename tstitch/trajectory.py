"""Reads the noise levels of a run off the host's tensors, once, before sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from comfy.samplers import KSampler
from torch import Tensor

from .schedule import Trajectory


@dataclass(frozen=True)
class FullSchedule:
    """Where a run stands in the schedule it is a part of, where the node knows."""

    total_steps: int
    first_step: int = 0


def read_trajectory(sigmas: Tensor, model_sampling: Any, full_schedule: FullSchedule | None = None) -> Trajectory:
    """The levels of `sigmas` (T + 1,) as plain numbers.

    Without `full_schedule`, the run counts as whole when it starts within one step of the noisiest level and ends
    without noise; else fractions are taken of the noise range (the host's `percent_to_sigma`).
    """
    levels = tuple(float(sigma) for sigma in sigmas.cpu())
    timesteps = tuple(timestep_of(level, model_sampling) for level in levels)
    if full_schedule is None and _is_whole(levels, timesteps, model_sampling):
        full_schedule = FullSchedule(len(levels) - 1)
    return Trajectory(
        sigmas=levels,
        timesteps=timesteps,
        sigma_of_fraction=lambda fraction: float(model_sampling.percent_to_sigma(fraction)),
        first_step=full_schedule.first_step if full_schedule else 0,
        total_steps=full_schedule.total_steps if full_schedule else None,
    )


def timestep_of(sigma: float, model_sampling: Any) -> float:
    """Noise level t in [0, 1]: the host's timestep over its largest, or over its range where it may be negative."""
    if sigma <= 0:
        return 0.0

    def timestep(level: float) -> float:
        return float(model_sampling.timestep(torch.tensor([level], dtype=torch.float32)).reshape(-1)[0])

    bottom, top = timestep(float(model_sampling.sigma_min)), timestep(float(model_sampling.sigma_max))
    if bottom >= 0:
        return timestep(sigma) / top
    return (timestep(sigma) - bottom) / (top - bottom)


def _is_whole(levels: tuple[float, ...], timesteps: tuple[float, ...], model_sampling: Any) -> bool:
    if len(levels) < 2 or levels[-1] > float(model_sampling.sigma_min) * (1 + 1e-4):
        return False
    one_step_up = timesteps[0] + (timesteps[0] - timesteps[1])
    return one_step_up >= 1 - 1e-3


def ksampler_schedule(
    model: Any, steps: int, sampler_name: str, scheduler: str, denoise: float = 1.0, start_at_step: int = 0
) -> FullSchedule:
    """The whole schedule that a KSampler's run is a part of, by the host's own arithmetic."""
    if denoise <= 0:
        return FullSchedule(0)  # the host samples nothing
    whole = steps if denoise > 0.9999 else int(steps / denoise)
    total = len(KSampler(model, whole, model.load_device, sampler_name, scheduler).sigmas) - 1
    return FullSchedule(total, start_at_step if denoise > 0.9999 else total - steps)
