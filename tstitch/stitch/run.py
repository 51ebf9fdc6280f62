"""Trajectory stitching: several denoisers, one sampling loop (T-Stitch, arXiv 2402.14167).

Every stage is an ordinary guider of the host. Their `sample` calls are nested: each is given, instead of a sampler, a
continuation that enters the next stage, so the host prepares and cleans up every model itself. Innermost, the real
sampler runs once, on a router that hands each model call to the stage that owns its noise level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.utils
import torch
from comfy.samplers import CFGGuider, pre_run_control
from torch import Tensor

from ..checks.choices import check_choice
from ..checks.compatibility import check_asked, check_latents, parts_of
from ..host.conditioning import keyframes_of
from ..host.devices import clock_of, synchronize
from ..host.latents import pack_nested
from ..host.levels import filled, followed, level_of, unfollowed
from ..host.memory import POLICIES, StageLoader, fits_together, share_weights, unload_model
from ..host.model_options import with_additions
from ..host.noise_levels import Conversion, conversion, warn_once
from ..host.patch_state import network_key, opening
from ..host.samplers import DenoiserInPlace, SamplerInPlace, samplers_within
from ..resolution.levels import SmallerLevel, fit_times
from ..resolution.model import LowResolutionDenoiser, check_shape, run_sigmas, scale_of, shrinkage, size_at
from ..schedule import Schedule, ScheduleSpec, StageLookup
from ..trajectory import FullSchedule, read_trajectory
from .handover import Handover
from .notes import one_sentence, settings_note
from .report import Report

#: Option of a call: what is told when a weak model guides it.
GUIDED = "tstitch_guided"


def tell_of_guidance(model_options: dict[str, Any]) -> None:
    """Have the report of the run, where there is one, count an answer of a weak model."""
    tell = model_options.get(GUIDED)
    if tell is not None:
        tell()


@dataclass(frozen=True)
class Stitch:
    """A request: the schedule, the memory policy, and the report to fill in."""

    spec: ScheduleSpec
    memory: str
    names: tuple[str, ...]  # of all stages in run order, as in messages and reports: the inputs' names
    report: Report
    full_schedule: FullSchedule | None = None
    handover: Handover | None = None  # to be filled in, if it is wanted

    def __post_init__(self) -> None:
        check_choice("memory", self.memory, POLICIES)


@dataclass(frozen=True)
class SampleCall:
    """The arguments of a guider's `sample`."""

    noise: Any
    latent_image: Any
    sampler: Any
    sigmas: Tensor
    denoise_mask: Any = None
    callback: Callable[..., None] | None = None
    disable_pbar: bool = False
    seed: int | None = None

    def on(self, guider: Any, sampler: Any, sigmas: Tensor) -> Any:
        return guider.sample(
            self.noise,
            self.latent_image,
            sampler,
            sigmas,
            denoise_mask=self.denoise_mask,
            callback=self.callback,
            disable_pbar=self.disable_pbar,
            seed=self.seed,
        )


