"""T-Stitch Auto: a KSampler with a speed-up."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..tstitch.auto.run import AutoRun, check_speed_up
from ..tstitch.auto.views import report
from ..tstitch.planning.identity import model_name
from ..tstitch.planning.joint.measure import Course
from .inputs import CATEGORY, check_widgets, checked, denoise_input, seed_input, step_inputs


class TStitchAuto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchAuto",
            display_name="T-Stitch Auto",
            category=CATEGORY,
            description="A KSampler that you tell how fast it should be. The first queue measures and plans, which"
            " takes some minutes with a large model; later ones just sample.",
            inputs=[
                io.Model.Input("model", tooltip="The model to make faster. It usually finishes the run."),
                seed_input("The noise to start from. It changes nothing about the plan."),
                *step_inputs(
                    "Steps of the run that speed_up is measured against. The plan chooses its own number of steps.",
                    "The plan knows the steps of euler, ddim and dpmpp_2m exactly and counts all others as euler.",
                ),
                denoise_input(
                    "Below 1 the structure of latent_image is kept (img2img); the plan is made for that part of"
                    " the noise."
                ),
                io.Float.Input(
                    "speed_up",
                    default=1.5,
                    min=1.0,
                    max=1000.0,
                    step=0.1,
                    round=0.01,
                    tooltip="How many times as fast as the same settings in a KSampler. Higher loses more; the report"
                    " says how much.",
                ),
                io.Model.Input(
                    "small_model",
                    optional=True,
                    tooltip="A smaller model of the same latent space, if you have one. Without it the model itself is"
                    " used at fewer steps, at half size and without guidance.",
                ),
                io.Boolean.Input(
                    "refresh",
                    default=False,
                    optional=True,
                    tooltip="On: measure and plan at every queue. Off: reuse an earlier plan with the same settings.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="LATENT", tooltip="The denoised latent."),
                io.String.Output(
                    display_name="report", tooltip="What was chosen and why, and all plans that were tried."
                ),
                io.String.Output(
                    display_name="pattern",
                    tooltip="For Multi-Model Schedule or Stitch Guiders; the report says which number is which model.",
                ),
                io.Sigmas.Output(display_name="SIGMAS", tooltip="The noise levels of the plan, for SamplerCustom."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, speed_up: float | None = None, sampler_name: str | None = None, scheduler: str | None = None
    ) -> bool | str:
        values = {"speed_up": speed_up, "sampler_name": sampler_name, "scheduler": scheduler}

        def check_speed() -> None:
            if speed_up is not None:
                check_speed_up(speed_up)

        return checked(check_speed, lambda: check_widgets(cls, **values))

    @classmethod
    def execute(
        cls,
        model: Any,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        denoise: float,
        speed_up: float,
        small_model: Any = None,
        refresh: bool = False,
    ) -> io.NodeOutput:
        course = Course(sampler_name, scheduler, denoise)
        run = AutoRun(model, small_model, seed, steps, cfg, course, positive, negative, latent_image, speed_up)
        plan = run.plan(refresh)
        latent = {**latent_image, "samples": run.sample(plan)}
        names = [f"{option} is {model_name(each)}" for option, each in run.models.items()]
        pattern = plan.chosen.numbered(len(plan.options))[1]
        words = report(plan, speed_up, sampler_name, names)
        return io.NodeOutput(latent, words, pattern, torch.tensor(plan.chosen.sigmas))


NODES = [TStitchAuto]
