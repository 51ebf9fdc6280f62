"""The starter VAE: the host's own AutoencoderKL, 64 x 64 pixels to 4 x 16 x 16 latents of unit variance."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from training.data import SIZE, halved, load_split
from training.device import DEVICE, autocast, pictures_to_device
from training.host import prepare_host
from training.loop import Schedule, Trainer, halves

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
SCHEDULE = Schedule(images=128_000, batch=16, warmup=3_200, hold=0.4)
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


class PlainGroupNorm(nn.GroupNorm):
    """As its base, from sums and sums of squares: under bfloat16 in channels_last that is 8 times as fast on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return _normalized(x, self.weight, self.bias, self.num_groups, self.eps)


@torch.compile(dynamic=False)
def _normalized(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    count, channels = x.shape[:2]
    values = x.float()
    sums = torch.stack([values.mean(dim=(2, 3)), values.square().mean(dim=(2, 3))])  # (2, N, C)
    sums = sums.view(2, count, groups, -1).mean(dim=-1, keepdim=True)
    mean, square = sums.expand(2, count, groups, channels // groups).reshape(2, count, channels)
    scale = weight.float() * torch.rsqrt(square - mean.square() + eps)
    shift = bias.float() - mean * scale
    return (values * scale[:, :, None, None] + shift[:, :, None, None]).to(x.dtype)


def with_plain_norms(vae: Any) -> Any:
    for module in vae.modules():
        if isinstance(module, nn.GroupNorm):
            module.__class__ = PlainGroupNorm
    return vae


def moments(vae: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance (N, 4, H / 4, W / 4) of the posterior for signals (N, 3, H, W)."""
    mean, logvar = vae.quant_conv(vae.encoder(pixels)).chunk(2, dim=1)
    return mean, logvar.clamp(-30, 20)


def train_vae(path: str) -> None:
    avatars = load_split("train")
    torch.manual_seed(0)
    model = with_plain_norms(build_vae()).to(DEVICE, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    trainer = Trainer("vae", model, [optimizer], SCHEDULE, ema_decay=0.998)
    torch._dynamo.config.recompile_limit = 64  # one for each size

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(len(avatars), (SCHEDULE.batch,), generator=generator)
        if step % WHOLE_EVERY == WHOLE_EVERY - 1:
            pixels = avatars.signal(rows[: SCHEDULE.batch * CROP**2 // SIZE**2])
        else:
            pixels = crops(avatars.signal(rows), generator)
        with autocast():
            return _loss(model, pictures_to_device(pixels))

    vae = trainer.run(loss_of)
    sample = avatars.signal(torch.arange(SAMPLE)).to(DEVICE)
    normalize_latents(vae, sample)
    factors, bias = preview_factors(vae, sample[:1000])
    state = halves(vae.state_dict())
    metadata = {
        "tstitch.vae": json.dumps(VAE_CONFIG),
        "tstitch.preview": json.dumps({"factors": factors, "bias": bias}),
        "tstitch.training": json.dumps({"images": SCHEDULE.images, "seconds": round(trainer.seconds)}),
    }
    save_file(state, path, metadata)


def crops(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A square (N, 3, CROP, CROP) out of each picture."""
    return cut(pixels, torch.randint(SIZE - CROP + 1, (len(pixels), 2), generator=generator), CROP)


def cut(pictures: Tensor, corners: Tensor, side: int) -> Tensor:
    """A square (N, C, side, side) out of each of (N, C, H, W), from its corner (y, x) on."""
    pairs = zip(pictures, corners.tolist(), strict=True)
    return torch.stack([picture[:, y : y + side, x : x + side] for picture, (y, x) in pairs])


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
        distance(model, latent, pixels)
        + 0.25 * distance(model, F.avg_pool2d(latent, 2), halved(pixels))
        + KL_WEIGHT * kl
    )


def distance(model: Any, latent: Tensor, pixels: Tensor) -> Tensor:
    """Of pictures and of their edges; most where there is little contrast, as eyes on dark skin else smear."""
    error = model.decoder(model.post_quant_conv(latent)).float() - pixels
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.square().mean() + (error.abs() / _contrast(pixels)).mean() + edges


def _contrast(pixels: Tensor) -> Tensor:
    """Standard deviation (N, 1, H, W) around each pixel, and a floor of a tenth, in units of four tenths."""
    near = partial(F.avg_pool2d, kernel_size=5, stride=1, padding=2, count_include_pad=False)
    variance = (near(pixels.square()) - near(pixels).square()).mean(dim=1, keepdim=True)
    return (variance.clamp(min=0).sqrt() + 0.1) / 0.4


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
