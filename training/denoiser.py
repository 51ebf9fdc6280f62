"""The starter DiTs: class-conditional latent diffusion on avatars, at 16 x 16 latents and at 8 x 8.

Flow matching (arXiv 2210.02747, 2209.03003) with logit-normal times (section 3.1 of arXiv 2403.03206), in the host's
convention: x_t = (1 - t) x0 + t noise, t = 1 is noise, target noise - x0. The `-eps` sibling predicts the noise of the
DDPM linear schedule (arXiv 2006.11239), as the published DiTs do. `Shortcut` learns every step size (`shortcut.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from training import shortcut
from training.device import DEVICE, autocast
from training.interval import WHOLE, FineTuning, Interval, TrainingInputError
from training.latents import Latents, dequantized, load_latents
from training.loop import Schedule, Trainer, halves, parameter_groups
from tstitch.families.class_labels import AVATAR_STYLES
from tstitch.families.dit.network import DiT, DiTConfig

CLASS_DROPOUT = 0.1  # classifier-free guidance, arXiv 2207.12598
TIME_SCALE = 1000.0  # the embedder gets 1000 t
SHIFT = 3.0  # time shift of sampling (section 5.3.2 of arXiv 2403.03206), which large flow models carry too
HALF_EVERY = 4  # each fourth batch is of halved pictures, with twice as many


@dataclass(frozen=True)
class Recipe:
    depth: int
    width: int
    heads: int
    prediction: str  # "flow", "eps" or "shortcut"
    images: int
    muon_lr: float = 2e-2
    adam_lr: float = 2e-3

    @property
    def config(self) -> DiTConfig:
        return DiTConfig(
            self.depth,
            self.width,
            self.heads,
            patch=2,
            channels=4,
            classes=len(AVATAR_STYLES),
            grid=8,
            shortcut=self.prediction == "shortcut",
        )


RECIPES = {
    "S": Recipe(depth=4, width=64, heads=2, prediction="flow", images=3_400_000),
    "S-eps": Recipe(depth=4, width=64, heads=2, prediction="eps", images=1_200_000),
    "B": Recipe(depth=5, width=128, heads=4, prediction="flow", images=512_000),
    "XL": Recipe(depth=8, width=192, heads=6, prediction="flow", images=400_000),
    # B's size, and as many floating-point operations in training as B: its targets cost a fifth more.
    "Shortcut": Recipe(depth=5, width=128, heads=4, prediction="shortcut", images=210_000),
}
BATCH = 128
AVERAGED = 0.998  # decay of the averaged weights per step


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Matmul and softmax: at 64 tokens its backward pass is far faster on a CPU than the fused kernel's."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))  # (N, H, T, d)
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)  # (N, T, D)


def ddpm_alphas_bar() -> Tensor:
    return torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64), dim=0).float()


def noised(
    prediction: str, x0: Tensor, noise: Tensor, generator: torch.Generator, interval: Interval = WHOLE
) -> tuple[Tensor, Tensor, Tensor]:
    """One training example a row: noisy latents, the embedder's timesteps (N,), and the regression target."""
    if prediction == "flow":
        t = interval.flow_times(len(x0), generator)
        mix = t[:, None, None, None]
        return (1 - mix) * x0 + mix * noise, TIME_SCALE * t, noise - x0
    steps = interval.ddpm_steps(len(x0), generator)
    alpha_bar = ddpm_alphas_bar().to(x0.device)[steps][:, None, None, None]
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise, steps.float(), noise


