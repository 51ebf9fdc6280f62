"""Reads the noise levels of a run from the host's tensors, once, before sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from comfy.samplers import KSampler
from torch import Tensor

from .checks.choices import check_choice
from .errors import StitchError
from .host.noise_levels import Mixing
from .schedule import Trajectory


@dataclass(frozen=True)
class FullSchedule:
    """Position of a run in the full schedule, for nodes that know it."""

    total_steps: int
    first_step: int = 0


def read_trajectory(sigmas: Tensor, model_sampling: Any, full_schedule: FullSchedule | None = None) -> Trajectory:
    """The levels of `sigmas` (T + 1,) as plain numbers.

    Without `full_schedule`, the run counts as whole when it starts within one step of the noisiest level and ends
    without noise; else fractions are taken of the noise range (the host's `percent_to_sigma`), and the number of its
    first step is known only where it starts there, or where the noise rises.
    """
    levels = tuple(sigmas.tolist())
    timesteps = timesteps_of(levels, model_sampling)
    first_step: int | None = 0 if _starts_whole(levels, timesteps) else None
    total_steps: int | None = None
    if full_schedule is not None:
        first_step, total_steps = full_schedule.first_step, full_schedule.total_steps
    elif first_step == 0 and levels[-1] <= float(model_sampling.sigma_min) * (1 + 1e-4):
        total_steps = len(levels) - 1
    return Trajectory(
        sigmas=levels,
        timesteps=timesteps,
        sigma_of_fraction=lambda fraction: float(model_sampling.percent_to_sigma(fraction)),
        first_step=first_step,
        total_steps=total_steps,
        noises=noises_of(levels, model_sampling),
    )


def timestep_of(sigma: float, model_sampling: Any) -> float:
    """As `timesteps_of`, for one level."""
    return timesteps_of([sigma], model_sampling)[0]


def timesteps_of(sigmas: Sequence[float], model_sampling: Any) -> tuple[float, ...]:
    """Noise levels t in [0, 1]: the host's timestep over its largest, or over its range where that is not above 0.

    A few models count the other way: their timestep is largest without noise.
    """
    bottom, top = float(model_sampling.sigma_min), float(model_sampling.sigma_max)
    levels = torch.tensor([bottom, top, *(bottom if sigma <= 0 else sigma for sigma in sigmas)])
    bottom, top, *found = model_sampling.timestep(levels).reshape(-1).tolist()  # in one call: long runs have thousands
    if bottom < top:
        bottom = min(bottom, 0.0)
    return tuple(0.0 if sigma <= 0 else (t - bottom) / (top - bottom) for sigma, t in zip(sigmas, found, strict=True))


def noises_of(sigmas: Sequence[float], model_sampling: Any) -> tuple[float, ...]:
    """The share of noise r / (1 + r), with r the ratio of noise to signal: it means the same for every model."""
    pairs = map(Mixing.of(model_sampling).at, sigmas)
    return tuple(b / (a + b) if a > 0 else 1.0 for a, b in pairs)


def sigma_of_noise(noise: float, model_sampling: Any) -> float:
    """The other way round."""
    found = Mixing.of(model_sampling)
    return found.sigma_of_ratio(noise / (1 - noise)) if noise < 1 else found.sigma_max


def sigma_of_timestep(t: float, model_sampling: Any) -> float:
    """The other way round: the sigma of a noise level t in [0, 1].

    The host's `sigma` is no inverse of its `timestep` where a flow model has a time shift, which only `sigma` applies.
    """
    low, high = float(model_sampling.sigma_min), float(model_sampling.sigma_max)
    bottom, top = _timestep(low, model_sampling), _timestep(high, model_sampling)
    if bottom < top:
        bottom = min(bottom, 0.0)
    wanted = bottom + t * (top - bottom)
    found = float(model_sampling.sigma(torch.tensor(wanted)))
    if abs(_timestep(found, model_sampling) - wanted) <= abs(top - bottom) / 1000:
        return found
    if bottom == 0.0 < top:
        low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        if (_timestep(middle, model_sampling) < wanted) == (bottom < top):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def largest_timestep(model_sampling: Any) -> float:
    """As people count: in thousandths where the host's own are parts of 1."""
    found = _timestep(float(model_sampling.sigma_max), model_sampling)
    return found if found > 1 else 1000.0


def _timestep(sigma: float, model_sampling: Any) -> float:
    return float(model_sampling.timestep(torch.tensor(sigma)))


def _starts_whole(levels: tuple[float, ...], timesteps: tuple[float, ...]) -> bool:
    if len(levels) < 2:
        return False
    if levels[-1] > levels[0]:
        return True
    one_step_up = timesteps[0] + (timesteps[0] - timesteps[1])
    return one_step_up >= 1 - 1e-3


def check_sampler(sampler_name: str, scheduler: str) -> None:
    """Raise StitchError for an unknown name, for which the host's KSampler would silently use its first choice."""
    check_choice("sampler_name", sampler_name, KSampler.SAMPLERS)
    check_choice("scheduler", scheduler, KSampler.SCHEDULERS)


def check_sigmas(name: str, sigmas: Any) -> None:
    """Raise StitchError unless `sigmas` are noise levels that fall from step to step."""
    if not isinstance(sigmas, Tensor) or sigmas.ndim != 1:
        raise StitchError(f"{name} is of type {type(sigmas).__name__}, not SIGMAS: connect BasicScheduler or its like.")
    levels = [float(sigma) for sigma in sigmas.cpu()]
    if len(levels) < 2:
        raise StitchError(f"{name} holds no step: connect a scheduler with one step or more.")
    for before, now in pairwise(levels):
        if not now < before:
            raise StitchError(
                f"{name} must fall from step to step, but {before:g} comes before {now:g}: connect a scheduler that"
                " leads to the image."
            )


def ksampler_schedule(
    model: Any, steps: int, sampler_name: str, scheduler: str, denoise: float = 1.0, start_at_step: int = 0
) -> FullSchedule:
    """The whole schedule that a KSampler's run is a part of, by the host's own arithmetic. Raises StitchError."""
    check_sampler(sampler_name, scheduler)
    if denoise <= 0:
        return FullSchedule(0)  # the host samples nothing
    whole = steps if denoise > 0.9999 else int(steps / denoise)
    total = len(KSampler(model, whole, model.load_device, sampler_name, scheduler).sigmas) - 1
    return FullSchedule(total, start_at_step if denoise > 0.9999 else max(total - steps, 0))
