"""Measures what every step between the levels of a fine run loses, with the host's own guiders.

For each seed the finishing model samples in many steps; every other way to take a step is then asked the same at each
level. Only sketches are kept, so a long video needs no more memory than one run of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from comfy.samplers import KSampler, sampler_object
from torch import Tensor

from ...errors import StitchError
from ...host.latents import samples_for
from ...host.noise_levels import Mixing, conversion
from ...stitch.model import ModelStage
from ...trajectory import check_sampler
from ..calibration.measure import Point, Progress, RecordingSampler, ReplaySampler, points_of, run_guider
from .edges import Edges, Products, edges_of, order_of
from .sketch import Sketcher

TEACHER = "dpmpp_2m"  # so close to the end of all steps that what it lacks counts as nothing
LEVELS, LEAST_LEVELS = 50, 4
SAMPLES = 8  # 4 fit a plan to the noise of the seeds
FIRST_SEED = 2**32  # of the fine runs, so that nobody's own seed is among them by chance


@dataclass(frozen=True)
class Option:
    """A way to take a step: a model at a size, with or without guidance."""

    name: str  # for people
    stage: ModelStage
    network: int  # options of one number share their weights, so a switch between them loads nothing


@dataclass(frozen=True)
class Course:
    """How the run goes that is planned."""

    sampler_name: str
    scheduler: str
    denoise: float = 1.0
    own: Tensor | None = None  # levels in place of the scheduler's

    def sigmas(self, model: Any, steps: int) -> Tensor:
        """The levels that the host's KSampler takes, or as dense as the own ones. Raises StitchError."""
        check_sampler(self.sampler_name, self.scheduler)
        if self.own is not None:
            return resampled(self.own, steps)
        sampler = KSampler(
            *(model, steps, model.load_device, self.sampler_name, self.scheduler, self.denoise), model_options={}
        )
        if len(sampler.sigmas) < 2:
            raise StitchError(f"denoise is {self.denoise:g}, so there is nothing to sample: raise it.")
        return sampler.sigmas

    def fine_sigmas(self, model: Any) -> Tensor:
        """Many levels that fall to 0 without a repetition. Raises StitchError where the schedule has too few."""
        sigmas = self.sigmas(model, LEVELS if self.own is None else multiple_of(len(self.own) - 1))
        levels = [float(sigma) for sigma in sigmas]
        falling = [0, *(place for place, (before, now) in enumerate(pairwise(levels), 1) if now < before)]
        if len(falling) <= LEAST_LEVELS or levels[-1] > 0:
            if self.own is not None:
                raise StitchError(
                    f"The sigmas end at {levels[-1]:g}, but a run that is planned ends at 0: connect those of a whole"
                    " run."
                )
            raise StitchError(
                f"The scheduler {self.scheduler} gives {len(falling)} noise levels down to {levels[-1]:g} here, too few"
                " to plan with: choose another, such as simple."
            )
        return sigmas[falling]


def multiple_of(steps: int) -> int:
    """About LEVELS, so that the levels of that many steps are among them."""
    return steps * max(1, round(LEVELS / steps)) if steps <= LEVELS else LEVELS


def resampled(sigmas: Tensor, steps: int) -> Tensor:
    """Levels of a run with another number of steps, in between those of `sigmas`."""
    levels = [float(sigma) for sigma in sigmas]
    found = []
    for step in range(steps + 1):
        place = step * (len(levels) - 1) / steps
        below = min(int(place + 1e-9), len(levels) - 2)
        found.append(levels[below] + (place - below) * (levels[below + 1] - levels[below]))
    return torch.tensor([*found[:-1], levels[-1]], dtype=torch.float32)


