"""A MODEL whose guidance asks a smaller model in place of asking the large one twice.

Weak model: the negative is the small model's answer to the positive prompt, as in AutoGuidance (arXiv 2406.02507).
Cheap negative: its answer to the negative prompt. Both cost one call of each model. Guidance can be limited to a part
of the run (arXiv 2404.07724); outside of it the large model is asked once, for the positive prompt alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.model_patcher
import comfy.samplers
from comfy.samplers import CFGGuider
from torch import Tensor

from ..checks.choices import check_choice
from ..checks.compatibility import check_run, parts_of
from ..checks.inputs import check_model
from ..errors import StitchError
from ..host.clones import clone_sharing_patches, wrap_sampling
from ..host.conditioning import own_conditioning, patchable
from ..host.latents import pack_nested
from ..host.levels import filled, followed, level_of, unfollowed
from ..host.memory import POLICIES
from ..host.model_options import added_after, remember_options
from ..host.noise_levels import conversion
from ..resolution.levels import SmallerLevel
from ..resolution.model import shrinkage
from ..resolution.scaling import Scaling
from ..schedule import Schedule, StageLookup
from ..stitch.model import inner_call
from ..stitch.run import (
    SampleCall,
    Stage,
    StageRouter,
    StageSampler,
    is_of_outer_run,
    latent_sizes,
    run_together,
    separate_patchers,
    step_of,
    tell_of_guidance,
)

MODES = ("weak model", "cheap negative")
NAMES = ("weak_model", "model")
KEY = "sampler_calc_cond_batch_function"
OF_BOTH = ("context_handler",)  # options put on the guided MODEL that the weak model takes over


@dataclass(frozen=True)
class Guidance:
    """What the person asked for."""

    mode: str = MODES[0]
    start_percent: float = 0.0  # of the run, where guidance begins
    end_percent: float = 1.0
    memory: str = "auto"

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_choice("memory", self.memory, POLICIES)
        for name, value in (("start_percent", self.start_percent), ("end_percent", self.end_percent)):
            if not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise StitchError(f"{name} goes from 0 to 1 of the run, got {value!r}.")
        if self.end_percent < self.start_percent:
            raise StitchError(
                f"The guidance would end at {self.end_percent:g}, before it starts at {self.start_percent:g}: exchange"
                " start_percent and end_percent."
            )

    @property
    def prompt(self) -> str:
        """Which conditioning the weak model reads."""
        return "positive" if self.mode == MODES[0] else "negative"


def guided_model(model: Any, weak_model: Any, guidance: Guidance) -> Any:
    """A clone of `model` that is guided by `weak_model`. The inputs stay as they are. Raises StitchError."""
    check_model("model", model)
    check_model("weak_model", weak_model)

    def outer_sample(executor: Any, *args: Any, **kwargs: Any) -> Any:
        template = executor.class_obj
        check_guider_kind(template)
        call, run_last = inner_call(executor, args, kwargs)
        weak = weak_guider(weak_model, template, guidance.prompt)
        added, _ = added_after(template.model_options, join)
        weak.model_options.update((key, added[key]) for key in OF_BOTH if key in added)
        return pack_nested(run_guided(guidance, weak, template, call, run_last))

    clone = clone_sharing_patches(model)
    join = remember_options(clone.model_options)  # it is made of several from now on
    wrap_sampling(clone, outer_sample)
    return clone


def check_guider_kind(guider: Any) -> None:
    """Raise StitchError unless the guider asks for a positive and a negative answer in the host's usual way."""
    if type(guider).predict_noise is not CFGGuider.predict_noise or "negative" not in guider.original_conds:
        raise StitchError(
            f"Small-Model Guidance takes the place of the negative answer, but the guider {type(guider).__name__} asks"
            " for none, or in a way of its own: use a KSampler or CFGGuider."
        )


def weak_guider(weak_model: Any, template: Any, prompt: str) -> CFGGuider:
    """The host's own guider for the weak model's answer to one prompt of `template`."""
    guider = CFGGuider(weak_model)
    guider.model_options = comfy.model_patcher.create_model_options_clone(weak_model.model_options)
    guider.original_conds = own_conditioning({"positive": template.original_conds[prompt]})
    guider.model_patcher = patchable(weak_model, guider.original_conds)
    return guider


def run_guided(guidance: Guidance, weak: Any, template: Any, call: SampleCall, run_last: Any) -> Any:
    """Sample with `template`, guided by the guider `weak`. Raises StitchError before anything is loaded."""
    if call.sigmas.shape[-1] < 2:
        return run_last(call.sampler)
    guiders = [weak, template]
    separate_patchers(guiders, is_of_outer_run(call.sampler))
    check_run(parts_of(NAMES, guiders), call.latent_image)
    latent_sizes([guider.model_patcher for guider in guiders], call.noise)
    samplings = [guider.model_patcher.get_model_object("model_sampling") for guider in guiders]
    levels = call.sigmas.tolist()
    small = Stage(0, guiders[0], conversion(samplings[1], samplings[0], levels, NAMES[0]))
    lead = Stage(1, guiders[1], None)
    level = SmallerLevel(samplings[1], shrinkage(call.sampler))
    start, end = level.of_percent(guidance.start_percent), level.of_percent(guidance.end_percent)
    sampler = GuidedSampler(call.sampler, lead, small, start, end, guidance.memory == "swap")
    return run_together([small, lead], call, call.sigmas, guidance.memory, partial(run_last, sampler))