class Stage:
    """One guider of a run, and what the host prepared for it once it is entered."""

    def __init__(self, index: int, guider: Any, stage_conversion: Conversion | None) -> None:
        self.index, self.guider, self.conversion = index, guider, stage_conversion
        self.patcher = guider.model_patcher
        self.loader: StageLoader | None = None  # a stitched guider sees to its own models
        self.shares_model = False  # with another stage, whose patches must then be out of the way
        self.predict: Callable[..., Tensor]  # the guider, or the router of a model that is made of stages
        self.model_options: dict[str, Any]
        self.nested: StageRouter | None = None  # of a model that is made of stages itself
        self.shrinkage = 1.0  # of the noise, at the smaller sizes at which the whole run is asked
        self._first_step: int | None = None  # that it was asked for in this run
        self._low_resolution: list[LowResolutionDenoiser] = []  # the outermost first
        self._keyframes: list[Any] = []  # of the hooks in its conditioning
        self._sample_sigmas: Tensor | None = None  # on the CPU

    def prepared(self, model_wrap: Callable[..., Tensor], extra_args: dict[str, Any]) -> None:
        self.predict, self.model_options = model_wrap, extra_args["model_options"]
        inner: Any = model_wrap
        while isinstance(inner, LowResolutionDenoiser):
            self._low_resolution.append(inner)
            inner = inner.inner
        self.nested = inner if isinstance(inner, StageRouter) else None
        self._keyframes = keyframes_of(getattr(self.guider, "conds", {}))
        self._sample_sigmas = None
        self._fit_times()

    def options_at(self, step: int, options: dict[str, Any], asked: set[Any]) -> dict[str, Any]:
        """`options` of a call in `step`, for patches that begin anew where a run does.

        asked: keys of the networks that were asked in this run. One with the same patches goes on where it was.
        """
        if self._first_step is None:
            key = network_key(self.patcher.model, self.model_options)
            self._first_step = 0 if key in asked else step
            asked.add(key)
        if step == 0 or step != self._first_step or self.nested is not None:
            return options
        return opening(options, step)

    def begin_interval(self, before: Stage | None, swap: bool) -> None:
        """Take over from the stage `before`; with `swap`, that one makes room first."""
        if before is not None:
            before.leave(unload=swap and not self.patcher.is_clone(before.patcher))
        if self.loader is None or self.nested is not None:
            return
        if self.loader.is_loaded(in_full=True):
            self.loader.mark_used()
        else:
            self._load(self.loader)

    def leave(self, unload: bool) -> None:
        if self.nested is not None:
            self.nested.leave(unload)
            return
        self.patcher.clean_hooks()  # what was cached for a keyframe may be out of date when this stage is back
        if unload:
            unload_model(self.patcher)
            self.patcher.model.current_patcher = self.patcher  # with which Qwen-Image 2.1 lets go of what it has cached

    def put_in_place(self) -> None:
        """Make this the stage whose weights and patches are in place."""
        if self.loader is not None and self.nested is None and not self.loader.is_loaded(in_full=False):
            self._load(self.loader)
        else:
            self.restore_patches()
        if getattr(self.patcher.model, "current_patcher", self.patcher) is not self.patcher:
            self.patcher.model.current_patcher = self.patcher

    def restore_patches(self) -> None:
        if self.shares_model or self._lacks_object_patches():
            self.patcher.patch_model(load_weights=False)

    def _lacks_object_patches(self) -> bool:
        """True after the host has evicted the model."""
        patches = self.patcher.object_patches.items()
        return any(comfy.utils.get_attr(self.patcher.model, name) is not patch for name, patch in patches)

    def put_away(self) -> None:
        """Take the patches of objects out; those of hooks go when the turn ends, as weights are slow to patch."""
        if self.shares_model:
            self.patcher.unpatch_model(unpatch_weights=False)

    def pass_over(self, level: float) -> None:
        """Advance the keyframes of this stage during another stage's step."""
        if self.conversion is not None:
            level = self.conversion(level)[0]
        for denoiser in self._low_resolution:
            level = denoiser.smaller(level)
        if self.nested is not None:
            self.nested.pass_over(level)
        for keyframes in self._keyframes:  # on the CPU, as they are compared there
            if self._sample_sigmas is None:
                self._sample_sigmas = self.model_options["transformer_options"]["sample_sigmas"].cpu()
            options = {"sample_sigmas": self._sample_sigmas}
            keyframes.prepare_current_keyframe(curr_t=torch.tensor(level), transformer_options=options)

    def _load(self, loader: StageLoader) -> None:
        self.patcher.unpatch_hooks()  # a variant of the model that was evicted took them along
        loader.load_late()
        for conds in self.guider.conds.values():  # some ControlNets take weights of the model over
            pre_run_control(self.guider.inner_model, conds)
        self._fit_times()

    def _fit_times(self) -> None:
        k = math.prod((self.shrinkage, *(denoiser.k for denoiser in self._low_resolution)))
        if k != 1 and self.nested is None:  # stages of its own do so themselves
            fit_times(self.guider, self.model_options, SmallerLevel(self.guider.inner_model.model_sampling, k))


