"""Multi-Model Sigmas: own steps for each stage."""

from __future__ import annotations

from typing import Any

import comfy.samplers
from comfy_api.latest import io

from ..tstitch.checks.inputs import check_model
from ..tstitch.own_steps import UNITS, OwnSteps, OwnTimesteps, check_own_steps, splits_of
from .inputs import CATEGORY, check_widgets, checked


class TStitchSigmas(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchSigmas",
            display_name="Multi-Model Sigmas",
            category=CATEGORY,
            description="Noise levels for SamplerCustom in which each model has its own number of steps, and the models"
            " meet exactly at the splits. For distilled models and LoRAs that need few steps beside others that need"
            " many.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that finishes, or the joined MODEL: its noise schedule is used.",
                ),
                io.String.Input(
                    "steps",
                    default="10, 10",
                    tooltip="Steps of each model in run order, e.g. 2, 6. Fewer are faster; a model without a speed"
                    " LoRA usually wants more.",
                ),
                io.String.Input(
                    "splits",
                    default="0.875",
                    tooltip="Where each model hands over to the next, as in Multi-Model Schedule: one number fewer than"
                    " there are models. Empty: those of the joined MODEL.",
                ),
                io.Combo.Input(
                    "unit",
                    options=list(UNITS),
                    default="timestep",
                    tooltip="Unit of the splits. steps: fraction of the scheduler's steps. timestep: noise level t"
                    " from 1 to 0, e.g. 0.875 for Wan 2.2. sigma: the sampler's own noise level. noise: the share"
                    " of noise, which means the same for every model; 0.86 is a safe start.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.KSampler.SCHEDULERS,
                    tooltip="How the noise falls within each model's part.",
                ),
                io.String.Input(
                    "shifts",
                    default="",
                    tooltip="Optional: the time shift of each model's part, e.g. 5, 8, for flow models. Higher spends"
                    " more of its steps at high noise. Empty: the model's own.",
                ),
                io.String.Input(
                    "timesteps",
                    default="",
                    optional=True,
                    tooltip="Optional: the timesteps at which the steps start, e.g. 1000, 937.5, 833.3, 625, as a"
                    " distilled model was trained on. They replace steps; the splits still say which model takes"
                    " which.",
                ),
            ],
            outputs=[
                io.Sigmas.Output(display_name="SIGMAS", tooltip="For SamplerCustom or SamplerCustomAdvanced."),
                io.String.Output(
                    display_name="pattern",
                    tooltip="For the input pattern of Multi-Model Schedule or Stitch Guiders: each model gets the steps"
                    " that are meant for it.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        steps: str | None = None,
        splits: str | None = None,
        unit: str | None = None,
        shifts: str | None = None,
        scheduler: str | None = None,
        timesteps: str | None = "",
    ) -> bool | str:
        return checked(
            lambda: check_own_steps(steps, splits, unit, shifts, timesteps),
            lambda: check_widgets(cls, unit=unit, scheduler=scheduler),
        )

    @classmethod
    def execute(
        cls, model: Any, steps: str, splits: str, unit: str, scheduler: str, shifts: str, timesteps: str = ""
    ) -> io.NodeOutput:
        check_model("model", model)
        splits, unit = splits_of(model, splits, unit)
        sampling = model.get_model_object("model_sampling")
        if timesteps.strip():
            return io.NodeOutput(*OwnTimesteps.parse(timesteps, splits, unit, scheduler, shifts).plan(sampling))
        own = OwnSteps.parse(steps, splits, unit, scheduler, shifts)
        return io.NodeOutput(own.sigmas(sampling), own.pattern)


NODES = [TStitchSigmas]
