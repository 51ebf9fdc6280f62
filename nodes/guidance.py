"""Small-Model Guidance: a small model makes the second prediction of each guided step."""

from __future__ import annotations

import functools
from typing import Any

from comfy_api.latest import io

from ..tstitch.guidance.model import MODES, Guidance, guided_model
from .inputs import CATEGORY, check_widgets, checked, memory_input


class TStitchGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchGuidance",
            display_name="Small-Model Guidance",
            category=CATEGORY,
            description="Guidance with a small model: in each guided step, the small model makes the second"
            " prediction in place of the large one. A guided step then costs little more than an unguided one. The"
            " sampler's cfg is the guidance weight.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="The large model, which draws the picture; a bypassed node passes it on."
                ),
                io.Model.Input(
                    "weak_model",
                    tooltip="The model that makes the second prediction: a smaller one of the same latent space, or"
                    " the same one at a low resolution or with blocks skipped.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MODES[0],
                    tooltip="weak model: the small model reads the positive prompt, and the picture moves away from"
                    " its mistakes (AutoGuidance); use a lower cfg, such as 1.3 to 2. cheap negative: the small"
                    " model reads the negative prompt, as in plain guidance, with the usual cfg.",
                ),
                percent_input(
                    "start_percent", 0.0, "Where guidance begins, as a fraction of the run: 0 is pure noise."
                ),
                percent_input(
                    "end_percent",
                    1.0,
                    "Where guidance ends: 1 is the finished picture. Steps outside the interval call the large"
                    " model once, without guidance, and cost less.",
                ),
                memory_input(),
            ],
            outputs=[io.Model.Output(display_name="MODEL", tooltip="The guided model, for any sampler with a cfg.")],
        )

    @classmethod
    def validate_inputs(
        cls,
        mode: str | None = None,
        start_percent: float | None = None,
        end_percent: float | None = None,
        memory: str | None = None,
    ) -> bool | str:
        values = {"mode": mode, "start_percent": start_percent, "end_percent": end_percent, "memory": memory}
        widgets = functools.partial(check_widgets, cls, **values)
        if mode is None or start_percent is None or end_percent is None or memory is None:
            return checked(widgets)
        return checked(lambda: Guidance(mode, start_percent, end_percent, memory), widgets)

    @classmethod
    def execute(
        cls, model: Any, weak_model: Any, mode: str, start_percent: float, end_percent: float, memory: str
    ) -> io.NodeOutput:
        return io.NodeOutput(guided_model(model, weak_model, Guidance(mode, start_percent, end_percent, memory)))


def percent_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, round=0.0001, tooltip=tooltip)


NODES = [TStitchGuidance]
