"""Trains the starter VAE's decoder on, on latents as the denoisers learn them; the latents themselves stay the same."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.autoencoder import CROP, WHOLE_EVERY, build_vae, distance, with_plain_norms
from training.data import SIZE, halved, load_split
from training.device import DEVICE, autocast, to_device
from training.latents import VAE_PATH, dequantized, load_latents
from training.loop import Schedule, Trainer

SCHEDULE = Schedule(images=96_000, batch=16, warmup=1_600, hold=0.3)
FACTOR = 4  # pixels a side of a latent
HALF_EVERY = 8  # each eighth step is of halved pictures


def train_decoder() -> None:
    """Replace the decoder in the bundled VAE. Raises DatasetError."""
    avatars, latents = load_split("train"), load_latents()
    torch.manual_seed(0)
    vae = build_vae()
    vae.load_state_dict(load_file(VAE_PATH))
    vae = with_plain_norms(vae).float().to(DEVICE, memory_format=torch.channels_last)
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
            return distance(vae, on_device(latent), on_device(pixels))

    ema = trainer.run(loss_of)
    save(ema, trainer.step * SCHEDULE.batch, trainer.seconds)


def on_device(tensor: Tensor) -> Tensor:
    return to_device(tensor).contiguous(memory_format=torch.channels_last)


def crops(latent: Tensor, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same square of each latent and picture, CROP pixels a side."""
    side = CROP // FACTOR
    corners = torch.randint(latent.shape[-1] - side + 1, (len(latent), 2), generator=generator).tolist()
    small = [each[:, y : y + side, x : x + side] for each, (y, x) in zip(latent, corners, strict=True)]
    large = [
        each[:, FACTOR * y : FACTOR * y + CROP, FACTOR * x : FACTOR * x + CROP]
        for each, (y, x) in zip(pixels, corners, strict=True)
    ]
    return torch.stack(small), torch.stack(large)


def save(vae: Any, images: int, seconds: float) -> None:
    with safe_open(VAE_PATH, "pt") as file:
        metadata = file.metadata()
    state = {key: value.half().cpu().contiguous() for key, value in vae.state_dict().items()}
    record = json.loads(metadata["tstitch.training"])
    record["decoder"] = {"images": images, "seconds": round(seconds)}
    save_file(state, VAE_PATH, {**metadata, "tstitch.training": json.dumps(record)})
