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
    def execute(cls, **steps: int) -> io.NodeOutput:
        numbered = connected("step", steps)
        return io.NodeOutput(", ".join(map(str, numbered.values())), float(numbered["step_1"]))


NODES = [TStitchSplitSteps]
