"""Trains the classifier whose features and labels measure the starter models."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from benchmarks.classifier import Classifier
from training.data import load_split, to_signal
from training.loop import Schedule, Trainer

SCHEDULE = Schedule(images=480_000, batch=128, warmup=6_400, hold=0.2)


def train_classifier(path: str) -> None:
    images, labels = load_split("train")
    torch.manual_seed(0)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05, fused=True)
    trainer = Trainer("classifier", model, [optimizer], SCHEDULE, ema_decay=0.998)

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        batch = torch.randint(len(images), (SCHEDULE.batch,), generator=generator)
        pixels = to_signal(images[batch])
        if torch.rand((), generator=generator) < 0.5:
            pixels = pixels.flip(-1)
        row, column = torch.randint(0, 5, (2,), generator=generator).tolist()
        pixels = F.pad(pixels, (2, 2, 2, 2), value=-1.0)[..., row : row + 28, column : column + 28]
        with torch.autocast("cpu", torch.bfloat16):
            return F.cross_entropy(model(pixels).float(), labels[batch], label_smoothing=0.05)

    average = trainer.run(loss_of)
    state = {key: value.half().contiguous() for key, value in average.state_dict().items()}
    images, labels = load_split("test")
    with torch.no_grad():
        guesses = torch.cat([average(to_signal(part)).argmax(dim=1) for part in images.split(1000)])
    accuracy = (guesses == labels).float().mean().item()
    save_file(state, path, {"test_accuracy": f"{accuracy:.4f}", "images": str(SCHEDULE.images)})
    print(f"test accuracy {accuracy:.4f}")
