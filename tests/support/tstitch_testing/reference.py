"""Two models in one loop in the simplest way that can be right: the engine's results are held against it."""

from __future__ import annotations

from typing import Any

import comfy.sample
import comfy.samplers
import torch
from comfy.samplers import CFGGuider, sampling_function
from torch import Tensor

from tstitch_testing.models import conditioning


class DispatchingGuider(CFGGuider):
    """CFG on whichever of two models owns the noise level: `small` above `boundary`, `large` from there on.

    Both must read the same conditioning and coordinates; nothing but the analytic models is meant to run here.
    """

    def __init__(self, small: Any, large: Any, boundary: float) -> None:
        super().__init__(large)
        self.small, self.boundary = small, boundary

    def predict_noise(self, x: Tensor, timestep: Tensor, model_options: Any = None, seed: int | None = None) -> Tensor:
        above = float(timestep.reshape(-1)[0]) > self.boundary * (1 + 1e-5)
        model = self.small.model if above else self.inner_model
        return sampling_function(
            model, x, timestep, self.conds["negative"], self.conds["positive"], self.cfg, model_options or {}, seed
        )


def sigmas_of(model: Any, sampler: str, scheduler: str = "normal", steps: int = 8, denoise: float = 1.0) -> Tensor:
    return comfy.samplers.KSampler(model, steps, model.load_device, sampler, scheduler, denoise).sigmas


def dispatched(
    small: Any,
    large: Any,
    boundary: float,
    sampler: str,
    sigmas: Tensor,
    latent: Tensor | None = None,
    cfg: float = 3.0,
    seed: int = 1,
) -> Tensor:
    """One sampling loop over both models."""
    if latent is None:
        latent = torch.zeros(2, 4, 6, 5)
    guider = DispatchingGuider(small, large, boundary)
    guider.set_conds(conditioning(0.4), conditioning(-0.2))
    guider.set_cfg(cfg)
    small.model.current_patcher = small
    try:
        return guider.sample(
            comfy.sample.prepare_noise(latent, seed),
            latent,
            comfy.samplers.sampler_object(sampler),
            sigmas,
            disable_pbar=True,
            seed=seed,
        )
    finally:
        small.model.current_patcher = None
