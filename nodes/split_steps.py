"""Split Steps: step numbers of other nodes as splits."""

from __future__ import annotations

from comfy_api.latest import io

from .inputs import CATEGORY, connected, split_step_inputs


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


NODES = [TStitchSplitSteps]
