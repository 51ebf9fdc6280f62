"""Multi-Model Schedule: two to eight MODELs in, one MODEL out."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..tstitch.page.progress import watch_for_page
from ..tstitch.schedule import ScheduleSpec, check_schedule_text
from ..tstitch.stitch.model import ModelStage, stitch_model
from ..tstitch.stitch.report import Report
from ..tstitch.stitch.run import Stitch
from .inputs import CATEGORY, checked, connected, schedule_inputs, split_step_inputs


class TStitchModelSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchModelSchedule",
            display_name="Multi-Model Schedule",
            category=CATEGORY,
            description="Joins several models into one MODEL that changes the denoiser from step to step. Use it in"
            " any sampler, detailer or upscaler that takes a MODEL.",
            inputs=[
                io.Model.Input(
                    "final_model",
                    tooltip="The model that finishes, usually the largest. It sets the sampler's noise schedule; a"
                    " bypassed node passes it on.",
                ),
                io.Model.Input("model_1", tooltip="The model that starts, usually the smallest."),
                *schedule_inputs("model", io.Model, "model"),
            ],
            not_idempotent=True,  # a cached output tells the page of the node that made it: no other node may take it
            outputs=[io.Model.Output(display_name="MODEL", tooltip="A MODEL that samples with all of them.")],
        )

    @classmethod
    def validate_inputs(
        cls, splits: str | float | None = None, unit: str | None = None, pattern: str | None = None
    ) -> bool | str:
        return checked(lambda: check_schedule_text(splits, unit, pattern))

    @classmethod
    def execute(
        cls,
        final_model: Any,
        model_1: Any,
        splits: str | float,
        unit: str,
        pattern: str,
        memory: str,
        model_2: Any = None,
        model_3: Any = None,
        model_4: Any = None,
        model_5: Any = None,
        model_6: Any = None,
        model_7: Any = None,
    ) -> io.NodeOutput:
        models = connected("model", model_1, model_2, model_3, model_4, model_5, model_6, model_7)
        names = (*models, "final_model")
        stitch = Stitch(
            ScheduleSpec.parse(splits, unit, pattern, len(names)), memory, names, Report.of(names, watch_for_page())
        )
        return io.NodeOutput(stitch_model(final_model, [ModelStage(model) for model in models.values()], stitch))


class TStitchSplitSteps(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchSplitSteps",
            display_name="Split Steps",
            category=CATEGORY,
            description="Step numbers from other nodes as splits, for Multi-Model Schedule, Stitch Guiders or"
            " T-Stitch KSampler (Advanced) with unit set to step.",
            inputs=split_step_inputs(),
            outputs=[
                io.String.Output(
                    display_name="splits", tooltip="For splits of Multi-Model Schedule or Stitch Guiders, in unit step."
                ),
                io.Float.Output(
                    display_name="fraction",
                    tooltip="The first step, for fraction of T-Stitch KSampler or T-Stitch KSampler (Advanced), in unit"
                    " step.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        step_1: int,
        step_2: int | None = None,
        step_3: int | None = None,
        step_4: int | None = None,
        step_5: int | None = None,
        step_6: int | None = None,
        step_7: int | None = None,
    ) -> io.NodeOutput:
        steps = connected("step", step_1, step_2, step_3, step_4, step_5, step_6, step_7).values()
        return io.NodeOutput(", ".join(map(str, steps)), float(step_1))


NODES = [TStitchModelSchedule, TStitchSplitSteps]