class Waypoint(SamplerInPlace):
    """Sampler of a stage that does not lead: stores what the host prepared and enters the next stage."""

    def __init__(self, stage: Stage, proceed: Callable[[], Any], sampler: Any) -> None:
        self._stage, self._proceed, self.inner = stage, proceed, sampler
        self.result: Any = None

    def sample(
        self, model_wrap: Any, sigmas: Tensor, extra_args: dict, callback: Any, noise: Tensor, *_: Any
    ) -> Tensor:
        self._stage.prepared(model_wrap, extra_args)
        self._stage.put_away()
        self.result = self._proceed()
        return noise  # the host scales these as the stage's samples, but nobody reads them


class StageSampler(SamplerInPlace):
    """Wraps the real sampler to run it on several models; all other attributes are the real one's."""

    def __init__(self, sampler: Any) -> None:
        self.inner = sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class LeadSampler(StageSampler):
    """The real sampler, run on the router instead of on the leading stage alone."""

    def __init__(self, sampler: Any, lead: Stage, stages: Sequence[Stage], schedule: Schedule, stitch: Stitch) -> None:
        super().__init__(sampler)
        self._lead, self._stages, self._schedule = lead, stages, schedule
        self._report, self._swap, self._handover = stitch.report, stitch.memory == "swap", stitch.handover

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        self._lead.prepared(model_wrap, extra_args)
        levels = sigmas.tolist()
        lookup = StageLookup(self._schedule, levels)
        if denoise_mask is not None:
            serve_masks(self._stages, self._lead, lookup, extra_args["model_options"])
        handover = None if getattr(noise, "is_nested", False) else self._handover
        if handover is not None:
            handover.begin(self._schedule, levels)
            callback = handover.watch(callback, lambda: self._report.step)
        router = Router(self._lead, self._stages, lookup, self._report, self._swap, handover)
        self._report.measure_by(clock_of(noise.device))
        try:
            with followed(sigmas):
                samples = self.inner.sample(
                    router, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar
                )
            synchronize(self._lead.patcher.load_device)  # once per run, for the seconds of the last call
            self._report.finish()
            if handover is not None:
                handover.finish(model_wrap.inner_model)
            return samples
        finally:
            self._report.stop()


def serve_masks(stages: Sequence[Stage], lead: Stage, lookup: StageLookup, options: dict[str, Any]) -> None:
    """Have a mask function of an earlier stage act in that stage's steps: the host asks the leading stage's alone.

    options: the sampler's, which are changed. A stage without a function has the leading stage's, if there is one.
    """
    common = options.get("denoise_mask_function")
    own = {stage.index: stage.model_options.get("denoise_mask_function", common) for stage in stages}
    own[lead.index] = common
    if all(function is common for function in own.values()):
        return

    def mask_of_stage(sigma: Tensor, denoise_mask: Tensor, extra_options: dict[str, Any]) -> Tensor:
        function = own[lookup.owner(step_of(level_of(sigma), sigma, lookup))]
        return denoise_mask if function is None else function(sigma, denoise_mask, extra_options=extra_options)

    options["denoise_mask_function"] = mask_of_stage


def step_of(level: float, sigma: Tensor, lookup: StageLookup) -> int:
    """The step of a call at `level`, which is as precise as `sigma`, of which it was read."""
    return lookup.step(level, torch.finfo(sigma.dtype).eps / 2)


class StageRouter(DenoiserInPlace):
    """The denoiser the sampler calls, made of stages. Everything but the call itself is the leading stage's."""

    def __init__(self, lead: Stage, stages: Sequence[Stage], swap: bool) -> None:
        self._lead, self._swap = lead, swap
        self._stages = {stage.index: stage for stage in stages}
        self._current: Stage | None = None
        self._asked: set[Any] = set()

    def pass_over(self, level: float) -> None:
        for stage in self._stages.values():
            stage.pass_over(level)

    def leave(self, unload: bool) -> None:
        """As `Stage.leave`, for all stages of this run."""
        for stage in self._stages.values():
            stage.leave(unload)
        self._current = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lead.predict, name)


