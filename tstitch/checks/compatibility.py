"""Refuses, before anything is loaded, models that cannot share one sampling run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ..errors import StitchError
from ..host.conditioning import controls_of
from ..host.noise_levels import PROBES, mixing

#: Kinds of model (the host's ModelType) whose input is not a mixture of image and noise that another kind could read.
#: Others show that themselves: see `_mixes_alone`.
UNMIXABLE = ("STABLE_CASCADE", "IMG_TO_IMG")


def check_latent_formats(names: Sequence[str], patchers: Sequence[Any]) -> None:
    """Raise StitchError unless all models read the latents of the last one."""
    last = patchers[-1].get_model_object("latent_format")
    for name, patcher in zip(names, patchers, strict=True):
        found = patcher.get_model_object("latent_format")
        if not _same_latents(found, last):
            raise StitchError(
                f"{name} works on {_describe(found)} latents, but {names[-1]} on {_describe(last)}: stitched models"
                " must share one latent space, so choose a pair of one family."
            )


def check_mixable(names: Sequence[str], patchers: Sequence[Any]) -> None:
    """Raise StitchError where two kinds of model meet that no change of coordinates connects."""
    kinds = [_kind(patcher) for patcher in patchers]
    lead = kinds[-1]
    for name, kind in zip(names, kinds, strict=True):
        if kind != lead and not (kind.mixes and lead.mixes):
            raise StitchError(
                f"{name} is a model of kind {kind.name} and {names[-1]} of kind {lead.name}: these cannot share a"
                " sampling run, so choose two of one kind."
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


def check_sound(names: Sequence[str], patchers: Sequence[Any]) -> None:
    """Raise StitchError where models would read the sound beside a picture at another scale than it has.

    The host's ModelSamplingAV (MiniMax H3) carries it times the ratio of the shifts of picture and sound.
    """
    scales = [float(getattr(patcher.get_model_object("model_sampling"), "audio_scale", 1.0)) for patcher in patchers]
    for name, scale in zip(names, scales, strict=True):
        if not math.isclose(scale, scales[-1], rel_tol=1e-6):
            raise StitchError(
                f"{name} shifts the noise of the picture {scale:g} times as much as that of the sound, {names[-1]}"
                f" {scales[-1]:g} times: give both the same ratio of the two shifts, or their sound would not match."
            )


def check_controls(names: Sequence[str], guiders: Sequence[Any]) -> None:
    """Raise StitchError where a ControlNet was made for a model of another layout than that of its stage."""
    networks = [guider.model_patcher.model.diffusion_model for guider in guiders]
    for name, guider, network in zip(names, guiders, networks, strict=True):
        for control in controls_of(getattr(guider, "original_conds", {})):
            misfit = _misfit(control, network)
            if misfit is None:
                continue
            fitting = [other for other, found in zip(names, networks, strict=True) if _misfit(control, found) is None]
            remedy = f"give it to {' and '.join(fitting)} only" if fitting else "leave it out"
            raise StitchError(
                f"The ControlNet in the conditioning of {name} does not fit its model ({misfit}): {remedy}, by"
                " conditioning of its own for each model (small_positive and small_negative, or Stitch Guiders)."
            )


def _misfit(control: Any, network: Any) -> str | None:
    """Why the outputs of `control` cannot be added to the blocks of `network`; None also where that cannot be told."""
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
    """Number and width of the blocks, as far as the host's classes tell."""
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
    """By the model's sampling first, which a node may have exchanged."""
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
    """Whether it starts without noise, or with noise by the size of the picture."""
    small, large = (mixing(sampling, PROBES[0], side) for side in (1, 64))
    return small[1] == 0 or small != large


def _describe(latent_format: Any) -> str:
    video = ", video" if latent_format.latent_dimensions == 3 else ""
    return f"{type(latent_format).__name__} ({latent_format.latent_channels} channels{video})"


def _same_latents(first: Any, second: Any) -> bool:
    """Compares what the formats do to a latent, not what they are called."""
    if first is second:
        return True
    shapes = [(item.latent_channels, item.latent_dimensions) for item in (first, second)]
    if shapes[0] != shapes[1]:
        return False
    channels, dimensions = shapes[0]
    probe = torch.linspace(-1, 1, channels).reshape(1, channels, *[1] * dimensions)
    return torch.equal(first.process_out(probe), second.process_out(probe))
