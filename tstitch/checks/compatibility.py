"""Refuses, before anything is loaded, models that cannot share one sampling run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from ..errors import StitchError
from ..host.conditioning import controls_of
from ..host.noise_levels import PROBES, mixing

#: Kinds of model (the host's ModelType) whose input is not a mixture of image and noise that another kind could read.
#: Others show that themselves: see `_mixes_alone`.
UNMIXABLE = ("STABLE_CASCADE", "IMG_TO_IMG")

#: Attributes of models that project text of any width to their own (Stable Zero123).
TEXT_PROJECTIONS = ("cc_projection", "preprocess_text_embeds")

#: Where the host keeps the width of the text a model reads: U-Nets, Flux and its like, Lumina, others.
TEXT_WIDTHS = ("context_dim", "context_in_dim", "cap_feat_dim", "text_dim")

ENCODE_AGAIN = (
    "encode the prompt with the text encoder of that model, and give each model its own (small_positive and"
    " small_negative, or Stitch Guiders)."
)


class Part(NamedTuple):
    """A model that takes part in a run."""

    name: str  # of its input, for messages
    guider: Any  # of the host, on this model and with its conditioning

    @property
    def model(self) -> Any:
        return self.guider.model_patcher

    @property
    def latent_format(self) -> Any:
        return self.model.get_model_object("latent_format")

    @property
    def conditioning(self) -> dict[str, Any]:
        return getattr(self.guider, "original_conds", {})


def parts_of(names: Sequence[str], guiders: Sequence[Any]) -> list[Part]:
    return [Part(name, guider) for name, guider in zip(names, guiders, strict=True)]


def check_run(parts: Sequence[Part], latent_image: Any) -> None:
    """Raise StitchError unless the models can share one run on this latent; `parts` are in run order."""
    check_latents(parts, latent_image)
    check_asked(parts, latent_image)


def check_latents(parts: Sequence[Part], latent_image: Any) -> None:
    """What must hold of all models, also of those without a step."""
    check_latent_formats(parts)
    check_latent_channels(latent_image, parts[-1].name, parts[-1].latent_format)


def check_asked(parts: Sequence[Part], latent_image: Any) -> None:
    """What must hold of the models that have a step."""
    check_mixable(parts)
    if getattr(latent_image, "is_nested", False):
        check_sound(parts)
    check_controls(parts)
    check_text_widths(parts)
    check_pooled_texts(parts)


def check_latent_formats(parts: Sequence[Part]) -> None:
    """Raise StitchError unless all models read the latents of the last one."""
    last = parts[-1].latent_format
    for part in parts:
        if not same_latents(part.latent_format, last):
            raise StitchError(
                f"{part.name} works on {describe_latents(part.latent_format)} latents, but {parts[-1].name} on"
                f" {describe_latents(last)}: stitched models must share one latent space, so choose a pair of one"
                " family."
            )


def check_mixable(parts: Sequence[Part]) -> None:
    """Raise StitchError for two kinds of model that no change of coordinates connects."""
    kinds = [_kind(part.model) for part in parts]
    lead = kinds[-1]
    for part, kind in zip(parts, kinds, strict=True):
        if kind != lead and not (kind.mixes and lead.mixes):
            raise StitchError(
                f"{part.name} is a model of kind {kind.name} and {parts[-1].name} of kind {lead.name}: these cannot"
                " share a sampling run, so choose two of one kind."
            )


def check_resizable(name: str, patcher: Any) -> None:
    """Raise StitchError unless the model's input is a mixture of image and noise of any height and width."""
    latent_format = patcher.get_model_object("latent_format")
    if latent_format.latent_dimensions < 2 or "Audio" in type(latent_format).__name__:
        raise StitchError(
            f"{name} works on {type(latent_format).__name__} latents (sound or 3D), which have no height and width to"
            " make smaller: use it without Low-Resolution Model."
        )
    kind = _kind(patcher)
    if not kind.mixes:
        raise StitchError(
            f"{name} is a model of kind {kind.name}, whose latents cannot be made smaller: use Low-Resolution Model"
            " with another model."
        )


def check_sound(parts: Sequence[Part]) -> None:
    """Raise StitchError if models would read the sound beside a picture at different scales.

    The host's ModelSamplingAV (MiniMax H3) carries it times the ratio of the shifts of picture and sound.
    """
    scales = [float(getattr(part.model.get_model_object("model_sampling"), "audio_scale", 1.0)) for part in parts]
    for part, scale in zip(parts, scales, strict=True):
        if not math.isclose(scale, scales[-1], rel_tol=1e-6):
            raise StitchError(
                f"{part.name} shifts the noise of the picture {scale:g} times as much as that of the sound,"
                f" {parts[-1].name} {scales[-1]:g} times: give both the same ratio of the two shifts, or their sound"
                " would not match."
            )


def check_controls(parts: Sequence[Part]) -> None:
    """Raise StitchError for a ControlNet that was made for another layout than the model of its stage."""
    networks = [part.model.model.diffusion_model for part in parts]
    for part, network in zip(parts, networks, strict=True):
        for control in controls_of(part.conditioning):
            misfit = _misfit(control, network)
            if misfit is None:
                continue
            fitting = [
                other.name for other, found in zip(parts, networks, strict=True) if _misfit(control, found) is None
            ]
            remedy = f"give it to {' and '.join(fitting)} only" if fitting else "leave it out"
            raise StitchError(
                f"The ControlNet in the conditioning of {part.name} does not fit its model ({misfit}): {remedy}, by"
                " conditioning of its own for each model (small_positive and small_negative, or Stitch Guiders)."
            )


