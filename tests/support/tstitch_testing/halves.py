"""Two stages without nesting: each half of an Euler run by the host alone, with its own guider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.sample
import comfy.samplers
import torch
from comfy.samplers import KSAMPLER, CFGGuider
from torch import Tensor

from tstitch_testing.models import conditioning


def cfg_guider(model: Any, cfg: float = 3.0, positive: Any = None, negative: Any = None) -> CFGGuider:
    guider = CFGGuider(model)
    guider.set_conds(
        conditioning(0.4) if positive is None else positive, conditioning(-0.2) if negative is None else negative
    )
    guider.set_cfg(cfg)
    return guider


def normal_sigmas(model: Any, steps: int, denoise: float = 1.0) -> Tensor:
    return comfy.samplers.KSampler(model, steps, model.load_device, "euler", "normal", denoise).sigmas


def whole(guider: Any, latent: Tensor, sigmas: Tensor, seed: int = 1, sampler: str = "euler", **options: Any) -> Tensor:
    """One ordinary run of the host."""
    noise = comfy.sample.prepare_noise(latent, seed)
    sampler_object = comfy.samplers.sampler_object(sampler)
    return guider.sample(noise, latent, sampler_object, sigmas, disable_pbar=True, seed=seed, **options)


def halves(
    guiders: Sequence[Any], splits: Sequence[int], latent: Tensor, sigmas: Tensor, seed: int = 1, **options: Any
) -> Tensor:
    """`guiders` one after another, the next from step `splits`; all models mix image and noise the same way."""
    noise = comfy.sample.prepare_noise(latent, seed)
    carried: list[Tensor] = []

    def part(first: int, last: int) -> Any:
        def sample(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any, callback: Any, disable: Any) -> Tensor:
            x = carried[-1] if carried else x
            for now, after in zip(sigmas[first:last], sigmas[first + 1 : last + 1], strict=True):
                denoised = model(x, now * x.new_ones([x.shape[0]]), **extra_args)
                x = x + (x - denoised) / now * (after - now)
            carried.append(x)
            return x

        return KSAMPLER(sample)

    bounds = [0, *splits, len(sigmas) - 1]
    for guider, first, last in zip(guiders, bounds[:-1], bounds[1:], strict=True):
        result = guider.sample(noise, latent, part(first, last), sigmas, disable_pbar=True, seed=seed, **options)
    assert not torch.isnan(result).any()
    return result
