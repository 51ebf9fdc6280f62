"""Latents of the avatars in both sizes, as bytes in one safetensors file, which alone is enough to train denoisers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from training.autoencoder import build_vae, moments, with_plain_norms
from training.data import Avatars, halved, load_split
from training.device import DEVICE, autocast, pictures_to_device
from training.loop import CHECKPOINTS

VAE_PATH = Path("models/starter_vae.safetensors")
LATENTS_PATH = CHECKPOINTS / "latents.safetensors"
RANGE = 6.0  # latents of unit variance beyond this many standard deviations are cut
ENCODE_BATCH = 250


@dataclass(frozen=True)
class Latents:
    """Latents as signed bytes, (N, 4, 16, 16) of whole pictures and (N, 4, 8, 8) of halved ones; styles (N,)."""

    full: Tensor
    half: Tensor
    styles: Tensor

    def to(self, device: torch.device) -> Latents:
        return Latents(self.full.to(device), self.half.to(device), self.styles.to(device))


def quantized(latent: Tensor) -> Tensor:
    return (latent.float() * (127 / RANGE)).round().clamp(-127, 127).to(torch.int8)


def dequantized(stored: Tensor) -> Tensor:
    return stored.float() * (RANGE / 127)


def encode(count: int | None = None) -> None:
    """Write the latents of the first `count` training pictures. Raises DatasetError."""
    avatars = load_split("train")
    vae = trained_vae().eval()
    count = min(count or len(avatars), len(avatars))
    parts: list[tuple[Tensor, Tensor]] = []
    for first in tqdm(range(0, count, ENCODE_BATCH), desc="latents", unit="batch", mininterval=5):
        parts.append(_encode_batch(vae, avatars, torch.arange(first, min(first + ENCODE_BATCH, count))))
    full, half = (torch.cat(list(sizes)) for sizes in zip(*parts, strict=True))
    CHECKPOINTS.mkdir(exist_ok=True)
    tensors = {"full": full, "half": half, "styles": avatars.styles[:count].to(torch.uint8)}
    save_file(tensors, LATENTS_PATH, {"vae": vae_stamp()})


def trained_vae() -> Any:
    """The bundled autoencoder in float32, on the training device."""
    vae = build_vae()
    vae.load_state_dict(load_file(VAE_PATH))
    return with_plain_norms(vae).float().to(DEVICE, memory_format=torch.channels_last)


@torch.no_grad()
def _encode_batch(vae: Any, avatars: Avatars, rows: Tensor) -> tuple[Tensor, Tensor]:
    pixels = pictures_to_device(avatars.signal(rows))
    with autocast():
        full, half = moments(vae, pixels)[0], moments(vae, halved(pixels))[0]
    return quantized(full).cpu().contiguous(), quantized(half).cpu().contiguous()


def vae_stamp() -> str:
    """Of the weights that latents depend on: the decoder may be trained on."""
    stamp = hashlib.sha256()
    for key, value in sorted(load_file(VAE_PATH).items()):
        if key.startswith(("encoder.", "quant_conv.")):
            stamp.update(value.numpy().tobytes())
    return stamp.hexdigest()


def load_latents() -> Latents:
    """The latents that fit the VAE, made where they are not there yet. Raises DatasetError."""
    if not LATENTS_PATH.is_file() or _stamp_of(LATENTS_PATH) != vae_stamp():
        encode()
    stored = load_file(LATENTS_PATH)
    return Latents(stored["full"], stored["half"], stored["styles"].long())


def _stamp_of(path: Path) -> str | None:
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("vae")
