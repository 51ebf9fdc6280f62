"""What a model is, by the host's own detection and model list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.model_detection

from ..checks.compatibility import describe_latents, same_latents
from ..errors import StitchError
from ..families.bksdm import infer_unet_config, slim_config
from ..families.shared.checkpoint import Checkpoint
from .header import Header


@dataclass(frozen=True)
class ModelFacts:
    family: str  # the host's name
    latent_format: Any
    parameters: int  # of the denoiser
    text: str  # the host's names of what reads the prompt; empty where there is none

    @property
    def latents(self) -> str:
        return describe_latents(self.latent_format)

    def shares_latents(self, other: ModelFacts) -> bool:
        return same_latents(self.latent_format, other.latent_format)


def facts_of(header: Header) -> ModelFacts:
    """Raises StitchError where the host knows no model of these weights."""
    prefix = comfy.model_detection.unet_prefix_from_state_dict(header.state)
    network = {key.removeprefix(prefix): value for key, value in header.state.items() if key.startswith(prefix)}
    network = network or header.state
    try:
        found = _host_config(network, header.metadata)
    except Exception as error:  # the host's detection fails in many ways on files it does not know
        raise StitchError(f"The file {header.name} is no model that ComfyUI knows ({error}).") from None
    if found is None:
        return _own_family(network, header.name)
    parameters = sum(value.numel() for value in network.values())
    return ModelFacts(type(found).__name__, found.latent_format, parameters, text_encoder_of(found))


def _host_config(network: dict[str, Any], metadata: dict[str, str]) -> Any | None:
    """As the host's loader of diffusion models goes about it."""
    config = comfy.model_detection.model_config_from_unet(dict(network), "", metadata=metadata)
    if config is not None:
        return config
    converted = comfy.model_detection.convert_diffusers_mmdit(dict(network), "")
    if converted is not None:
        return comfy.model_detection.model_config_from_unet(converted, "")
    return comfy.model_detection.model_config_from_diffusers_unet(dict(network))


def _own_family(network: dict[str, Any], name: str) -> ModelFacts:
    try:
        config = slim_config(infer_unet_config(Checkpoint(name, network)))
    except StitchError:
        raise StitchError(f"The file {name} is no diffusion model that ComfyUI or T-Stitch knows.") from None
    parameters = sum(value.numel() for value in network.values())
    return ModelFacts("BK-SDM", config.latent_format, parameters, text_encoder_of(config))


def text_encoder_of(config: Any) -> str:
    """The host's names of tokenizer and network; empty where it does not say them without a text encoder's file."""
    try:
        target = config.clip_target({})
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
    if target is None:
        return ""
    return " ".join(getattr(part, "__qualname__", "") for part in (target.tokenizer, target.clip))
