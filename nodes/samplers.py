"""T-Stitch KSampler and its advanced sibling: two models, one loop, one node."""

from __future__ import annotations

from typing import Any

import comfy.samplers
from comfy_api.latest import io

from nodes import common_ksampler

from ..tstitch.checks.choices import check_choice
from ..tstitch.checks.inputs import check_conditioning, check_latent, check_model
from ..tstitch.page.progress import watch_for_page
from ..tstitch.schedule import ScheduleSpec, check_splits, read_number
from ..tstitch.stitch.handover import Handover
from ..tstitch.stitch.model import ModelStage, stitched_for_one_run
from ..tstitch.stitch.report import Report
from ..tstitch.stitch.run import Stitch
from ..tstitch.trajectory import FullSchedule, ksampler_schedule
from .inputs import CATEGORY, check_widgets, checked, memory_input, number_input, small_inputs, unit_input

NAMES = ("small_model", "model")
SWITCH = ("enable", "disable")


def model_inputs() -> list[io.Input]:
    return [
        io.Model.Input(
            "model", tooltip="The large model, which finishes. At a fraction of 0 it draws alone: plain sampling."
        ),
        io.Model.Input(
            "small_model",
            tooltip="The small, fast model, which draws the early, noisy steps. It must share the latent space (VAE) of"
            " the large one, e.g. BK-SDM-Tiny with SD 1.5 or SSD-1B with SDXL.",
        ),
    ]


def step_inputs(
    steps: str = "Steps of both models together. More is finer and slower.",
    sampler: str = "Any sampler works. Multistep and SDE samplers keep their history over the switch, which two"
    " chained KSamplers lose.",
) -> list[io.Input]:
    """What the host's KSampler has, with these tooltips."""
    return [
        io.Int.Input("steps", default=20, min=1, max=10000, tooltip=steps),
        io.Float.Input(
            "cfg",
            default=8.0,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip="How strongly the prompt is followed. At 1 the negative prompt is skipped and a step costs half.",
        ),
        io.Combo.Input("sampler_name", options=comfy.samplers.KSampler.SAMPLERS, tooltip=sampler),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.KSampler.SCHEDULERS,
            tooltip="How the noise falls from step to step. It decides how much time is spent at which noise level.",
        ),
        io.Conditioning.Input("positive", tooltip="What should be in the picture, for both models."),
        io.Conditioning.Input("negative", tooltip="What should not be in the picture, for both models."),
        io.Latent.Input("latent_image", tooltip="The latent to denoise: empty, or an image to change."),
    ]


def fraction_input() -> io.MultiType.Input:
    return number_input(
        io.Float.Input(
            "fraction",
            default=0.4,
            min=0.0,
            max=10000.0,
            step=0.01,
            round=0.0001,
            tooltip="Part of the trajectory for the small model: 0 is the large model alone, 1 the small one alone."
            " Higher is faster; about 0.4 is usually free. Another unit changes what the number means. An INT or a"
            " STRING may be connected too.",
        )
    )


def stage_inputs() -> list[io.Input]:
    return [
        *small_inputs(
            "Own positive conditioning for the small model, e.g. from its own text encoder or ControlNet.",
            "Own negative conditioning for the small model.",
            "cfg of the small model; 0 takes the same as cfg. At 1 its steps cost half, which suits distilled small"
            " models.",
        ),
        unit_input(optional=True),
        memory_input(optional=True),
    ]


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


def check_sockets(model: Any, latent_image: Any, needed: dict[str, Any], optional: dict[str, Any]) -> None:
    check_model("model", model)
    check_latent("latent_image", latent_image)
    for name, value in needed.items():
        check_conditioning(name, value)
    for name, value in optional.items():
        if value is not None:
            check_conditioning(name, value)


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
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The noise to start from. It does not depend on the fraction, so results can be compared.",
                ),
                *step_inputs(),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Below 1 the structure of latent_image is kept (img2img), and the small model's part of"
                    " the full trajectory is cut off first.",
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
        prompts = {"positive": positive, "negative": negative}
        check_sockets(
            model, latent_image, prompts, {"small_positive": small_positive, "small_negative": small_negative}
        )
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
            description="As the host's advanced KSampler (own noise, start and end step, leftover noise), with two"
            " models in one loop. The fraction counts on the whole schedule, not on the part that is run.",
            inputs=[
                *model_inputs(),
                io.Combo.Input(
                    "add_noise", options=list(SWITCH), tooltip="Disable when latent_image is noisy already."
                ),
                io.Int.Input(
                    "noise_seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The noise to start from. It does not depend on the fraction, so results can be compared.",
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
                    tooltip="Enable to hand a latent that is still noisy on to another sampler.",
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
        prompts = {"positive": positive, "negative": negative}
        check_sockets(
            model, latent_image, prompts, {"small_positive": small_positive, "small_negative": small_negative}
        )
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
