"""Which models are on the device when: all at once, or one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management as mm
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key

POLICIES = ("auto", "keep", "swap")


def fits_together(patchers: Sequence[Any], latent_shape: Sequence[int]) -> bool:
    """Whether the weights of all `patchers` and the working memory of one fit on the device, by the host's estimate."""
    unique = {id(patcher.model): patcher for patcher in patchers}.values()
    device = next(iter(unique)).load_device
    weights = sum(patcher.model_size() for patcher in unique)
    batch = [2 * latent_shape[0], *latent_shape[1:]]  # conditional and unconditional in one call
    working = max(patcher.model.memory_required(batch) for patcher in unique)
    held = sum(patcher.loaded_size() for patcher in mm.loaded_models() if patcher.load_device == device)
    needed = weights * 1.1 + max(mm.minimum_inference_memory(), working + mm.extra_reserved_memory())
    return needed <= mm.get_free_memory(device) + held


def share_weights(patchers: Sequence[Any]) -> bool:
    """Whether two of `patchers` are variants of one model, so that only one of them can be applied at a time."""
    return len({id(patcher.model) for patcher in patchers}) < len(patchers)


class DeferredLoad:
    """Holds back the loading of one stage's model, which the host does at set-up, until the stage's first step."""

    def __init__(self, guider: Any) -> None:
        self._prepare: Any = None
        self._extra_models: list[Any] = []
        add_wrapper_with_key(
            WrappersMP.PREPARE_SAMPLING, "tstitch", self._hold, guider.model_options, is_model_options=True
        )

    def _hold(self, executor: Any, model: Any, noise_shape: Any, conds: Any, **kwargs: Any) -> tuple[Any, Any, list]:
        self._prepare = lambda: executor(model, noise_shape, conds, **kwargs)
        # Set-up reads model_sampling and its like from the model, so the patches of this clone must be in place.
        model.patch_model(load_weights=False)
        return model.model, conds, self._extra_models

    def load(self) -> None:
        """Make room and load, by the host's own rules."""
        _, _, models = self._prepare()
        self._extra_models[:] = models
