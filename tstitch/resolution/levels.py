"""Noise levels of a run as a smaller latent has them: averaging quiets the noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..host.conditioning import controls_of, keyframes_of
from ..host.noise_levels import Mixing

ALWAYS = 1e8  # the host's sigma of "from the very start" lies above
TIMED = ("start_percent", "end_percent", "start_t", "end_t")


class SmallerLevel:
    """A noise level of the run as the smaller latent has it: the ratio of noise to signal is k times smaller.

    For flow models t' = t / (t + k (1 - t)), section 5.3.2 of arXiv 2403.03206 read backwards; sigma' = sigma / k else.
    """

    def __init__(self, model_sampling: Any, k: float) -> None:
        self.sampling, self.k = model_sampling, k
        self._mixing = Mixing.of(model_sampling)

    def mixing(self, sigma: float) -> tuple[float, float]:
        return self._mixing.at(sigma)

    def __call__(self, sigma: float) -> tuple[float, float]:
        """The smaller latent's sigma, and the factor on D(x)."""
        a, b = self._mixing.at(sigma)
        if b == 0 or self.k == 1:
            return sigma, 1.0
        if a <= 0:
            return sigma, self.k
        level = self._mixing.sigma_of_ratio(b / a / self.k)
        return level, self.k * self._mixing.at(level)[1] / b

    def sigma(self, sigma: float) -> float:
        return self(sigma)[0]

    def sigmas(self, sigmas: Tensor) -> Tensor:
        return sigmas.new_tensor([self.sigma(sigma) for sigma in sigmas.tolist()])

    def larger_sigmas(self, sigmas: Tensor) -> Tensor:
        """The way back, from the smaller latent's levels to those of the run."""
        back = SmallerLevel(self.sampling, 1 / self.k)
        return back.sigmas(sigmas)

    def of_percent(self, percent: float) -> float:
        """Where a percent of the run begins, as the smaller latent has it."""
        sigma = float(self.sampling.percent_to_sigma(percent))
        return self.sigma(sigma) if 0 < sigma < ALWAYS else sigma


def fit_times(guider: Any, model_options: dict[str, Any], level: SmallerLevel) -> None:
    """Have what is timed begin and end at the noise of the run, not of the smaller latent.

    These are conditioning, ControlNets and hooks of a guider that the host has prepared, and what nodes such as
    EasyCache keep in its options for this run.
    """
    of_percent, conds = level.of_percent, getattr(guider, "conds", {})
    for entries in conds.values():
        for entry in entries:
            _fit_range(entry, of_percent)
    for control in controls_of(conds):
        control.timestep_range = tuple(of_percent(percent) for percent in control.timestep_percent_range)
    for keyframes in keyframes_of(conds):
        for keyframe in keyframes.keyframes:
            keyframe.start_t = of_percent(keyframe.start_percent)
    for value in model_options.get("transformer_options", {}).values():
        if all(hasattr(value, name) for name in TIMED):
            value.start_t, value.end_t = of_percent(value.start_percent), of_percent(value.end_percent)


def _fit_range(entry: dict[str, Any], of_percent: Callable[[float], float]) -> None:
    """As the host's `calculate_start_end_timesteps`."""
    if "clip_start_percent" in entry:
        entry["timestep_start"] = of_percent(max(entry["clip_start_percent"], entry.get("start_percent", 0.0)))
        entry["timestep_end"] = of_percent(min(entry["clip_end_percent"], entry.get("end_percent", 1.0)))
        return
    for percent, bound in (("start_percent", "timestep_start"), ("end_percent", "timestep_end")):
        if percent in entry:
            entry[bound] = of_percent(entry[percent])
