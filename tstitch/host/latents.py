"""LATENT samples: empty latents fitted to the model, nested ones packed into one tensor."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import comfy.sample
import comfy.utils
from torch import Tensor

#: Keys of an empty latent in newer hosts: pixels, or frames, per latent value.
RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")


def samples_for(model: Any, latent: dict[str, Any]) -> Tensor:
    """The samples of `latent`; the host fits channels and size of empty ones to `model`."""
    fit = comfy.sample.fix_empty_latent_channels
    read = [name for name in RATIOS if name in latent and name in inspect.signature(fit).parameters]
    return fit(model, latent["samples"], **{name: latent[name] for name in read})


def unpack_nested(latent: Any, shapes: Sequence[Any]) -> Any:
    """Undo the host's packing of several latents into one tensor; its `sample` would pack them again."""
    if len(shapes) <= 1:
        return latent
    from comfy.nested_tensor import NestedTensor  # absent in hosts that pack nothing

    return NestedTensor(comfy.utils.unpack_latents(latent, shapes))


def pack_nested(latent: Any) -> Any:
    return comfy.utils.pack_latents(latent.unbind())[0] if getattr(latent, "is_nested", False) else latent