class GuidedSampler(StageSampler):
    """The real sampler, run on the large model with the weak one at its side."""

    def __init__(self, sampler: Any, lead: Stage, weak: Stage, start: float, end: float, swap: bool) -> None:
        super().__init__(sampler)
        self._lead, self._weak = lead, weak
        self._start, self._end, self._swap = start, end, swap

    def sample(self, model_wrap: Any, sigmas: Tensor, extra_args: dict[str, Any], *rest: Any) -> Tensor:
        self._lead.prepared(model_wrap, extra_args)
        lookup = StageLookup(Schedule((0,) * (len(sigmas) - 1)), sigmas.tolist())
        router = GuidedRouter(self._lead, self._weak, lookup, self._start, self._end, self._swap)
        with followed(sigmas):
            return self.inner.sample(router, sigmas, extra_args, *rest)


class GuidedRouter(StageRouter):
    """The denoiser the sampler calls: the large model, whose second answer the weak one gives."""

    def __init__(self, lead: Stage, weak: Stage, lookup: StageLookup, start: float, end: float, swap: bool) -> None:
        super().__init__(lead, [weak, lead], swap)
        self._weak, self._lookup, self._start, self._end = weak, lookup, start, end
        self._scalings: dict[tuple[int, ...], Scaling] = {}

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None = None, **kwargs: Any) -> Tensor:
        with unfollowed():
            return self._answer(x, sigma, model_options, kwargs)

    def _answer(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None, kwargs: dict[str, Any]) -> Tensor:
        level = level_of(sigma)
        options = self._lead.model_options if model_options is None else model_options
        guided = self._start >= level > self._end
        earlier = options.get(KEY)
        if not guided:
            self._weak.pass_over(level)
        if self._current is None:
            self._current = self._lead
            self._lead.begin_interval(None, self._swap)
        self._lead.put_in_place()
        device = self._lead.patcher.load_device
        own, asked = x.to(device), sigma.to(device)
        step = step_of(level, sigma, self._lookup)
        answer = (
            partial(self._guided, own, asked, level, step, earlier, kwargs) if guided else partial(_unguided, earlier)
        )
        options = {**self._lead.options_at(step, options, self._asked), KEY: answer}
        return self._lead.predict(own, asked, model_options=options, **kwargs).to(x.device)

    def _guided(
        self,
        x: Tensor,
        sigma: Tensor,
        level: float,
        step: int,
        earlier: Any,
        kwargs: dict[str, Any],
        args: dict[str, Any],
    ) -> list[Tensor]:
        """Both answers, the weak model's to the run's own x: the large one may be asked in another form of it."""
        cond, uncond = args["conds"]
        if uncond is None:  # cfg 1
            return _answers(earlier, args, [cond, None])
        weak = self._weak
        if weak.conversion is not None:
            weak_level, factor = weak.conversion(level)
            x, sigma = x * factor, filled(sigma, weak_level)
        device = weak.patcher.load_device
        self._hand_over(self._lead, weak)
        options = weak.options_at(step, weak.model_options, self._asked)
        negative = weak.predict(x.to(device), sigma.to(device), model_options=options, **kwargs)
        self._hand_over(weak, self._lead)
        tell_of_guidance(args["model_options"])
        positive = _answers(earlier, args, [cond, None])[0]
        return [positive, self._as_large_as(positive, negative).to(positive.device)]

    def _as_large_as(self, positive: Tensor, negative: Tensor) -> Tensor:
        """The weak model's answer as a stage at a lower resolution gives its own."""
        full, small = tuple(negative.shape[-2:]), tuple(positive.shape[-2:])
        if full == small:
            return negative
        key = (*full, *small)
        if key not in self._scalings:
            self._scalings[key] = Scaling.of(full, small, negative.device)
        return self._scalings[key].shrink(negative)

    def _hand_over(self, before: Stage, after: Stage) -> None:
        before.put_away()
        after.begin_interval(before, self._swap)
        after.put_in_place()
        self._current = after


def _answers(earlier: Any, args: dict[str, Any], conds: list[Any]) -> list[Tensor]:
    """Of the large model, by a function that another patch has put there, or else as the host asks."""
    if earlier is not None:
        return earlier({**args, "conds": conds})
    return comfy.samplers.calc_cond_batch(args["model"], conds, args["input"], args["sigma"], args["model_options"])


def _unguided(earlier: Any, args: dict[str, Any]) -> list[Tensor]:
    """The positive answer alone: guidance of any weight between it and itself changes nothing."""
    cond, uncond = args["conds"]
    answers = _answers(earlier, args, [cond, None])
    return answers if uncond is None else [answers[0], answers[0]]
