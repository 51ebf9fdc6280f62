"""Profile and Plan: what a step costs here, and the schedule for a budget."""

from __future__ import annotations

from functools import partial
from typing import Any

import comfy.model_management
import comfy.utils
from comfy_api.latest import io

from ..tstitch.checks.inputs import check_latent
from ..tstitch.errors import StitchError
from ..tstitch.planning.plan.request import GOALS, ORDERS, Request, check_latent_shape, check_request, make_plan
from ..tstitch.planning.plan.views import plan_chart, plan_table, profile_chart
from ..tstitch.planning.profile.measure import ProfileJob, profile_models
from ..tstitch.planning.profile.record import Profile
from .calibration import calibration_input, check_calibration
from .inputs import CATEGORY, check_widgets, checked, connected, measured_stages, numbered, small_inputs

ProfileType = io.Custom("TSTITCH_PROFILE")


def check_profile(name: str, value: Any) -> None:
    if not isinstance(value, Profile):
        raise StitchError(f"{name} is of type {type(value).__name__}, not a profile: connect T-Stitch Profile.")


class TStitchProfile(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchProfile",
            display_name="T-Stitch Profile",
            category=CATEGORY,
            description="Measures how long a step of each model takes on this machine, for this latent, conditioning"
            " and cfg. The times are remembered, so the next queue costs nothing.",
            inputs=[
                io.Model.Input("final_model", tooltip="The model that finishes, usually the largest."),
                io.Model.Input("model_1", tooltip="The model that starts, usually the smallest."),
                io.Conditioning.Input(
                    "positive", tooltip="As in the sampler: longer prompts and ControlNets make a step slower."
                ),
                io.Conditioning.Input(
                    "negative", tooltip="As in the sampler. At cfg 1 it is not used and a step costs about half."
                ),
                io.Latent.Input(
                    "latent_image", tooltip="As in the sampler: its size and batch decide how long a step takes."
                ),
                io.Float.Input(
                    "cfg",
                    default=8.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="As in the sampler. What counts is whether it is 1: then a step is one model call, else"
                    " two.",
                ),
                io.Int.Input(
                    "repeats",
                    default=10,
                    min=3,
                    max=1000,
                    tooltip="Steps that are timed for each model, after two to warm up. More is steadier and takes"
                    " longer.",
                ),
                io.Boolean.Input(
                    "refresh",
                    default=False,
                    tooltip="On measures again at every queue, e.g. while other programs come and go; off takes what"
                    " was measured before in the same setting.",
                ),
                *numbered("model", io.Model, "model"),
                *small_inputs(),
            ],
            outputs=[
                ProfileType.Output(display_name="PROFILE", tooltip="For T-Stitch Plan."),
                io.String.Output(display_name="table", tooltip="Time, spread, load time and memory of each model."),
                io.Image.Output(display_name="chart", tooltip="The time of a step of each model as bars."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, refresh: bool | None = None, **_: Any) -> float:
        """NaN is never the same again; the host does not say yet what comes through a link."""
        return 0.0 if refresh is False else float("nan")

    @classmethod
    def execute(
        cls,
        final_model: Any,
        model_1: Any,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        cfg: float,
        repeats: int,
        refresh: bool,
        model_2: Any = None,
        model_3: Any = None,
        model_4: Any = None,
        model_5: Any = None,
        model_6: Any = None,
        model_7: Any = None,
        small_positive: Any = None,
        small_negative: Any = None,
        small_cfg: float = 0.0,
    ) -> io.NodeOutput:
        models = connected("model", model_1, model_2, model_3, model_4, model_5, model_6, model_7)
        own = (small_positive, small_negative)
        stages = measured_stages(models, final_model, (positive, negative), own, cfg, small_cfg)
        job = ProfileJob(stages, latent_image, repeats)
        bar = comfy.utils.ProgressBar(len(stages) * job.steps_a_model)
        found = profile_models(job, refresh, partial(advance, bar))
        return io.NodeOutput(found, found.table(), profile_chart(found))


def advance(bar: comfy.utils.ProgressBar) -> None:
    comfy.model_management.throw_exception_if_processing_interrupted()
    bar.update(1)


class TStitchPlan(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchPlan",
            display_name="T-Stitch Plan",
            category=CATEGORY,
            description="Finds the schedule that loses least within a budget of time, or the fastest one that loses"
            " nothing you can see.",
            inputs=[
                io.Combo.Input(
                    "goal",
                    options=list(GOALS),
                    default=GOALS[0],
                    tooltip="What the budget means. speed-up: so many times as fast as the final model alone. seconds:"
                    " what a whole run may take. no visible loss: the fastest schedule in which no step has a larger"
                    " calibrated error than the budget, such as 0.02.",
                ),
                io.Float.Input(
                    "budget",
                    default=1.5,
                    min=0.0,
                    max=100000.0,
                    step=0.1,
                    round=0.0001,
                    tooltip="By the goal: a factor (1.5), seconds (4.0), or the largest error of a step (0.02). A"
                    " tighter one gives more steps to the small models, or, with no visible loss, fewer.",
                ),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=10000,
                    tooltip="Steps of the sampler that will run the plan. It must be the same there.",
                ),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default=ORDERS[0],
                    tooltip="small first: each model hands over to the next one, as in the paper. free: any model at"
                    " any step, wherever the calibration says it costs least; may switch often.",
                ),
                ProfileType.Input(
                    "profile",
                    optional=True,
                    tooltip="Times of a step, from T-Stitch Profile: needed for speed-up and seconds.",
                ),
                calibration_input(optional=True),
                io.Latent.Input(
                    "latent_image",
                    optional=True,
                    tooltip="The latent that will be sampled: with it, a profile of another size is refused instead of"
                    " giving wrong seconds.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="pattern", tooltip="For the input pattern of Multi-Model Schedule or Stitch Guiders."
                ),
                io.Float.Output(
                    display_name="fraction",
                    tooltip="For T-Stitch KSampler with unit steps; -1, which it refuses, where the plan is not two"
                    " models with the small one first.",
                ),
                io.Float.Output(display_name="seconds", tooltip="Predicted for a run; 0 without a profile."),
                io.String.Output(display_name="table", tooltip="The alternatives that no other beats, fastest first."),
                io.Image.Output(display_name="plot", tooltip="Time against error of the alternatives."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, goal: str | None = None, budget: float | None = None, steps: int | None = None, order: str | None = None
    ) -> bool | str:
        return checked(
            lambda: check_request(goal, budget, steps, order),
            lambda: check_widgets(cls, goal=goal, budget=budget, steps=steps, order=order),
        )

    @classmethod
    def execute(
        cls,
        goal: str,
        budget: float,
        steps: int,
        order: str,
        profile: Any = None,
        calibration: Any = None,
        latent_image: Any = None,
    ) -> io.NodeOutput:
        if profile is not None:
            check_profile("profile", profile)
        if calibration is not None:
            check_calibration("calibration", calibration)
        if latent_image is not None and profile is not None:
            check_latent("latent_image", latent_image)
            check_latent_shape(profile, latent_image["samples"].shape)
        plan = make_plan(Request(goal, budget, steps, order, profile, calibration))
        return io.NodeOutput(plan.choice.pattern, plan.fraction, plan.seconds, plan_table(plan), plan_chart(plan))


NODES = [TStitchProfile, TStitchPlan]