class Router(StageRouter):
    """Hands each call to the stage that owns its noise level."""

    def __init__(
        self,
        lead: Stage,
        stages: Sequence[Stage],
        lookup: StageLookup,
        report: Report,
        swap: bool,
        handover: Handover | None = None,
    ) -> None:
        super().__init__(lead, stages, swap)
        self._lookup, self._report, self._handover = lookup, report, handover
        self._options_before = with_additions({}, {}, lead.model_options)

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None = None, **kwargs: Any) -> Tensor:
        with unfollowed():
            return self._answer(x, sigma, model_options, kwargs)

    def _answer(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None, kwargs: dict[str, Any]) -> Tensor:
        level = level_of(sigma)
        step = step_of(level, sigma, self._lookup)
        stage = self._stages[self._lookup.owner(step)]
        self._report.count(stage.index, step)
        if self._handover is not None:
            self._handover.asked(step, level, x)
        options = self._lead.model_options if model_options is None else model_options
        if stage is not self._lead:
            options = with_additions(stage.model_options, self._options_before, options)
        options = stage.options_at(step, options, self._asked)
        options = {**options, GUIDED: self._guidance_counter(stage, options.get(GUIDED))}
        if stage.conversion is not None:
            stage_level, factor = stage.conversion(level)
            x, sigma = x * factor, filled(sigma, stage_level)
        device = stage.patcher.load_device  # another one where the models are spread over several GPUs
        with self._turn_of(stage, level):
            options.update(stage.loader.for_calls if stage.loader is not None else {})
            return stage.predict(x.to(device), sigma.to(device), model_options=options, **kwargs).to(x.device)

    def _guidance_counter(self, stage: Stage, of_outer_run: Callable[[], None] | None) -> Callable[[], None]:
        """A plain function: patches may copy options deeply, which copies what a bound method or a `partial` holds."""

        def count() -> None:
            self._report.uses[stage.index].weak_calls += 1
            if of_outer_run is not None:
                of_outer_run()

        return count

    @contextmanager
    def _turn_of(self, stage: Stage, level: float) -> Iterator[None]:
        """Between the calls, the patches of the leading stage are in place: samplers read its model."""
        if stage is not self._lead:
            self._lead.put_away()
        if stage is not self._current:
            stage.begin_interval(self._current, self._swap)
            self._current = stage
        stage.put_in_place()
        yield
        if stage is not self._lead:
            stage.put_away()
            self._lead.restore_patches()
        for other in self._stages.values():
            if other is not stage:
                other.pass_over(level)


def run_stitched(
    stitch: Stitch,
    guiders: Sequence[Any],
    call: SampleCall,
    run_last: Callable[[Any], Any],
    notes: Sequence[str] = (),
) -> Any:
    """Sample once over all stages.

    guiders: one per stage in run order, the finishing one last; they may be changed. run_last: runs the last guider
    with the given sampler and returns its result. notes: for the report. Raises StitchError, before anything is loaded
    where that is possible.
    """
    separate_patchers(guiders, is_of_outer_run(call.sampler))
    parts = parts_of(stitch.names, guiders)
    check_latents(parts, call.latent_image)
    samplings = [guider.model_patcher.get_model_object("model_sampling") for guider in guiders]
    levels_of_all = run_sigmas(call.sampler, call.sigmas, samplings[-1])
    trajectory = read_trajectory(levels_of_all, samplings[-1], stitch.full_schedule)
    if trajectory.steps < 1:
        return run_last(call.sampler)
    schedule = stitch.spec.resolve(trajectory)
    if stitch.spec.counts_otherwise(trajectory):
        warn_once(
            "T-Stitch: the pattern has as many steps as this run, but counts the whole schedule, of which the run is a"
            " part (img2img, a hi-res pass, a later start): its counts are read as shares of the whole. For the steps"
            " of this run alone, set splits in unit timestep or sigma."
        )
    used = schedule.stages
    asked = [parts[index] for index in used]
    check_asked(asked, call.latent_image)
    names, patchers = [part.name for part in asked], [part.guider.model_patcher for part in asked]
    sizes = latent_sizes(patchers, call.noise)
    settings = settings_note(names, patchers)
    stitch.report.begin(schedule, trajectory, dict(zip(used, sizes, strict=True)), [*notes, *filter(None, [settings])])

    last, leader = len(guiders) - 1, used[-1]
    levels_of_run = call.sigmas.tolist()
    to_lead = conversion(samplings[last], samplings[leader], levels_of_run, stitch.names[leader])
    sigmas = call.sigmas if to_lead is None else to_lead.sampler_sigmas(call.sigmas)
    levels = sigmas.tolist()
    stages = [
        Stage(index, guiders[index], conversion(samplings[leader], samplings[index], levels, stitch.names[index]))
        for index in used
    ]
    lead = stages[-1]
    sampler = LeadSampler(call.sampler, lead, stages, schedule, stitch)
    proceed = partial(run_last, sampler) if leader == last else partial(call.on, lead.guider, sampler, sigmas)
    with one_sentence(names, [part.guider for part in asked]):
        return run_together(stages, call, sigmas, stitch.memory, proceed)


