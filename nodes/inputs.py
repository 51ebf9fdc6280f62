"""Inputs shared by several nodes, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import comfy.samplers
from comfy_api.latest import io

from ..tstitch.checks.choices import check_choice, check_range
from ..tstitch.checks.inputs import check_conditioning, check_latent, check_model
from ..tstitch.errors import StitchError
from ..tstitch.host.memory import POLICIES
from ..tstitch.planning.calibration.record import Calibration
from ..tstitch.planning.profile.record import Profile
from ..tstitch.schedule import MAX_STAGES, UNITS, read_number
from ..tstitch.stitch.model import ModelStage

CATEGORY = "sampling/t-stitch"

CalibrationType = io.Custom("TSTITCH_CALIBRATION")
ProfileType = io.Custom("TSTITCH_PROFILE")

UNIT_TOOLTIP = (
    "What the splits count. steps: fraction of the steps, as in the paper. step: step number. timestep: noise level t"
    " from 1 (noise) to 0 (image), e.g. 0.875 for Wan 2.2. sigma: the sampler's own noise level. noise: the share of"
    " noise in the mixture, which means the same for every model and scheduler; 0.86 is a safe start. Fractions and"
    " step numbers always mean the whole trajectory: in an img2img or hi-res pass that starts late, 0.4 stays at 40 %"
    " of the full noise range, so the small model never gets the fine details."
)
MEMORY_TOOLTIP = (
    "auto: all models stay on the GPU if they fit, else each is loaded when its steps begin. keep: always all at"
    " once (fastest switch, most memory). swap: always one at a time (least memory, one load per switch)."
)


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


def seed_input(tooltip: str, name: str = "seed") -> io.Int.Input:
    return io.Int.Input(name, default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip=tooltip)


def denoise_input(tooltip: str) -> io.Float.Input:
    return io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


def step_inputs(
    steps: str = "Steps of both models together. More is finer and slower.",
    sampler: str = "Any sampler works. Multistep and SDE samplers keep their history over the switch, which two"
    " chained KSamplers lose.",
) -> list[io.Input]:
    """Inputs of the host's KSampler, with these tooltips."""
    return [
        io.Int.Input("steps", default=20, min=1, max=10000, tooltip=steps),
        io.Float.Input(
            "cfg",
            default=8.0,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip="How strongly the prompt is followed. At 1 the negative prompt is skipped, which halves the"
            " cost of a step.",
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


def unit_input(optional: bool = False) -> io.Combo.Input:
    return io.Combo.Input("unit", options=list(UNITS), default="steps", optional=optional, tooltip=UNIT_TOOLTIP)


def memory_input(optional: bool = False) -> io.Combo.Input:
    return io.Combo.Input(
        "memory", options=list(POLICIES), default=POLICIES[0], optional=optional, tooltip=MEMORY_TOOLTIP
    )


def number_input(widget: io.Float.Input | io.String.Input) -> io.MultiType.Input:
    """`widget`, whose socket takes an INT, a FLOAT or a STRING."""
    own = widget.get_io_type()
    return io.MultiType.Input(widget, types=[kind for kind in (io.Float, io.Int, io.String) if kind.io_type != own])


def fraction_input() -> io.MultiType.Input:
    return number_input(
        io.Float.Input(
            "fraction",
            default=0.4,
            min=0.0,
            max=10000.0,
            step=0.01,
            round=0.0001,
            tooltip="Fraction of the trajectory for the small model: 0 is the large model alone, 1 the small one"
            " alone. Higher is faster; about 0.4 usually costs no quality. Another unit changes what the number"
            " means. An INT or a STRING may be connected too.",
        )
    )


def splits_input() -> io.MultiType.Input:
    return number_input(
        io.String.Input(
            "splits",
            default="0.4",
            tooltip="Where each model hands over to the next: one number fewer than there are models, e.g. 0.4 for two"
            " or 0.3, 0.6 for three. Higher is faster; up to about 0.4 the picture usually keeps its quality. An INT or"
            " a FLOAT may be connected too.",
        )
    )


def pattern_input() -> io.String.Input:
    return io.String.Input(
        "pattern",
        default="",
        tooltip="Optional explicit list, which replaces the splits: model x steps, such as 1x8 2x12, or interleaved as"
        " 2x4 1x10 2x6. Models are numbered in run order, the last number is the finishing one. It must add up to the"
        " steps of the run; where that is a part of a schedule (img2img, a hi-res pass), it stands for the whole.",
    )


def schedule_inputs(prefix: str, socket: Any, noun: str) -> list[io.Input]:
    """Inputs of Multi-Model Schedule and Stitch Guiders after their first two sockets."""
    sockets = numbered(prefix, socket, noun, f" Each additional {noun} needs one more split.")
    return [splits_input(), unit_input(), pattern_input(), memory_input(), *sockets]


def numbered(prefix: str, socket: Any, noun: str, more: str = "") -> list[io.Input]:
    """The optional sockets `prefix`_2 ... `prefix`_7."""
    return [
        socket.Input(
            f"{prefix}_{number}",
            optional=True,
            tooltip=f"Another {noun}, which runs after {prefix}_{number - 1}.{more}",
        )
        for number in range(2, MAX_STAGES)
    ]


def split_step_inputs() -> list[io.Input]:
    """Steps at which one model hands over to the next."""
    first = io.Int.Input(
        "step_1",
        default=10,
        min=0,
        max=10000,
        tooltip="The step at which the second model takes over, counted from 0. Connect the number that sets it"
        " elsewhere in the workflow.",
    )
    others = [
        io.Int.Input(
            f"step_{number}",
            min=0,
            max=10000,
            optional=True,
            force_input=True,
            tooltip=f"The step at which model {number + 1} takes over. Each additional step needs one more model.",
        )
        for number in range(2, MAX_STAGES)
    ]
    return [first, *others]


def connected(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Input name to value, in run order, of the sockets `prefix`_1, `prefix`_2 ... that are in use."""
    names = [f"{prefix}_{number}" for number in range(1, MAX_STAGES)]
    if unknown := values.keys() - set(names):
        raise TypeError(f"no inputs {', '.join(sorted(unknown))}")
    return {name: values[name] for name in names if values.get(name) is not None}


def small_inputs(
    positive: str = "Separate positive conditioning for all models except final_model, e.g. from another text encoder.",
    negative: str = "Separate negative conditioning for all models except final_model.",
    cfg: str = "cfg of all models except final_model; 0 uses the value of cfg. Set it as in the sampler.",
) -> list[io.Input]:
    """Optional conditioning and cfg of the smaller models, with these tooltips."""
    return [
        io.Conditioning.Input("small_positive", optional=True, tooltip=positive),
        io.Conditioning.Input("small_negative", optional=True, tooltip=negative),
        io.Float.Input("small_cfg", default=0.0, min=0.0, max=100.0, step=0.1, round=0.01, optional=True, tooltip=cfg),
    ]


def stage_inputs() -> list[io.Input]:
    return [
        *small_inputs(
            "Separate positive conditioning for the small model, e.g. from its own text encoder or ControlNet.",
            "Separate negative conditioning for the small model.",
            "cfg of the small model; 0 uses the value of cfg. 1 halves the cost of its steps and suits distilled"
            " small models.",
        ),
        unit_input(optional=True),
        memory_input(optional=True),
    ]


def calibration_input(name: str = "calibration", optional: bool = False) -> io.Input:
    return CalibrationType.Input(
        name,
        optional=optional,
        tooltip="How far each model's predictions are from the base model's, from Calibrate or Load Calibration.",
    )


def tolerance_input() -> io.Float.Input:
    return io.Float.Input(
        "tolerance",
        default=0.02,
        min=0.0,
        max=10.0,
        step=0.01,
        round=0.0001,
        tooltip="Largest accepted relative error of the small model's noise prediction; the split is the longest"
        " run of first steps within it. Higher is faster and further from the base model; 0.02 is cautious.",
    )


def measured_stages(
    models: dict[str, Any],
    final_model: Any,
    prompts: tuple[Any, Any],
    small_prompts: tuple[Any, Any],
    cfg: float,
    small_cfg: float,
) -> dict[str, ModelStage]:
    """By input name in run order, `final_model` last.

    prompts: positive and negative. small_prompts: the same for all other models; None means that of `prompts`.
    Raises StitchError for a value that is no conditioning.
    """
    own = {"small_positive": small_prompts[0], "small_negative": small_prompts[1]}
    named = dict(zip(("positive", "negative"), prompts, strict=True))
    named |= {name: cond for name, cond in own.items() if cond is not None}
    for name, value in named.items():
        check_conditioning(name, value)
    small = named.get("small_positive", prompts[0]), named.get("small_negative", prompts[1])
    stages = {name: ModelStage(model, *small, small_cfg or cfg) for name, model in models.items()}
    return {**stages, "final_model": ModelStage(final_model, *prompts, cfg)}


def check_sockets(
    model: Any, latent_image: Any, positive: Any, negative: Any, small_positive: Any, small_negative: Any
) -> None:
    """Raise StitchError for a value of the wrong type; conditioning of the small model may be None."""
    check_model("model", model)
    check_latent("latent_image", latent_image)
    check_conditioning("positive", positive)
    check_conditioning("negative", negative)
    for name, value in (("small_positive", small_positive), ("small_negative", small_negative)):
        if value is not None:
            check_conditioning(name, value)


def check_calibration(name: str, value: Any) -> None:
    if not isinstance(value, Calibration):
        raise StitchError(
            f"{name} is of type {type(value).__name__}, not a calibration: connect Calibrate or Load Calibration."
        )


def check_profile(name: str, value: Any) -> None:
    if not isinstance(value, Profile):
        raise StitchError(f"{name} is of type {type(value).__name__}, not a profile: connect T-Stitch Profile.")


def checked(*checks: Callable[[], object]) -> bool | str:
    """The answer the host expects of `validate_inputs`."""
    try:
        for check in checks:
            check()
    except StitchError as error:
        return str(error)
    return True


def check_widgets(node: type[io.ComfyNode], **values: Any) -> None:
    """Refuse what no widget of `node` offers, before anything is loaded. Raises StitchError; None comes over a link.

    Some hosts do not look at the choices of newer schemas, and none at an input that `validate_inputs` names.
    """
    for item in node.define_schema().inputs:
        value, widget = values.get(item.id), getattr(item, "input_override", None) or item
        if value is None:
            continue
        if isinstance(widget, io.Combo.Input):
            check_choice(item.id, value, widget.options)
        elif isinstance(widget, (io.Int.Input, io.Float.Input)):
            check_range(item.id, read_number(item.id, value), widget.min, widget.max)
