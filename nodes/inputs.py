"""Inputs that several nodes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..tstitch.checks.choices import check_choice, check_range
from ..tstitch.checks.inputs import check_conditioning
from ..tstitch.errors import StitchError
from ..tstitch.schedule import MAX_STAGES, UNITS, read_number
from ..tstitch.stitch.model import ModelStage

CATEGORY = "sampling/t-stitch"

UNIT_TOOLTIP = (
    "What the splits count. steps: fraction of the steps, as in the paper. step: step number. timestep: noise level t"
    " from 1 (noise) to 0 (image), e.g. 0.875 for Wan 2.2. sigma: the sampler's own noise level. Fractions and step"
    " numbers always mean the whole trajectory: in an img2img or hi-res pass that starts late, 0.4 stays at 40 % of the"
    " full noise range, so the small model never gets the fine details."
)
MEMORY_TOOLTIP = (
    "auto: all models stay on the GPU if they fit, else they are loaded one after another at the switch. keep: always"
    " all at once (fastest switch, most memory). swap: always one at a time (least memory, one load a switch)."
)


def unit_input(optional: bool = False) -> io.Combo.Input:
    return io.Combo.Input("unit", options=list(UNITS), default="steps", optional=optional, tooltip=UNIT_TOOLTIP)


def memory_input(optional: bool = False) -> io.Combo.Input:
    return io.Combo.Input(
        "memory", options=["auto", "keep", "swap"], default="auto", optional=optional, tooltip=MEMORY_TOOLTIP
    )


def number_input(widget: io.Float.Input | io.String.Input) -> io.MultiType.Input:
    """`widget`, whose socket takes a number of any kind, or a text with one."""
    own = widget.get_io_type()
    return io.MultiType.Input(widget, types=[kind for kind in (io.Float, io.Int, io.String) if kind.io_type != own])


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
    """What Multi-Model Schedule and Stitch Guiders have in common after their first two sockets."""
    sockets = numbered(prefix, socket, noun, " Each one more needs one split more.")
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


def connected(prefix: str, *values: Any) -> dict[str, Any]:
    """Input name to value, in run order, of the sockets `prefix`_1, `prefix`_2 ... that are in use."""
    named = {f"{prefix}_{number}": value for number, value in enumerate(values, 1)}
    return {name: value for name, value in named.items() if value is not None}


def small_inputs(
    positive: str = "Own positive conditioning for all models but final_model, e.g. from another text encoder.",
    negative: str = "Own negative conditioning for all models but final_model.",
    cfg: str = "cfg of all models but final_model; 0 takes the same as cfg. Set it as in the sampler.",
) -> list[io.Input]:
    """What the smaller models may have of their own, with these tooltips."""
    return [
        io.Conditioning.Input("small_positive", optional=True, tooltip=positive),
        io.Conditioning.Input("small_negative", optional=True, tooltip=negative),
        io.Float.Input("small_cfg", default=0.0, min=0.0, max=100.0, step=0.1, round=0.01, optional=True, tooltip=cfg),
    ]


def measured_stages(
    models: dict[str, Any],
    final_model: Any,
    prompts: tuple[Any, Any],
    small_prompts: tuple[Any, Any],
    cfg: float,
    small_cfg: float,
) -> dict[str, ModelStage]:
    """By input name in run order, `final_model` last.

    prompts: positive and negative; of the small ones, which all other models read, either may be None. Raises
    StitchError where a socket holds no conditioning.
    """
    own = {"small_positive": small_prompts[0], "small_negative": small_prompts[1]}
    named = dict(zip(("positive", "negative"), prompts, strict=True))
    named |= {name: cond for name, cond in own.items() if cond is not None}
    for name, value in named.items():
        check_conditioning(name, value)
    small = named.get("small_positive", prompts[0]), named.get("small_negative", prompts[1])
    stages = {name: ModelStage(model, *small, small_cfg or cfg) for name, model in models.items()}
    return {**stages, "final_model": ModelStage(final_model, *prompts, cfg)}


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
