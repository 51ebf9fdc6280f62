"""Refuses values of the wrong type: links through reroutes and other packs carry anything."""

from __future__ import annotations

from typing import Any

from ..errors import StitchError


def check_model(name: str, value: Any) -> None:
    if not hasattr(getattr(value, "model", None), "model_sampling"):
        raise _not_a("MODEL", name, value, "a model loader")


def check_guider(name: str, value: Any) -> None:
    if not (hasattr(value, "sample") and hasattr(value, "model_patcher")):
        raise _not_a("GUIDER", name, value, "a guider node such as CFGGuider or BasicGuider")


def check_conditioning(name: str, value: Any) -> None:
    entries = value if isinstance(value, list) else [None]
    if not all(
        isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[1], dict) for entry in entries
    ):
        raise _not_a("CONDITIONING", name, value, "CLIP Text Encode or another conditioning node")


def check_latent(name: str, value: Any) -> None:
    if not (isinstance(value, dict) and hasattr(value.get("samples"), "shape")):
        raise _not_a("LATENT", name, value, "Empty Latent Image or VAE Encode")


def check_single_latent(latent: dict[str, Any]) -> None:
    if getattr(latent["samples"], "is_nested", False):
        raise StitchError(
            "latent_image holds several latents in one, such as video with sound: this node takes one kind only."
        )


def check_vae(name: str, value: Any, latent_format: Any) -> None:
    """Raise StitchError unless `value` decodes latents of that format, judging by the number of channels."""
    if not hasattr(value, "decode"):
        raise _not_a("VAE", name, value, "a checkpoint loader or Load VAE")
    channels = getattr(value, "latent_channels", latent_format.latent_channels)
    if channels != latent_format.latent_channels:
        raise StitchError(
            f"{name} decodes latents with {channels} channels, but the models work on {type(latent_format).__name__}"
            f" latents with {latent_format.latent_channels}: connect the VAE of their family."
        )


def _not_a(kind: str, name: str, value: Any, source: str) -> StitchError:
    found = "empty" if value is None else f"of type {type(value).__name__}"
    return StitchError(f"{name} is {found}, not a {kind}: connect the output of {source}.")
