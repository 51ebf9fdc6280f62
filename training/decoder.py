"""Trains the starter VAE's decoder on, on latents as the denoisers learn them; the latents themselves stay the same."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.autoencoder import CROP, WHOLE_EVERY, cut, distance
from training.data import SIZE, halved, load_split
from training.device import autocast, pictures_to_device
from training.latents import VAE_PATH, dequantized, load_latents, trained_vae
from training.loop import Schedule, Trainer, halves

SCHEDULE = Schedule(images=96_000, batch=16, warmup=1_600, hold=0.3)
FACTOR = 4  # pixels a side of a latent
HALF_EVERY = 8  # each eighth step is of halved pictures


def train_decoder() -> None:
    """Replace the decoder in the bundled VAE. Raises DatasetError."""
    avatars, latents = load_split("train"), load_latents()
    torch.manual_seed(0)
    vae = trained_vae()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    trainer = Trainer("decoder", vae, [optimizer], SCHEDULE, ema_decay=0.998)
    torch._dynamo.config.recompile_limit = 64  # one for each size

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(len(latents.full), (SCHEDULE.batch,), generator=generator)
        if step % HALF_EVERY == HALF_EVERY - 1:
            latent, pixels = dequantized(latents.half[rows]), halved(avatars.signal(rows))
        elif step % WHOLE_EVERY == 1:
            rows = rows[: SCHEDULE.batch * CROP**2 // SIZE**2]
            latent, pixels = dequantized(latents.full[rows]), avatars.signal(rows)
        else:
            latent, pixels = crops(dequantized(latents.full[rows]), avatars.signal(rows), generator)
        with autocast():
            return distance(vae, pictures_to_device(latent), pictures_to_device(pixels))

    ema = trainer.run(loss_of)
    save(ema, trainer.step * SCHEDULE.batch, trainer.seconds)


def crops(latent: Tensor, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same square of each latent and picture, CROP pixels a side."""
    side = CROP // FACTOR
    corners = torch.randint(latent.shape[-1] - side + 1, (len(latent), 2), generator=generator)
    return cut(latent, corners, side), cut(pixels, FACTOR * corners, CROP)


def save(vae: Any, images: int, seconds: float) -> None:
    with safe_open(VAE_PATH, "pt") as file:
        metadata = file.metadata()
    state = halves(vae.state_dict())
    record = json.loads(metadata["tstitch.training"])
    record["decoder"] = {"images": images, "seconds": round(seconds)}
    save_file(state, VAE_PATH, {**metadata, "tstitch.training": json.dumps(record)})
