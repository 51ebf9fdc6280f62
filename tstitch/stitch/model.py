"""A MODEL that samples with several models: works in any node that takes a MODEL."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.model_patcher
import comfy.utils
from comfy.samplers import CFGGuider

from ..checks.inputs import check_model
from ..host.clones import clone_sharing_patches, wrap_sampling
from ..host.conditioning import own_conditioning, patchable
from ..host.latents import pack_nested, unpack_nested
from ..host.memory import keep_pinned
from ..host.model_options import added_after, remember_options, with_additions
from ..host.patch_state import PatchState
from ..schedule import ScheduleSpec
from .notes import NetworkState
from .run import SampleCall, Stitch, run_stitched

logger = logging.getLogger("tstitch")

SPEC = "tstitch_schedule"  # attachment of a joined MODEL


@dataclass(frozen=True)
class ModelStage:
    """A model of a run, also the finishing one; conditioning and cfg default to those of the sampling node."""

    model: Any
    positive: Any = None
    negative: Any = None
    cfg: float | None = None

    def plain_guider(self, cfg: float | None = None) -> CFGGuider:
        """The host's own guider for this model alone; `cfg` is the default for stages without one."""
        guider = CFGGuider(self.model)
        guider.set_conds(self.positive, self.negative)
        guider.set_cfg(cfg if self.cfg is None else self.cfg)
        return guider

    def guider_like(self, template: Any, of_the_run: dict[str, Any]) -> Any:
        """The sampling node's own kind of guider, on this model; `of_the_run` are options on top of its own."""
        guider = copy.copy(template)
        guider.model_patcher = self.model
        own = comfy.model_patcher.create_model_options_clone(self.model.model_options)
        guider.model_options = with_additions(own, {}, of_the_run)
        guider.original_conds = dict(template.original_conds)
        conds = {"positive": self.positive, "negative": self.negative}
        guider.inner_set_conds({key: cond for key, cond in conds.items() if cond is not None})
        guider.original_conds = own_conditioning(guider.original_conds)
        guider.model_patcher = patchable(guider.model_patcher, guider.original_conds)
        if self.cfg is not None:
            guider.set_cfg(self.cfg)
        return guider


def stitch_model(final_model: Any, stages: Sequence[ModelStage], stitch: Stitch) -> Any:
    """A clone of `final_model` whose sampling runs are stitched. The inputs stay as they are. Raises StitchError."""
    for name, value in zip(stitch.names, [*(stage.model for stage in stages), final_model], strict=True):
        check_model(name, value)

    model = clone_sharing_patches(final_model)
    join, before_join = remember_options(model.model_options), NetworkState.of(model)
    states = [PatchState(each.model_options) for each in (*(stage.model for stage in stages), final_model)]
    model.set_attachments(SPEC, stitch.spec)

    def outer_sample(executor: Any, *args: Any, **kwargs: Any) -> Any:
        template = executor.class_obj
        call, run_last = inner_call(executor, args, kwargs)
        for state in states:
            state.restore()
        shared, notes = options_of_the_run(template.model_options, join), []
        if note := before_join.note(NetworkState.of(template.model_patcher), stitch.names[-1]):
            logger.info("T-Stitch: %s", note)
            notes.append(note)
        guiders = [stage.guider_like(template, shared) for stage in stages] + [template]
        return pack_nested(run_stitched(stitch, guiders, call, run_last, notes))

    wrap_sampling(model, outer_sample)
    return model


def joined_spec(model: Any) -> ScheduleSpec | None:
    """What a joined MODEL was joined by; None for another."""
    return model.attachments.get(SPEC)


def options_of_the_run(options: dict[str, Any], join: str) -> dict[str, Any]:
    """Options added to the joined MODEL since, which act in all stages: guidance, masks and context windows."""
    added, patched = added_after(options, join)
    if added and patched:
        logger.info(
            "T-Stitch: guidance that was added after the models were joined acts in the steps of the finishing model"
            " only, since patches of its network were added too. Put both before the join, on each model."
        )
        return {}
    return added


def inner_call(executor: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[SampleCall, Callable[[Any], Any]]:
    """The arguments of an OUTER_SAMPLE wrapper as those of a guider's `sample`, and how to go on with a sampler."""
    names = ("noise", "latent_image", "sampler", "sigmas", "denoise_mask", "callback", "disable_pbar", "seed")
    given: dict[str, Any] = {"denoise_mask": None, "callback": None, "disable_pbar": False, "seed": None}
    given |= dict(zip(names, args, strict=False))
    given |= {name: kwargs[name] for name in names if name in kwargs}
    more = {name: value for name, value in kwargs.items() if name not in names}
    packing, noise = more.get("latent_shapes") or (), given["noise"]
    call = SampleCall(
        unpack_nested(noise, packing),
        unpack_nested(given["latent_image"], packing),
        given["sampler"],
        given["sigmas"],
        _unprepared(given["denoise_mask"], noise, packing),
        _on_packed(given["callback"]),
        given["disable_pbar"],
        given["seed"],
    )

    def go_on(sampler: Any) -> Any:
        return executor(*({**given, "sampler": sampler}[name] for name in names), **more)

    return call, go_on


@contextmanager
def stitched_for_one_run(final_model: Any, stages: Sequence[ModelStage], stitch: Stitch) -> Iterator[Any]:
    """As `stitch_model`, for a clone that is dropped after the run."""
    model = stitch_model(final_model, stages, stitch)
    try:
        yield model
    finally:
        keep_pinned(model)


def _unprepared(mask: Any, noise: Any, shapes: Sequence[Any]) -> Any:
    """The mask as the node gave it. Newer hosts have resized it by now, and would do so twice."""
    if mask is None or mask.shape != noise.shape:
        return mask
    if len(shapes) <= 1:
        return mask[:, :1]
    from comfy.nested_tensor import NestedTensor

    return NestedTensor([part[:, :1] for part in comfy.utils.unpack_latents(mask, shapes)])


def _on_packed(callback: Any) -> Any:
    """Newer hosts have wrapped the callback to unpack its arguments already."""
    if callback is None:
        return None
    return lambda step, x0, x, total_steps: callback(step, pack_nested(x0), pack_nested(x), total_steps)