def train_denoiser(name: str, tuning: FineTuning | None = None) -> None:
    """Train the recipe `name` as it is, or as `tuning` changes it. Raises TrainingInputError."""
    recipe = RECIPES[name]
    interval, rate = (tuning.interval, tuning.rate) if tuning else (WHOLE, 1.0)
    images = recipe.images if tuning is None or tuning.images is None else tuning.images
    if images < BATCH:
        raise TrainingInputError(f"--images must be {BATCH} or more, which is one step, got {images}.")
    latents = load_latents().to(DEVICE)
    torch.manual_seed(0)
    model = DiT(recipe.config, plain_attention)
    model.initialize_weights()
    if tuning and tuning.start:
        load_weights(model, tuning.start, name)
    model.to(DEVICE)
    hidden, rest = parameter_groups(model)
    trainer = Trainer(
        tuning.run_name(name) if tuning else name,
        model,
        [
            torch.optim.Muon(hidden, lr=rate * recipe.muon_lr, weight_decay=0.01),
            torch.optim.AdamW(rest, lr=rate * recipe.adam_lr, weight_decay=0.0, betas=(0.9, 0.95), fused=True),
        ],
        Schedule(images=images, batch=BATCH),
        AVERAGED,
    )
    forward, average = torch.compile(model, dynamic=False), torch.compile(trainer.ema, dynamic=False)

    def velocity(x: Tensor, t: Tensor, weights: Tensor, level: Tensor) -> Tensor:
        with autocast():
            return average(x, t, weights[:, None], step=level).float()

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator(DEVICE).manual_seed(step)
        x0, weights = drawn(latents, step, generator)
        noise = torch.randn(x0.shape, generator=generator, device=DEVICE)
        keep = torch.rand(len(x0), 1, generator=generator, device=DEVICE) >= CLASS_DROPOUT
        level = None
        if recipe.prediction == "shortcut":
            told = shortcut.examples(x0, noise, weights, keep, velocity, generator)
            x, timesteps, target, weights, level = told.x, told.t, told.target, told.weights, told.level
        else:
            x, timesteps, target = noised(recipe.prediction, x0, noise, generator, interval)
            weights = weights * keep
        with autocast():
            output = forward(x, timesteps, weights[:, None], step=level)
        return F.mse_loss(output.float(), target)

    ema = trainer.run(loss_of)
    save_denoiser(name, ema.state_dict(), trainer.step * BATCH, trainer.seconds, tuning)


def drawn(latents: Latents, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The examples of a step: latents (N, 4, H, W) of one size and their one-hot styles (N, styles)."""
    half = step % HALF_EVERY == HALF_EVERY - 1
    stored, count = (latents.half, 2 * BATCH) if half else (latents.full, BATCH)
    rows = torch.randint(len(stored), (count,), generator=generator, device=generator.device)
    return dequantized(stored[rows]), F.one_hot(latents.styles[rows], len(AVATAR_STYLES)).float()


def load_weights(model: DiT, path: Path, name: str) -> None:
    """Begin `model` of recipe `name` with the weights of `path`. Raises TrainingInputError."""
    try:
        state = load_file(path)
        with safe_open(path, "pt") as file:
            prediction = (file.metadata() or {}).get("tstitch.prediction")
    except (OSError, SafetensorError) as error:
        raise TrainingInputError(f"--from {path} cannot be read as safetensors weights: {error}.") from error
    own = {key: value.shape for key, value in model.state_dict().items()}
    if own != {key: value.shape for key, value in state.items()} or prediction != RECIPES[name].prediction:
        raise TrainingInputError(f"--from {path} holds another model than {name}: name the model it was trained as.")
    model.load_state_dict(state)


def save_denoiser(
    name: str, state: dict[str, Tensor], images: int, seconds: float, tuning: FineTuning | None = None
) -> None:
    recipe = RECIPES[name]
    record: dict[str, Any] = {"images": images, "seconds": round(seconds)}
    path = Path(f"models/starter_{name.lower().replace('-', '_')}.safetensors")
    if tuning:
        path = tuning.out
        record["interval"] = [tuning.interval.low, tuning.interval.high]
        if tuning.start:
            record["from"] = tuning.start.name
    metadata = {
        "tstitch.dit": json.dumps(recipe.config.to_dict()),
        "tstitch.prediction": "flow_from_noise" if recipe.prediction == "shortcut" else recipe.prediction,
        "tstitch.time_scale": str(TIME_SCALE if recipe.prediction == "flow" else 1.0),
        "tstitch.classes": json.dumps(AVATAR_STYLES),
        "tstitch.training": json.dumps(record),
    }
    if recipe.prediction == "flow":
        metadata["tstitch.shift"] = str(SHIFT)
    half = halves(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, path, metadata)
