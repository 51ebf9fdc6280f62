"""A GUIDER made of guiders: each stage keeps its own kind, conditioning and cfg."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import comfy.model_patcher
from comfy.samplers import CFGGuider

from ..checks.inputs import check_guider
from ..host.conditioning import own_conditioning
from ..host.patch_state import PatchState
from .run import SampleCall, Stitch, is_of_outer_run, run_stitched


class StitchedGuider:
    """Samples over all stages; in everything else it is the finishing guider."""

    def __init__(self, final_guider: Any, guiders: Sequence[Any], stitch: Stitch) -> None:
        for name, guider in zip(stitch.names, (*guiders, final_guider), strict=True):
            check_guider(name, guider)
        self._final, self._guiders, self._stitch = final_guider, guiders, stitch
        self._states = [PatchState(guider.model_options) for guider in (*guiders, final_guider)]

    def sample(
        self,
        noise: Any,
        latent_image: Any,
        sampler: Any,
        sigmas: Any,
        denoise_mask: Any = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
    ) -> Any:
        call = SampleCall(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed)
        for state in self._states:
            state.restore()
        guiders = [_fresh(guider) for guider in (*self._guiders, self._final)]
        if is_of_outer_run(sampler) and isinstance(guiders[-1], CFGGuider):
            guiders[-1].model_patcher = guiders[-1].model_patcher.clone()  # another stage may have the same MODEL
        return run_stitched(self._stitch, guiders, call, lambda lead: call.on(guiders[-1], lead, sigmas))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._final, name)


def _fresh(guider: Any) -> Any:
    """A copy that a run may change and leave nothing on: the host keeps the guiders of the graph for the next queue."""
    if isinstance(guider, StitchedGuider):
        return guider  # its own stages are copied when it samples
    guider = copy.copy(guider)
    guider.model_options = comfy.model_patcher.create_model_options_clone(guider.model_options)
    guider.original_conds = own_conditioning(guider.original_conds)
    return guider
