"""Training Interval: the host's LoRA training for the noise levels of one stage."""

from __future__ import annotations

import functools
from typing import Any

from comfy_api.latest import io

from ..tstitch.training_interval import UNITS, TrainingInterval, limit_training
from .inputs import CATEGORY, check_widgets, checked


class TStitchTrainingInterval(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchTrainingInterval",
            display_name="Training Interval",
            category=CATEGORY,
            description="Limits Train LoRA to the noise levels that a model gets in a stitched run, so that the"
            " LoRA learns only those steps. Put it between the model and Train LoRA, and apply the LoRA to that"
            " model in the stitched run.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model to train a LoRA for, usually the small one of a stitched run."
                ),
                bound_input("start", 0.0, "Where the stage begins: 0 for the model that starts the run."),
                bound_input(
                    "end",
                    0.4,
                    "Where the stage ends. A shorter interval learns its steps faster; outside the interval the"
                    " LoRA makes the model worse. For a model that finishes a run split at 0.4, set start to 0.4"
                    " and end to 1.",
                ),
                io.Combo.Input(
                    "unit",
                    options=list(UNITS),
                    default="steps",
                    tooltip="What start and end count. steps: fraction of the steps, 0 to 0.4, right for schedulers"
                    " with even timesteps (simple, normal, sgm_uniform). timestep: noise level t, 1 to 0.6. sigma: the"
                    " sampler's own noise level, which fits any scheduler, e.g. 14.6 to 2 for SD 1.5.",
                ),
            ],
            outputs=[io.Model.Output(display_name="MODEL", tooltip="The model for Train LoRA. It samples as before.")],
        )

    @classmethod
    def validate_inputs(
        cls, start: float | None = None, end: float | None = None, unit: str | None = None
    ) -> bool | str:
        widgets = functools.partial(check_widgets, cls, start=start, end=end, unit=unit)
        if start is None or end is None or unit is None:
            return checked(widgets)
        return checked(TrainingInterval(start, end, unit).check, widgets)

    @classmethod
    def execute(cls, model: Any, start: float, end: float, unit: str) -> io.NodeOutput:
        return io.NodeOutput(limit_training(model, TrainingInterval(start, end, unit)))


def bound_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=100_000.0, step=0.01, round=0.0001, tooltip=tooltip)


NODES = [TStitchTrainingInterval]
