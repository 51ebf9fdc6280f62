"""Stitch Guiders: every stage with its own kind of guider, conditioning and cfg."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..tstitch.page.progress import watch_for_page
from ..tstitch.schedule import ScheduleSpec, check_schedule_text
from ..tstitch.stitch.guider import StitchedGuider
from ..tstitch.stitch.report import Report
from ..tstitch.stitch.run import Stitch
from .inputs import CATEGORY, check_widgets, checked, connected, schedule_inputs


class TStitchGuiders(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchGuiders",
            display_name="Stitch Guiders",
            category=CATEGORY,
            description="Joins several guiders (CFG, Basic, DualCFG, PerpNeg ...) into one GUIDER for"
            " SamplerCustomAdvanced, each with its own model, prompt and cfg.",
            inputs=[
                io.Guider.Input(
                    "final_guider",
                    tooltip="The guider that finishes. Its model sets the noise schedule; a bypassed node passes it on"
                    " alone.",
                ),
                io.Guider.Input("guider_1", tooltip="The guider that starts, usually on the smallest model."),
                *schedule_inputs("guider", io.Guider, "guider"),
            ],
            # Progress is reported under this node's id, so no other node may reuse the cached output.
            not_idempotent=True,
            outputs=[io.Guider.Output(display_name="GUIDER", tooltip="A GUIDER that samples with all of them.")],
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
        final_guider: Any,
        splits: str | float,
        unit: str,
        pattern: str,
        memory: str,
        **guiders: Any,
    ) -> io.NodeOutput:
        numbered = connected("guider", guiders)
        names = (*numbered, "final_guider")
        stitch = Stitch(
            ScheduleSpec.parse(splits, unit, pattern, len(names)), memory, names, Report.of(names, watch_for_page())
        )
        return io.NodeOutput(StitchedGuider(final_guider, list(numbered.values()), stitch))


NODES = [TStitchGuiders]
