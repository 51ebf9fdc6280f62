"""Low-Resolution Model: a model as its own small model."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..tstitch.resolution.model import LARGEST, SMALLEST, check_scale, low_resolution
from .inputs import CATEGORY, check_widgets, checked


class TStitchLowResolution(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchLowResolution",
            display_name="Low-Resolution Model",
            category=CATEGORY,
            description="Runs a model at fewer latent pixels than the sampler has, so that its steps cost less: the"
            " large model serves as its own small model, without a second download. Use it as small_model or"
            " model_1 for the early, noisy steps, and the same model at full size to finish.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model to run at a lower resolution, usually the one that also finishes: both share"
                    " their weights, so it needs no more memory.",
                ),
                io.Float.Input(
                    "scale",
                    default=0.5,
                    min=SMALLEST,
                    max=LARGEST,
                    step=0.01,
                    round=0.0001,
                    tooltip="Factor on height and width: at 0.5 the model sees a quarter of the latent pixels."
                    " Lower is faster and loses more detail; 1 changes nothing. It suits models trained at several"
                    " sizes (Flux, Z-Image, Wan), and pictures larger than a model's native size.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="MODEL",
                    tooltip="The model at the lower resolution. The sampler keeps its full size, so any sampler works.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, scale: float | None = None) -> bool | str:
        return scale is None or checked(lambda: check_scale(scale), lambda: check_widgets(cls, scale=scale))

    @classmethod
    def execute(cls, model: Any, scale: float) -> io.NodeOutput:
        return io.NodeOutput(low_resolution(model, scale))


NODES = [TStitchLowResolution]