def check_latent_channels(latent_image: Any, name: str, latent_format: Any) -> None:
    """Raise StitchError if the latent is of another family than the model; the host only repairs empty ones."""
    if getattr(latent_image, "is_nested", False) or latent_image.shape[1] == latent_format.latent_channels:
        return
    raise StitchError(
        f"The latent has {latent_image.shape[1]} channels, but {name} works on {type(latent_format).__name__} latents"
        f" with {latent_format.latent_channels}: take the empty latent, or the VAE, of its family."
    )


def check_text_widths(parts: Sequence[Part]) -> None:
    """Raise StitchError if the conditioning of a stage comes from another text encoder than its model's."""
    for part, kind, entry in _conditioning_of(parts):
        width, shape = _text_width(part.model.model), getattr(entry.get("cross_attn"), "shape", None)
        if width is not None and shape is not None and shape[-1] != width:
            raise StitchError(
                f"{part.name} reads text of width {width}, but its {kind} conditioning has {shape[-1]}: {ENCODE_AGAIN}"
            )


def check_pooled_texts(parts: Sequence[Part]) -> None:
    """Raise StitchError if the model of a stage needs pooled text that its conditioning lacks."""
    for part, kind, entry in _conditioning_of(parts):
        if "pooled_output" not in entry and _needs_pooled_text(part.model.model, entry):
            raise StitchError(
                f"{part.name} reads the pooled form of the text too, but its {kind} conditioning has none:"
                f" {ENCODE_AGAIN}"
            )


def _conditioning_of(parts: Sequence[Part]) -> Iterator[tuple[Part, str, dict[str, Any]]]:
    """Every entry of every part's conditioning, with the name of that conditioning."""
    for part in parts:
        for kind, entries in part.conditioning.items():
            for entry in entries:
                yield part, kind, entry


def _text_width(model: Any) -> int | None:
    if any(hasattr(model, name) for name in TEXT_PROJECTIONS):
        return None
    config = getattr(getattr(model, "model_config", None), "unet_config", {})
    sd3 = config.get("context_embedder_config") or {"params": {}}
    wan = getattr(model.diffusion_model, "text_dim", None)
    widths = [*(config.get(key) for key in TEXT_WIDTHS), sd3["params"].get("in_features"), wan]
    return next((width for width in widths if isinstance(width, int)), None)


def _needs_pooled_text(model: Any, entry: dict[str, Any]) -> bool:
    """Asks the host's model, which looks for it in `entry` first."""
    try:
        model.encode_adm(**entry)
    except KeyError as missing:
        return missing.args == ("pooled_output",)
    except AttributeError:  # SV3D looks at the noise, which is known only once the run has begun
        return False
    return False


def _misfit(control: Any, network: Any) -> str | None:
    """Why the outputs of `control` cannot be added to the blocks of `network`; None also if unknown."""
    if getattr(control, "control_weights", None) is not None:
        return _misfit_of_lora(control.control_weights, dict(network.named_modules()))
    made_for, found = _layout(getattr(control, "control_model", None)), _layout(network)
    if made_for is None or found is None or made_for == found:
        return None
    return f"made for {made_for}, found {found}"


def _misfit_of_lora(weights: dict[str, Any], modules: dict[str, Any]) -> str | None:
    """The same for a Control-LoRA, which changes copies of the model's own layers."""
    for key, up in weights.items():
        if not key.endswith(".up"):
            continue
        name = key[: -len(".up")]
        layer = getattr(modules.get(name), "weight", None)
        if layer is None:
            return f"{name} is missing there"
        if layer.shape[0] != up.shape[0]:
            return f"{name} has {layer.shape[0]} channels there instead of {up.shape[0]}"
    return None


def _layout(network: Any) -> str | None:
    """Number and width of the blocks, if the host's classes show them."""
    if hasattr(network, "input_blocks") and hasattr(network, "num_res_blocks"):
        widths = [network.model_channels * factor for factor in network.channel_mult]
        levels = ", ".join(f"{count} x {width}" for count, width in zip(network.num_res_blocks, widths, strict=False))
        return f"U-Net blocks {levels}"
    if hasattr(network, "hidden_size"):
        return f"transformer blocks of width {network.hidden_size}"
    return None


class _Kind(NamedTuple):
    name: str
    mixes: bool  # with other kinds


def _kind(patcher: Any) -> _Kind:
    """By the model's sampling first, which a node may have replaced."""
    sampling = patcher.get_model_object("model_sampling")
    bases = type(sampling).__mro__
    for name in UNMIXABLE:
        if name in {base.__name__ for base in bases}:
            return _Kind(name, mixes=False)
    if _mixes_alone(sampling):
        return _Kind(next(base.__name__ for base in bases if "noise_scaling" in vars(base)), mixes=False)
    name = getattr(getattr(patcher.model, "model_type", None), "name", "unknown")
    return _Kind(name, mixes=name not in UNMIXABLE)


def _mixes_alone(sampling: Any) -> bool:
    """Whether it starts without noise, or with noise that depends on the picture size."""
    small, large = (mixing(sampling, PROBES[0], side) for side in (1, 64))
    return small[1] == 0 or small != large


def describe_latents(latent_format: Any) -> str:
    video = ", video" if latent_format.latent_dimensions == 3 else ""
    return f"{type(latent_format).__name__} ({latent_format.latent_channels} channels{video})"


def same_latents(first: Any, second: Any) -> bool:
    """Compares what the formats do to a latent, not what they are called."""
    if first is second:
        return True
    shapes = [(item.latent_channels, item.latent_dimensions) for item in (first, second)]
    if shapes[0] != shapes[1]:
        return False
    channels, dimensions = shapes[0]
    probe = torch.linspace(-1, 1, channels).reshape(1, channels, *[1] * dimensions)
    return torch.equal(first.process_out(probe), second.process_out(probe))
