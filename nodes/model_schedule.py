"""Multi-Model Schedule: two to eight MODELs in, one MODEL out."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..tstitch.page.progress import watch_for_page
from ..tstitch.schedule import ScheduleSpec, check_schedule_text
from ..tstitch.stitch.model import ModelStage, stitch_model
from ..tstitch.stitch.report import Report
from ..tstitch.stitch.run import Stitch
from .inputs import CATEGORY, check_widgets, checked, connected, schedule_inputs


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
            # Progress is reported under this node's id, so no other node may reuse the cached output.
            not_idempotent=True,
            outputs=[io.Model.Output(display_name="MODEL", tooltip="A MODEL that samples with all of them.")],
        )

    @classmethod
    def validate_inputs(
        cls,
        splits: str | float | None = None,
        unit: str | None = None,
        pattern: str | None = None,
        memory: str | None = None,
    ) -> bool | str:
        return checked(
            lambda: check_schedule_text(splits, unit, pattern), lambda: check_widgets(cls, unit=unit, memory=memory)
        )

    @classmethod
    def execute(
        cls,
        final_model: Any,
        splits: str | float,
        unit: str,
        pattern: str,
        memory: str,
        **models: Any,
    ) -> io.NodeOutput:
        numbered = connected("model", models)
        names = (*numbered, "final_model")
        stitch = Stitch(
            ScheduleSpec.parse(splits, unit, pattern, len(names)), memory, names, Report.of(names, watch_for_page())
        )
        return io.NodeOutput(stitch_model(final_model, [ModelStage(model) for model in numbered.values()], stitch))


NODES = [TStitchModelSchedule]