def seeds_for(latent: dict[str, Any], samples: int | None = None) -> int:
    """Runs to average over: every item of a batch is a sample too."""
    return max(1, -(-(SAMPLES if samples is None else samples) // int(latent["samples"].shape[0])))


class FineSampler(RecordingSampler):
    """Keeps the state that the run ends with, and the mask, too."""

    reached: Tensor
    mask: Tensor | None

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        self.mask = denoise_mask
        self.reached = super().sample(
            model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar
        )
        return self.reached


class FineRuns:
    """Fine runs in the making: sums of inner products over the samples."""

    def __init__(
        self, options: Sequence[Option], latent: dict[str, Any], course: Course, progress: Progress | None = None
    ) -> None:
        self._options, self._course = options, course
        model = options[-1].stage.model
        self._latent = {**latent, "samples": samples_for(model, latent)}
        self._sampling = model.get_model_object("model_sampling")
        self.sigmas = course.fine_sigmas(model)
        self._levels = [float(sigma) for sigma in self.sigmas]
        self._mixing = Mixing.of(self._sampling)
        self._progress = progress
        self._sketcher = Sketcher.of(self._latent["samples"].shape)
        steps = len(self._levels) - 1
        vectors = steps + 1 + steps * len(options)
        self._sums = torch.zeros(len(self._sketcher.bands), vectors, vectors, dtype=torch.float64)
        self._samples = 0

    @property
    def steps(self) -> int:
        """Of one fine run of one model."""
        return len(self._levels) - 1

    def add(self, seed: int) -> None:
        """Sample once with the finishing model, then ask all others the same."""
        guiders = [option.stage.plain_guider() for option in self._options]
        sampler = FineSampler(sampler_object(TEACHER), self._levels[:-1], self._mixing)
        callback = None if self._progress is None else self._progress.sampling_callback
        run_guider(guiders[-1], self._latent, sampler, self.sigmas, seed, callback)
        points = points_of(sampler, self._levels[:-1], TEACHER)
        states = [*(point.x for point in points), sampler.reached]
        mask = sampler.mask
        kept = [self._sketcher(state if mask is None else state * mask.to(state.device)) for state in states]
        answers = [self._answers(option, guiders[place], points, seed) for place, option in enumerate(self._options)]
        every = torch.stack([*kept, *(each for row in answers for each in row)]).double()  # (V, N, K)
        for band, where in enumerate(self._sketcher.bands):
            part = every[..., where].flatten(1)
            self._sums[band] += part @ part.T
        self._samples += every.shape[1]

    def endpoint(self, seed: int) -> Tensor:
        """What the finishing model draws in a fine run."""
        guider = self._options[-1].stage.plain_guider()
        callback = None if self._progress is None else self._progress.sampling_callback
        return run_guider(guider, self._latent, sampler_object(TEACHER), self.sigmas, seed, callback)

    @property
    def samples(self) -> int:
        return self._samples

    def products(self) -> Products:
        table = self._sums / self._samples
        pairs = [self._mixing.at(level) for level in self._levels]
        power = [
            float(table[band, self.steps, self.steps]) / (where.stop - where.start)
            for band, where in enumerate(self._sketcher.bands)
        ]
        return Products(
            sigmas=tuple(self._levels),
            signal=tuple(a for a, _ in pairs),
            ratio=tuple(b / a if a > 0 else np.inf for a, b in pairs),
            power=tuple(power),
            table=table.numpy(),
            models=len(self._options),
        )

    def edges(self) -> Edges:
        return edges_of(self.products(), order_of(self._course.sampler_name))

    def _answers(self, option: Option, guider: Any, points: Sequence[Point], seed: int) -> list[Tensor]:
        """Sketches of the predictions at each level."""
        if option is self._options[-1]:
            return [self._sketcher(point.denoised) for point in points]
        found: dict[int, Tensor] = {}

        def answer(step: int, denoised: Tensor, _: Point) -> None:
            found[step] = self._sketcher(denoised)

        sampling = guider.model_patcher.get_model_object("model_sampling")
        to_model = conversion(self._sampling, sampling, self._levels, option.name)
        sigmas = self.sigmas if to_model is None else to_model.sigmas(self.sigmas)
        step = self._progress.step if self._progress is not None else lambda x0, x: None
        run_guider(guider, self._latent, ReplaySampler(points, to_model, answer, step), sigmas, seed)
        return [found[place] for place in range(len(points))]
