"""The host's own model list as a table: families that read the same latents."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.supported_models

from ..checks.compatibility import describe_latents, same_latents
from .facts import text_encoder_of

#: What people call them; others go by the host's name.
NAMES = {
    "SD15": "Stable Diffusion 1.x, BK-SDM",
    "SD20": "Stable Diffusion 2.x",
    "SDXLRefiner": "SDXL refiner",
    "SSD1B": "SSD-1B",
    "Segmind_Vega": "Segmind-Vega",
    "KOALA_700M": "KOALA 700M",
    "KOALA_1B": "KOALA 1B",
    "SD3": "SD3, SD3.5 Medium and Large",
    "PixArtAlpha": "PixArt-α",
    "PixArtSigma": "PixArt-Σ",
    "HunyuanDiT": "Hunyuan-DiT",
    "HunyuanDiT1": "Hunyuan-DiT 1.0",
    "Flux": "FLUX.1 dev",
    "FluxSchnell": "FLUX.1 schnell",
    "FluxInpaint": "FLUX.1 Fill",
    "Flux2": "FLUX.2 dev, klein",
    "LTXV": "LTX-Video 2B and 13B",
    "LTXAV": "LTX-2",
    "HunyuanVideo": "HunyuanVideo",
    "HunyuanVideoI2V": "HunyuanVideo image to video",
    "HunyuanVideo15": "HunyuanVideo 1.5",
    "HunyuanImage21": "HunyuanImage 2.1",
    "CosmosT2IPredict2": "Cosmos Predict2 2B and 14B",
    "CosmosI2VPredict2": "Cosmos Predict2 video 2B and 14B",
    "Lumina2": "Lumina 2",
    "ZImage": "Z-Image",
    "WAN21_T2V": "Wan 2.1 1.3B and 14B, Wan 2.2 high and low noise",
    "WAN21_I2V": "Wan 2.1 and 2.2 image to video",
    "WAN22_T2V": "Wan 2.2 5B",
    "QwenImage": "Qwen-Image",
    "Omnigen2": "OmniGen2",
    "HiDream": "HiDream-I1",
    "Chroma": "Chroma",
    "AuraFlow": "AuraFlow",
    "Kandinsky5": "Kandinsky 5 video",
    "Kandinsky5Image": "Kandinsky 5 image",
    "GenmoMochi": "Mochi",
}


class Family(NamedTuple):
    name: str  # the host's
    latent_format: Any
    text: str

    @property
    def title(self) -> str:
        return NAMES.get(self.name, self.name)


def families() -> list[Family]:
    return [
        Family(kind.__name__, kind.latent_format(), text_encoder_of(kind(dict(kind.unet_config))))
        for kind in comfy.supported_models.models
    ]


def groups() -> list[list[Family]]:
    """Families of one latent space, the largest groups first."""
    found: list[list[Family]] = []
    for family in families():
        group = next((each for each in found if same_latents(each[0].latent_format, family.latent_format)), None)
        if group is None:
            found.append([family])
        else:
            group.append(family)
    return sorted(found, key=len, reverse=True)


def table() -> str:
    """In Markdown; families that read one text encoder stand in brackets together."""
    lines = ["| latents | families that share them |", "|---|---|"]
    for group in groups():
        texts: dict[str, list[str]] = {}
        for family in group:
            texts.setdefault(family.text, []).append(family.title)
        cells = ["; ".join(dict.fromkeys(titles)) for titles in texts.values()]
        lines.append(f"| {describe_latents(group[0].latent_format)} | {' **or** '.join(cells)} |")
    return "\n".join(lines)
