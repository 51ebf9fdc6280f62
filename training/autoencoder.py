"""The starter VAE: the host's own AutoencoderKL, 64 x 64 pixels to 4 x 16 x 16 latents of unit variance."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from training.data import SIZE, halved, load_split
from training.device import DEVICE, autocast, to_device
from training.host import prepare_host
from training.loop import Schedule, Trainer

VAE_CONFIG: dict[str, Any] = {
    "embed_dim": 4,
    "ddconfig": {
        "double_z": True,
        "z_channels": 4,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 2, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}
KL_WEIGHT = 5e-4  # a mean over latent elements, against a mean over pixels
SCHEDULE = Schedule(images=192_000, batch=16, warmup=3_200, hold=0.4)
CROP = 32  # pixels a side of what most steps see: as good for colours and edges as whole pictures, at a quarter
WHOLE_EVERY = 4  # each fourth step sees whole pictures, with as many pixels in all
SAMPLE = 4_000  # pictures that fix the scale of the latents


def build_vae() -> Any:
    prepare_host()
    from comfy.ldm.models.autoencoder import AutoencoderKL

    model = AutoencoderKL(**VAE_CONFIG)
    layers: tuple[Any, ...] = (nn.Linear, nn.Conv2d, nn.GroupNorm)
    for module in model.modules():
        for layer in layers:
            if isinstance(module, layer):
                layer.reset_parameters(module)  # the host's layers leave their weights uninitialised on purpose
    return model


def moments(vae: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance (N, 4, H / 4, W / 4) of the posterior for signals (N, 3, H, W)."""
    mean, logvar = vae.quant_conv(vae.encoder(pixels)).chunk(2, dim=1)
    return mean, logvar.clamp(-30, 20)


def train_vae(path: str) -> None:
    avatars = load_split("train")
    torch.manual_seed(0)
    model = build_vae().to(DEVICE, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    trainer = Trainer("vae", model, [optimizer], SCHEDULE, ema_decay=0.998)
    torch._dynamo.config.recompile_limit = 64  # the host's blocks are compiled one by one, for each size
    loss = torch.compile(lambda pixels: _loss(model, pixels), dynamic=False)

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(len(avatars), (SCHEDULE.batch,), generator=generator)
        if step % WHOLE_EVERY == WHOLE_EVERY - 1:
            pixels = avatars.signal(rows[: SCHEDULE.batch * CROP**2 // SIZE**2])
        else:
            pixels = crops(avatars.signal(rows), generator)
        with autocast():
            return loss(to_device(pixels).contiguous(memory_format=torch.channels_last))

    vae = trainer.run(loss_of)
    sample = avatars.signal(torch.arange(SAMPLE)).to(DEVICE)
    normalize_latents(vae, sample)
    factors, bias = preview_factors(vae, sample[:1000])
    state = {key: value.half().cpu().contiguous() for key, value in vae.state_dict().items()}
    metadata = {
        "tstitch.vae": json.dumps(VAE_CONFIG),
        "tstitch.preview": json.dumps({"factors": factors, "bias": bias}),
        "tstitch.training": json.dumps({"images": SCHEDULE.images, "seconds": round(trainer.seconds)}),
    }
    save_file(state, path, metadata)


def crops(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A square (N, 3, CROP, CROP) out of each picture."""
    corners = torch.randint(SIZE - CROP + 1, (len(pixels), 2), generator=generator).tolist()
    cut = [picture[:, y : y + CROP, x : x + CROP] for picture, (y, x) in zip(pixels, corners, strict=True)]
    return torch.stack(cut)


def _loss(model: Any, pixels: Tensor) -> Tensor:
    """Reconstruction at both sizes and the KL term.

    The half-size picture comes from averaged latents, so that latents keep their meaning when they are resized
    (arXiv 2502.09509): the low-resolution stage does that, and the DiTs learn them faster.
    """
    mean, logvar = moments(model, pixels)
    latent = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
    mean, logvar = mean.float(), logvar.float()
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    return (
        _distance(model, latent, pixels)
        + 0.25 * _distance(model, F.avg_pool2d(latent, 2), halved(pixels))
        + KL_WEIGHT * kl
    )


def _distance(model: Any, latent: Tensor, pixels: Tensor) -> Tensor:
    decoded = model.decoder(model.post_quant_conv(latent)).float()
    return F.l1_loss(decoded, pixels) + F.mse_loss(decoded, pixels)


@torch.no_grad()
def encode_all(vae: Any, pixels: Tensor, batch: int = 500) -> tuple[Tensor, Tensor]:
    parts = [moments(vae, part) for part in pixels.split(batch)]
    return torch.cat([mean for mean, _ in parts]), torch.cat([logvar for _, logvar in parts])


@torch.no_grad()
def normalize_latents(vae: Any, pixels: Tensor) -> None:
    """Fold a per-channel affine map into the two 1x1 convolutions, so that latents have mean 0 and variance 1."""
    mean, logvar = encode_all(vae, pixels)
    shift = mean.mean(dim=(0, 2, 3))
    scale = (mean.var(dim=(0, 2, 3)) + logvar.exp().mean(dim=(0, 2, 3))).sqrt()
    channels = len(shift)
    weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
    weight[:channels] /= scale[:, None, None, None]
    bias[:channels] = (bias[:channels] - shift) / scale
    bias[channels:] -= 2 * scale.log()
    weight, bias = vae.post_quant_conv.weight, vae.post_quant_conv.bias
    bias += (weight[:, :, 0, 0] * shift).sum(dim=1)
    weight *= scale[None, :, None, None]


@torch.no_grad()
def preview_factors(vae: Any, pixels: Tensor) -> tuple[list[list[float]], list[float]]:
    """Least-squares map from latent channels to RGB, for the host's latent2rgb preview."""
    mean, _ = encode_all(vae, pixels)
    target = F.avg_pool2d(pixels, 4).permute(0, 2, 3, 1).reshape(-1, 3)  # (N * 256, 3)
    inputs = mean.permute(0, 2, 3, 1).reshape(-1, mean.shape[1])
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
    solution = torch.linalg.lstsq(inputs.cpu(), target.cpu()).solution
    *factors, bias = [[round(value, 4) for value in row] for row in solution.tolist()]
    return factors, bias
