"""Refuses values that are not what their socket promises: links through reroutes and other packs carry anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import StitchError

#: Of the host's models that bring text of any width to their own first (Stable Zero123).
TEXT_PROJECTIONS = ("cc_projection", "preprocess_text_embeds")

#: Where the host keeps the width of the text a model reads: U-Nets, Flux and its like, Lumina, others.
TEXT_WIDTHS = ("context_dim", "context_in_dim", "cap_feat_dim", "text_dim")

ENCODE_AGAIN = (
    "encode the prompt with the text encoder of that model, and give each model its own (small_positive and"
    " small_negative, or Stitch Guiders)."
)


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
    """Raise StitchError unless `value` decodes latents of that format, as far as the number of channels tells."""
    if not hasattr(value, "decode"):
        raise _not_a("VAE", name, value, "a checkpoint loader or Load VAE")
    channels = getattr(value, "latent_channels", latent_format.latent_channels)
    if channels != latent_format.latent_channels:
        raise StitchError(
            f"{name} decodes latents with {channels} channels, but the models work on {type(latent_format).__name__}"
            f" latents with {latent_format.latent_channels}: connect the VAE of their family."
        )


def check_latent_channels(latent_image: Any, name: str, latent_format: Any) -> None:
    """Raise StitchError where the latent is of another family than the model; the host repairs empty ones only."""
    if getattr(latent_image, "is_nested", False) or latent_image.shape[1] == latent_format.latent_channels:
        return
    raise StitchError(
        f"The latent has {latent_image.shape[1]} channels, but {name} works on {type(latent_format).__name__} latents"
        f" with {latent_format.latent_channels}: take the empty latent, or the VAE, of its family."
    )


def check_text_widths(names: Sequence[str], guiders: Sequence[Any]) -> None:
    """Raise StitchError where the conditioning of a stage comes from another text encoder than its model's."""
    for name, guider, kind, entry in _conditioning_of(names, guiders):
        width, shape = _text_width(guider.model_patcher.model), getattr(entry.get("cross_attn"), "shape", None)
        if width is not None and shape is not None and shape[-1] != width:
            raise StitchError(
                f"{name} reads text of width {width}, but its {kind} conditioning has {shape[-1]}: {ENCODE_AGAIN}"
            )


def check_pooled_texts(names: Sequence[str], guiders: Sequence[Any]) -> None:
    """Raise StitchError where the model of a stage reads a pooled form of the text that its conditioning lacks."""
    for name, guider, kind, entry in _conditioning_of(names, guiders):
        if "pooled_output" not in entry and _needs_pooled_text(guider.model_patcher.model, entry):
            raise StitchError(
                f"{name} reads the pooled form of the text too, but its {kind} conditioning has none: {ENCODE_AGAIN}"
            )


def _conditioning_of(names: Sequence[str], guiders: Sequence[Any]) -> Iterator[tuple[str, Any, str, dict[str, Any]]]:
    """Every entry of every stage's conditioning: the stage's name and guider, the conditioning's name, the entry."""
    for name, guider in zip(names, guiders, strict=True):
        for kind, entries in getattr(guider, "original_conds", {}).items():
            for entry in entries:
                yield name, guider, kind, entry


def _text_width(model: Any) -> int | None:
    if any(hasattr(model, name) for name in TEXT_PROJECTIONS):
        return None
    config = getattr(getattr(model, "model_config", None), "unet_config", {})
    sd3 = config.get("context_embedder_config") or {"params": {}}
    wan = getattr(model.diffusion_model, "text_dim", None)
    widths = [*(config.get(key) for key in TEXT_WIDTHS), sd3["params"].get("in_features"), wan]
    return next((width for width in widths if isinstance(width, int)), None)


def _needs_pooled_text(model: Any, entry: dict[str, Any]) -> bool:
    """Asks the host, whose models look for it in `entry` before anything else."""
    try:
        model.encode_adm(**entry)
    except KeyError as missing:
        return missing.args == ("pooled_output",)
    except AttributeError:  # SV3D looks at the noise, which is known only once the run has begun
        return False
    return False


def _not_a(kind: str, name: str, value: Any, source: str) -> StitchError:
    found = "empty" if value is None else f"of type {type(value).__name__}"
    return StitchError(f"{name} is {found}, not a {kind}: connect the output of {source}.")
