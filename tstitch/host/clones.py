"""Clones of a MODEL, and our wrappers around their sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_patcher
from comfy.patcher_extension import WrappersMP

OURS = "tstitch"  # the key of our own wrappers


class _SharingOptions(dict[str, Any]):
    """Options whose deep copy shares its patches, as the options of the host's guiders do."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharingOptions:
        return _SharingOptions(comfy.model_patcher.create_model_options_clone(dict(self)))


def clone_sharing_patches(model: Any) -> Any:
    """A clone that shares its patches: the host's own `clone` copies all weights in them.

    Clones of the clone share them too, as patch nodes after this one make them.
    """
    options = model.model_options
    model.model_options = _SharingOptions(options)
    try:
        return model.clone()
    finally:
        model.model_options = options


def wrap_sampling(model: Any, outer_sample: Callable[..., Any]) -> None:
    """Have `outer_sample` run around the sampling of `model`, a clone of ours.

    It runs outside earlier ones: what was added last decides first.
    """
    model.wrappers.setdefault(WrappersMP.OUTER_SAMPLE, {}).setdefault(OURS, []).insert(0, outer_sample)
