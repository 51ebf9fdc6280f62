"""LATENTs as the host's sampler nodes read them."""

from __future__ import annotations

import inspect
from typing import Any

import comfy.sample
from torch import Tensor

#: What newer hosts note beside an empty latent: how many pixels, or frames, one of its values stands for.
RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")


def samples_for(model: Any, latent: dict[str, Any]) -> Tensor:
    """The samples of `latent`; where they are empty, the host gives them the channels and the size that fit `model`."""
    fit = comfy.sample.fix_empty_latent_channels
    read = [name for name in RATIOS if name in latent and name in inspect.signature(fit).parameters]
    return fit(model, latent["samples"], **{name: latent[name] for name in read})
