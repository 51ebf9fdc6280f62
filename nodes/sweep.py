"""Sweep: the same noise with several fractions or patterns, side by side."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..tstitch.checks.inputs import check_vae
from ..tstitch.stitch.model import ModelStage
from ..tstitch.sweep.run import Sweep, parse_entries
from ..tstitch.sweep.views import decoded, draw_grid, qualities, speed_quality_figure, table
from .inputs import (
    CATEGORY,
    check_sockets,
    check_widgets,
    checked,
    denoise_input,
    model_inputs,
    seed_input,
    stage_inputs,
    step_inputs,
)


class TStitchSweep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchSweep",
            display_name="T-Stitch Sweep",
            category=CATEGORY,
            description="Samples the same noise with several fractions or patterns, and shows the pictures side by side"
            " with their seconds, so that you can choose. What is finished is kept when you interrupt.",
            inputs=[
                *model_inputs(),
                io.Vae.Input("vae", tooltip="Decodes the latents for the grid and the comparison of the pictures."),
                seed_input(
                    "The noise that all runs start from. Keep it fixed to add fractions to a finished sweep"
                    " without sampling again."
                ),
                *step_inputs(),
                denoise_input(
                    "Below 1 the structure of latent_image is kept (img2img); a fraction still means the whole"
                    " trajectory."
                ),
                io.String.Input(
                    "fractions",
                    default="0, 0.2, 0.4, 0.6, 0.8, 1",
                    multiline=True,
                    tooltip="One run per entry: fractions for the small model, separated by commas, or patterns"
                    " such as 1x8 2x12, one per line (1 = small, 2 = large). If 0 is among them, all others are"
                    " compared with the large model alone.",
                ),
                *stage_inputs(),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip="Noise levels in place of steps, scheduler and denoise, e.g. from Multi-Model Sigmas or"
                    " T-Stitch Plan. Fractions and patterns then count on their steps.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="grid", tooltip="One column per run, with label, seconds and speed-up."),
                io.Image.Output(display_name="plot", tooltip="Similarity to the large model alone against seconds."),
                io.Latent.Output(
                    display_name="latents", is_output_list=True, tooltip="The latent of each run, in order."
                ),
                io.String.Output(
                    display_name="table", tooltip="Seconds, speed-up, cosine, PSNR and SSIM of each run, as text."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        fractions: str | None = None,
        unit: str | None = "steps",
        sampler_name: str | None = None,
        scheduler: str | None = None,
        memory: str | None = None,
    ) -> bool | str:
        choices = {"unit": unit, "memory": memory, "sampler_name": sampler_name, "scheduler": scheduler}
        return checked(
            lambda: fractions is None or unit is None or parse_entries(fractions, unit),
            lambda: check_widgets(cls, **choices),
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        small_model: Any,
        vae: Any,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        denoise: float,
        fractions: str,
        small_positive: Any = None,
        small_negative: Any = None,
        small_cfg: float = 0.0,
        unit: str = "steps",
        memory: str = "auto",
        sigmas: Any = None,
    ) -> io.NodeOutput:
        check_sockets(model, latent_image, positive, negative, small_positive, small_negative)
        check_vae("vae", vae, model.get_model_object("latent_format"))
        small = ModelStage(small_model, small_positive, small_negative, small_cfg or None)
        settings = (
            seed,
            steps,
            cfg,
            sampler_name,
            scheduler,
            positive,
            negative,
            latent_image,
            denoise,
            memory,
            sigmas,
        )
        runs = Sweep(model, small, *settings).run(parse_entries(fractions, unit))
        pictures = [decoded(vae, run.samples) for run in runs]
        found = qualities(runs, pictures)
        latents = [{**latent_image, "samples": run.samples} for run in runs]
        return io.NodeOutput(draw_grid(runs, pictures), speed_quality_figure(runs, found), latents, table(runs, found))


NODES = [TStitchSweep]
