"""What the first model of a run had when the next one took over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..schedule import LEVEL_TOLERANCE, Schedule


class Handover:
    """Filled in while a run goes on, by references to what the sampler has anyway; empty where there is no switch."""

    def __init__(self) -> None:
        self.denoised: Tensor | None = None  # what had become of the picture, as a sampler gives it back
        self.noisy: Tensor | None = None  # the latent that the next model was given, as leftover noise is given back
        self._step: int | None = None  # the first of the next model
        self._level = 0.0

    def begin(self, schedule: Schedule, levels: list[float]) -> None:
        """levels: noise levels of the run in the coordinates of the model that leads it."""
        self.denoised = self.noisy = None
        first = schedule.intervals[0]
        self._step = first.stop if first.stop < len(schedule.owners) else None
        self._level = levels[first.stop]

    def asked(self, step: int, level: float, x: Tensor) -> None:
        """A model call; solvers of second order come back to a level with what they have corrected."""
        if step == self._step and abs(level - self._level) <= LEVEL_TOLERANCE * self._level:
            self.noisy = x.clone()  # some samplers go on in place

    def watch(self, callback: Callable[..., None] | None, step_now: Callable[[], int]) -> Callable[..., None] | None:
        """The sampler's callback, which is told the prediction of each step."""
        if self._step is None:
            return callback
        switch = self._step

        def told(step: int, denoised: Tensor, x: Tensor, total_steps: int) -> None:
            if step_now() < switch:
                self.denoised = denoised
            if callback is not None:
                callback(step, denoised, x, total_steps)

        return told

    def finish(self, model: Any) -> None:
        """Into the form of LATENTs, by the host's own `model`."""
        if self.denoised is not None:
            self.denoised = model.process_latent_out(self.denoised.float().cpu())
        if self.noisy is not None:
            level = self.noisy.new_tensor(self._level)
            noisy = model.model_sampling.inverse_noise_scaling(level, self.noisy)
            self.noisy = model.process_latent_out(noisy.float().cpu())
