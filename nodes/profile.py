"""Profile: how long a step of each model takes here."""

from __future__ import annotations

from functools import partial
from typing import Any

import comfy.model_management
import comfy.utils
from comfy_api.latest import io

from ..tstitch.planning.plan.views import profile_chart
from ..tstitch.planning.profile.measure import ProfileJob, profile_models
from .inputs import CATEGORY, ProfileType, connected, measured_stages, numbered, small_inputs


class TStitchProfile(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchProfile",
            display_name="T-Stitch Profile",
            category=CATEGORY,
            description="Measures how long a step of each model takes on this machine, for this latent, conditioning"
            " and cfg. The times are remembered, so the next queue costs nothing.",
            inputs=[
                io.Model.Input("final_model", tooltip="The model that finishes, usually the largest."),
                io.Model.Input("model_1", tooltip="The model that starts, usually the smallest."),
                io.Conditioning.Input(
                    "positive", tooltip="As in the sampler: longer prompts and ControlNets make a step slower."
                ),
                io.Conditioning.Input(
                    "negative", tooltip="As in the sampler. At cfg 1 it is not used and a step costs about half."
                ),
                io.Latent.Input(
                    "latent_image", tooltip="As in the sampler: its size and batch decide how long a step takes."
                ),
                io.Float.Input(
                    "cfg",
                    default=8.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="As in the sampler. Only whether it is 1 matters: then a step is one model call,"
                    " otherwise two.",
                ),
                io.Int.Input(
                    "repeats",
                    default=10,
                    min=3,
                    max=1000,
                    tooltip="Timed steps per model, after two warm-up steps. More is steadier and takes longer.",
                ),
                io.Boolean.Input(
                    "refresh",
                    default=False,
                    tooltip="On: measure at every queue. Off: reuse an earlier measurement with the same settings.",
                ),
                *numbered("model", io.Model, "model"),
                *small_inputs(),
            ],
            outputs=[
                ProfileType.Output(display_name="PROFILE", tooltip="For T-Stitch Plan."),
                io.String.Output(display_name="table", tooltip="Time, spread, load time and memory of each model."),
                io.Image.Output(display_name="chart", tooltip="Time per step of each model, as bars."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, refresh: bool | None = None, **_: Any) -> float:
        """NaN, which never equals itself, if `refresh` is on or not known yet."""
        return 0.0 if refresh is False else float("nan")

    @classmethod
    def execute(
        cls,
        final_model: Any,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        cfg: float,
        repeats: int,
        refresh: bool,
        small_positive: Any = None,
        small_negative: Any = None,
        small_cfg: float = 0.0,
        **models: Any,
    ) -> io.NodeOutput:
        numbered = connected("model", models)
        own = (small_positive, small_negative)
        stages = measured_stages(numbered, final_model, (positive, negative), own, cfg, small_cfg)
        job = ProfileJob(stages, latent_image, repeats)
        bar = comfy.utils.ProgressBar(len(stages) * job.steps_a_model)
        found = profile_models(job, refresh, partial(advance, bar))
        return io.NodeOutput(found, found.table(), profile_chart(found))


def advance(bar: comfy.utils.ProgressBar) -> None:
    comfy.model_management.throw_exception_if_processing_interrupted()
    bar.update(1)


NODES = [TStitchProfile]
