"""T-Stitch KSampler and its advanced sibling: two models, one loop, one node."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from nodes import common_ksampler

from ..tstitch.checks.choices import check_choice
from ..tstitch.page.progress import watch_for_page
from ..tstitch.schedule import ScheduleSpec, check_splits, read_number
from ..tstitch.stitch.handover import Handover
from ..tstitch.stitch.model import ModelStage, stitched_for_one_run
from ..tstitch.stitch.report import Report
from ..tstitch.stitch.run import Stitch
from ..tstitch.trajectory import FullSchedule, ksampler_schedule
from .inputs import (
    CATEGORY,
    check_sockets,
    check_widgets,
    checked,
    denoise_input,
    fraction_input,
    model_inputs,
    seed_input,
    stage_inputs,
    step_inputs,
)

NAMES = ("small_model", "model")
SWITCH = ("enable", "disable")


OUTPUTS = [
    io.Latent.Output(display_name="LATENT", tooltip="The denoised latent."),
    io.String.Output(
        display_name="report", tooltip="JSON: which model ran which steps, at which noise, how often and how long."
    ),
    io.Latent.Output(
        display_name="at_switch",
        tooltip="What the small model had made of the picture when the large one took over: decode it to see. Without a"
        " switch, the finished latent.",
    ),
    io.Latent.Output(
        display_name="noisy_at_switch",
        tooltip="The latent with its noise at the switch, for a sampler elsewhere that goes on from that step with"
        " add_noise disabled. Without a switch, the finished latent.",
    ),
]


def check_fraction(fraction: float | str | None, unit: str | None) -> None:
    """Before the run, in which None comes over a link. Raises StitchError."""
    if fraction is not None and unit is not None:
        read_fraction(fraction, unit)


def read_fraction(fraction: float | str, unit: str) -> float:
    split = read_number("fraction", fraction)
    check_splits((split,), unit, "fraction")
    return split


def two_model_stitch(fraction: float | str, unit: str, memory: str, full_schedule: FullSchedule) -> Stitch:
    spec = ScheduleSpec(stages=2, splits=(read_fraction(fraction, unit),), unit=unit)
    return Stitch(spec, memory, NAMES, Report.of(NAMES, watch_for_page()), full_schedule, Handover())


def outputs_of(latent: dict[str, Any], stitch: Stitch) -> io.NodeOutput:
    assert stitch.handover is not None
    parts = stitch.handover.denoised, stitch.handover.noisy
    return io.NodeOutput(
        latent,
        stitch.report.to_json(),
        *(latent if samples is None else {**latent, "samples": samples} for samples in parts),
    )


class TStitchKSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchKSampler",
            display_name="T-Stitch KSampler",
            category=CATEGORY,
            description="Samples with two models in one loop: the small one draws the early steps, the large one"
            " finishes. Faster, with no training and no seam.",
            inputs=[
                *model_inputs(),
                seed_input("The noise to start from. It does not depend on the fraction, so results can be compared."),
                *step_inputs(),
                denoise_input(
                    "Below 1 the structure of latent_image is kept (img2img). The steps that are skipped are the"
                    " first ones, which are the small model's."
                ),
                fraction_input(),
                *stage_inputs(),
            ],
            outputs=OUTPUTS,
        )

    @classmethod
    def validate_inputs(
        cls,
        fraction: float | str | None = None,
        unit: str | None = "steps",
        sampler_name: str | None = None,
        scheduler: str | None = None,
        memory: str | None = None,
    ) -> bool | str:
        values = {"fraction": fraction, "unit": unit, "memory": memory}
        values |= {"sampler_name": sampler_name, "scheduler": scheduler}
        return checked(lambda: check_fraction(fraction, unit), lambda: check_widgets(cls, **values))

    @classmethod
    def execute(
        cls,
        model: Any,
        small_model: Any,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        denoise: float,
        fraction: float | str,
        small_positive: Any = None,
        small_negative: Any = None,
        small_cfg: float = 0.0,
        unit: str = "steps",
        memory: str = "auto",
    ) -> io.NodeOutput:
        check_sockets(model, latent_image, positive, negative, small_positive, small_negative)
        schedule = ksampler_schedule(model, steps, sampler_name, scheduler, denoise)
        stitch = two_model_stitch(fraction, unit, memory, schedule)
        small = ModelStage(small_model, small_positive, small_negative, small_cfg or None)
        with stitched_for_one_run(model, [small], stitch) as stitched:
            (latent,) = common_ksampler(
                stitched, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise=denoise
            )
        return outputs_of(latent, stitch)


class TStitchKSamplerAdvanced(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchKSamplerAdvanced",
            display_name="T-Stitch KSampler (Advanced)",
            category=CATEGORY,
            description="KSampler (Advanced) with two models in one loop: noise on or off, start and end step,"
            " leftover noise. The fraction refers to the whole schedule, not to the part that is run.",
            inputs=[
                *model_inputs(),
                io.Combo.Input(
                    "add_noise", options=list(SWITCH), tooltip="Disable when latent_image is noisy already."
                ),
                seed_input(
                    "The noise to start from. It does not depend on the fraction, so results can be compared.",
                    name="noise_seed",
                ),
                *step_inputs(),
                io.Int.Input(
                    "start_at_step", default=0, min=0, max=10000, tooltip="First step of the schedule that is run."
                ),
                io.Int.Input(
                    "end_at_step", default=10000, min=0, max=10000, tooltip="Step of the schedule to stop before."
                ),
                io.Combo.Input(
                    "return_with_leftover_noise",
                    options=list(reversed(SWITCH)),
                    tooltip="Enable to pass a latent that is still noisy on to another sampler.",
                ),
                fraction_input(),
                *stage_inputs(),
            ],
            outputs=OUTPUTS,
        )

    @classmethod
    def validate_inputs(
        cls,
        fraction: float | str | None = None,
        unit: str | None = "steps",
        sampler_name: str | None = None,
        scheduler: str | None = None,
        memory: str | None = None,
        add_noise: str | None = None,
        return_with_leftover_noise: str | None = None,
    ) -> bool | str:
        values = {"fraction": fraction, "unit": unit, "memory": memory, "add_noise": add_noise}
        values |= {"sampler_name": sampler_name, "scheduler": scheduler}
        values |= {"return_with_leftover_noise": return_with_leftover_noise}
        return checked(lambda: check_fraction(fraction, unit), lambda: check_widgets(cls, **values))

    @classmethod
    def execute(
        cls,
        model: Any,
        small_model: Any,
        add_noise: str,
        noise_seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        start_at_step: int,
        end_at_step: int,
        return_with_leftover_noise: str,
        fraction: float | str,
        small_positive: Any = None,
        small_negative: Any = None,
        small_cfg: float = 0.0,
        unit: str = "steps",
        memory: str = "auto",
    ) -> io.NodeOutput:
        check_sockets(model, latent_image, positive, negative, small_positive, small_negative)
        check_choice("add_noise", add_noise, SWITCH)
        check_choice("return_with_leftover_noise", return_with_leftover_noise, SWITCH)
        schedule = ksampler_schedule(model, steps, sampler_name, scheduler, start_at_step=start_at_step)
        stitch = two_model_stitch(fraction, unit, memory, schedule)
        small = ModelStage(small_model, small_positive, small_negative, small_cfg or None)
        with stitched_for_one_run(model, [small], stitch) as stitched:
            (latent,) = common_ksampler(
                stitched,
                noise_seed,
                steps,
                cfg,
                sampler_name,
                scheduler,
                positive,
                negative,
                latent_image,
                disable_noise=add_noise == "disable",
                start_step=start_at_step,
                last_step=end_at_step,
                force_full_denoise=return_with_leftover_noise == "disable",
            )
        return outputs_of(latent, stitch)


NODES = [TStitchKSampler, TStitchKSamplerAdvanced]
