"""Calibrate: how far each model's predictions are from the base model's."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..tstitch.planning.calibration.measure import Settings, calibrate
from ..tstitch.planning.calibration.views import views
from ..tstitch.planning.joint.recording import with_step_errors
from .inputs import (
    CATEGORY,
    CalibrationType,
    check_widgets,
    checked,
    connected,
    measured_stages,
    numbered,
    seed_input,
    small_inputs,
    step_inputs,
    tolerance_input,
)

OUTPUTS = [
    CalibrationType.Output(display_name="CALIBRATION", tooltip="For Plan and Save Calibration."),
    io.Image.Output(
        display_name="similarity",
        tooltip="Per step: cosine similarity to the base model's prediction, with the spread over the samples, and"
        " the error that is compared with the tolerance.",
    ),
    io.Image.Output(
        display_name="frequencies", tooltip="How much coarse and fine detail the predictions hold at five noise levels."
    ),
    io.Float.Output(display_name="split", tooltip="The recommended fraction for model_1 to start with."),
    io.String.Output(
        display_name="report", tooltip="What was measured, and the recommended split and order for each model, as text."
    ),
]


class TStitchCalibrate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchCalibrate",
            display_name="T-Stitch Calibrate",
            category=CATEGORY,
            description="Measures, step by step, how far the predictions of smaller models are from the base"
            " model's, and recommends how many early steps they can take. Costs about one run of every model per"
            " seed.",
            inputs=[
                io.Model.Input(
                    "final_model",
                    tooltip="The base model, usually the largest. The others are compared"
                    " with it, on the trajectory that it samples.",
                ),
                io.Model.Input("model_1", tooltip="The model to calibrate, usually the one that will start."),
                seed_input("The noise of the first run. Keep it fixed, or every queue calibrates again."),
                io.Int.Input(
                    "seeds",
                    default=3,
                    min=1,
                    max=1000,
                    tooltip="Number of runs to average over, with consecutive seeds. More is steadier and slower;"
                    " every item of a batch counts as a sample too.",
                ),
                *step_inputs(
                    "As in the sampler: the predictions are compared at each step, so every model takes all of them"
                    " here.",
                    "As in the sampler. Those that choose their own noise levels, such as dpm_adaptive, cannot be"
                    " calibrated.",
                ),
                tolerance_input(),
                *numbered("model", io.Model, "model"),
                *small_inputs(),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip="Noise levels in place of steps and scheduler, e.g. from Multi-Model Sigmas: connect those"
                    " that the sampler will run.",
                ),
                io.Boolean.Input(
                    "record_steps",
                    default=False,
                    optional=True,
                    tooltip="On: also measure what every step between about 50 noise levels loses, so that T-Stitch"
                    " Plan can choose the number of steps and the noise levels too. Takes as long as about 600 steps"
                    " of every model; a batch needs fewer runs.",
                ),
            ],
            outputs=OUTPUTS,
        )

    @classmethod
    def validate_inputs(cls, sampler_name: str | None = None, scheduler: str | None = None) -> bool | str:
        return checked(lambda: check_widgets(cls, sampler_name=sampler_name, scheduler=scheduler))

    @classmethod
    def execute(
        cls,
        final_model: Any,
        seed: int,
        seeds: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        tolerance: float,
        small_positive: Any = None,
        small_negative: Any = None,
        small_cfg: float = 0.0,
        sigmas: Any = None,
        record_steps: bool = False,
        **models: Any,
    ) -> io.NodeOutput:
        numbered = connected("model", models)
        own = (small_positive, small_negative)
        stages = measured_stages(numbered, final_model, (positive, negative), own, cfg, small_cfg)
        settings = Settings(seed, seeds, steps, cfg, sampler_name, scheduler, sigmas)
        found = calibrate(tuple(stages), list(stages.values()), latent_image, settings)
        if record_steps:
            found = with_step_errors(found, tuple(stages), list(stages.values()), latent_image, settings)
        return io.NodeOutput(found, *views(found, tolerance))


NODES = [TStitchCalibrate]