def run_together(
    stages: Sequence[Stage], call: SampleCall, sigmas: Tensor, memory: str, run_lead: Callable[[], Any]
) -> Any:
    """Have the host prepare all stages, then `run_lead`, which prepares the last of them and samples.

    sigmas: of the run, in the coordinates of the last stage.
    """
    nested = is_of_outer_run(call.sampler)
    prepare_loading(memory, stages, pack_nested(call.noise).shape, nested)
    for stage in stages:
        stage.shrinkage = shrinkage(call.sampler)
    proceed = run_lead
    for stage in reversed(stages[:-1]):
        own_sigmas = sigmas if stage.conversion is None else stage.conversion.sigmas(sigmas)
        proceed = partial(enter, stage, proceed, call, own_sigmas)
    try:
        return proceed()
    finally:
        for stage in stages:
            if stage.loader is not None:
                stage.loader.release()


def latent_sizes(patchers: Sequence[Any], noise: Any) -> list[tuple[int, int] | None]:
    """Latent height and width of each model, None if they are the run's. Raises StitchError."""
    sizes: list[tuple[int, int] | None] = []
    for patcher in patchers:
        scale = scale_of(patcher)
        if scale < 1:
            check_shape(noise, ())
        sizes.append(size_at(scale, patcher, noise.shape) if scale < 1 else None)
    return sizes


def is_of_outer_run(sampler: Any) -> bool:
    """Whether `sampler` belongs to an outer run of which this run is a stage."""
    return any(isinstance(each, (Waypoint, StageSampler)) for each in samplers_within(sampler))


def enter(stage: Stage, proceed: Callable[[], Any], call: SampleCall, sigmas: Tensor) -> Any:
    """Have the host prepare `stage`, and continue inside that state."""
    waypoint = Waypoint(stage, proceed, call.sampler)
    call.on(stage.guider, waypoint, sigmas)
    return waypoint.result


def prepare_loading(memory: str, stages: Sequence[Stage], latent_shape: Sequence[int], nested: bool) -> None:
    """Defer the loading of each model to its first step, unless all may and can stay on the device.

    nested: this run is a stage of another run, and loads its own models.
    """
    alone = len(stages) == 1
    if alone and not nested:
        return
    patchers = [stage.patcher for stage in stages]
    conds = [getattr(stage.guider, "original_conds", {}) for stage in stages]
    options = [stage.guider.model_options for stage in stages]
    fit = memory == "auto" and not alone and fits_together(patchers, conds, latent_shape, options)
    together = not alone and (memory == "keep" or fit)
    for stage in stages:
        stage.shares_model = sum(stage.patcher.is_clone(patcher) for patcher in patchers) > 1
        if isinstance(stage.guider, CFGGuider):
            stage.loader = StageLoader(stage.guider, deferred=not together or share_weights(patchers))


def separate_patchers(guiders: Sequence[Any], nested: bool = False) -> None:
    """Give stages that share a MODEL a clone each: hooks of the conditioning register on the MODEL.

    nested: this run is a stage of another one, whose stages may have the same MODEL.
    """
    for index, guider in enumerate(guiders):
        later = guiders[index + 1 :]
        if isinstance(guider, CFGGuider) and (
            (nested and later) or any(guider.model_patcher is other.model_patcher for other in later)
        ):
            guider.model_patcher = guider.model_patcher.clone()
