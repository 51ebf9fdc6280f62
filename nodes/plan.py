"""Plan: the schedule for a budget."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..tstitch.checks.choices import check_choice
from ..tstitch.checks.inputs import check_latent
from ..tstitch.planning.joint.request import AS_CALIBRATED, METHODS, make_joint_plan
from ..tstitch.planning.joint.views import joint_chart, joint_table
from ..tstitch.planning.plan.request import GOALS, ORDERS, Request, check_latent_shape, check_request, make_plan
from ..tstitch.planning.plan.views import plan_chart, plan_table
from .inputs import CATEGORY, ProfileType, calibration_input, check_calibration, check_profile, check_widgets, checked

SAMPLERS = [AS_CALIBRATED, *comfy.samplers.KSampler.SAMPLERS]
NO_SIGMAS = (
    "SIGMAS of T-Stitch Plan are for method steps and models only: set it so, or use the noise levels that were"
    " calibrated."
)


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
                    tooltip="What the budget means. speed-up: how many times as fast as the final model alone."
                    " seconds: the most that a whole run may take. no visible loss: the fastest schedule in which"
                    " no step has a larger calibrated error than the budget, such as 0.02.",
                ),
                io.Float.Input(
                    "budget",
                    default=1.5,
                    min=0.0,
                    max=100000.0,
                    step=0.1,
                    round=0.0001,
                    tooltip="Depends on the goal: a factor (1.5), seconds (4.0), or the largest error per step"
                    " (0.02); for steps and models, the largest loss of the whole run (0.1). A tighter budget gives"
                    " more steps to the small models; with no visible loss, fewer.",
                ),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=10000,
                    tooltip="Number of steps, the same as in the sampler that will run the plan. For steps and models:"
                    " of the run without a plan, which speed-up is measured against.",
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
                    tooltip="Seconds per step, from T-Stitch Profile: needed for speed-up and seconds.",
                ),
                calibration_input(optional=True),
                io.Latent.Input(
                    "latent_image",
                    optional=True,
                    tooltip="The latent that will be sampled. With it, a profile of another size is refused instead"
                    " of predicting wrong seconds.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default=METHODS[0],
                    optional=True,
                    tooltip="models: the steps stay as they are, and each gets a model. steps and models: the number of"
                    " steps and their noise levels are chosen too, which saves more; needs a profile, and a calibration"
                    " with record_steps on. Connect SIGMAS to SamplerCustom then.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=SAMPLERS,
                    default=AS_CALIBRATED,
                    optional=True,
                    tooltip="For steps and models: the sampler that will run the plan. One whose steps differ from"
                    " those that were calibrated is refused.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="pattern", tooltip="For the input pattern of Multi-Model Schedule or Stitch Guiders."
                ),
                io.Float.Output(
                    display_name="fraction",
                    tooltip="For T-Stitch KSampler with unit steps. It is -1, which the sampler refuses, unless the"
                    " plan has two models with the small one first, and always for steps and models.",
                ),
                io.Float.Output(display_name="seconds", tooltip="Predicted seconds per run; 0 without a profile."),
                io.String.Output(
                    display_name="table",
                    tooltip="All schedules that no other beats in both time and error, fastest first.",
                ),
                io.Image.Output(display_name="plot", tooltip="Time against error of the alternatives."),
                io.Sigmas.Output(
                    display_name="SIGMAS",
                    tooltip="The noise levels of a plan of steps and models, for SamplerCustom; the pattern belongs to"
                    " them.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        goal: str | None = None,
        budget: float | None = None,
        steps: int | None = None,
        order: str | None = None,
        method: str | None = None,
        sampler_name: str | None = None,
    ) -> bool | str:
        values = {"goal": goal, "budget": budget, "steps": steps, "order": order, "method": method}
        return checked(
            lambda: check_request(goal, budget, steps, order),
            lambda: check_widgets(cls, **values, sampler_name=sampler_name),
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
        method: str = METHODS[0],
        sampler_name: str = AS_CALIBRATED,
    ) -> io.NodeOutput:
        if profile is not None:
            check_profile("profile", profile)
        if calibration is not None:
            check_calibration("calibration", calibration)
        if latent_image is not None and profile is not None:
            check_latent("latent_image", latent_image)
            check_latent_shape(profile, latent_image["samples"].shape)
        check_choice("method", method, METHODS)
        request = Request(goal, budget, steps, order, profile, calibration)
        if method == METHODS[0]:
            plan = make_plan(request)
            shown = plan_table(plan), plan_chart(plan), ExecutionBlocker(NO_SIGMAS)
            return io.NodeOutput(plan.choice.pattern, plan.fraction, plan.seconds, *shown)
        check_choice("sampler_name", sampler_name, SAMPLERS)
        joint = make_joint_plan(request, sampler_name)
        shown = joint_table(joint), joint_chart(joint), torch.tensor(joint.choice.sigmas)
        return io.NodeOutput(joint.pattern, joint.fraction, joint.seconds, *shown)


NODES = [TStitchPlan]
