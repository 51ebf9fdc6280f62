"""Trains the classifier whose features, styles and attributes measure the starter models."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from benchmarks.tools.classifier import Classifier
from training.data import Avatars, load_split
from training.device import DEVICE, autocast, to_device
from training.loop import Schedule, Trainer, halves

SCHEDULE = Schedule(images=115_200, batch=128, warmup=6_400, hold=0.2)
SHIFT = 2  # pixels by which a training picture may be moved


def train_classifier(path: str) -> None:
    avatars = load_split("train")
    torch.manual_seed(0)
    model = Classifier().to(DEVICE).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05, fused=True)
    trainer = Trainer("classifier", model, [optimizer], SCHEDULE, ema_decay=0.998)
    loss = torch.compile(lambda pixels, styles, attributes: _loss(model, pixels, styles, attributes))

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(len(avatars), (SCHEDULE.batch,), generator=generator)
        moved = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
        pixels = to_device(avatars.signal(rows)).roll(moved, dims=(2, 3))
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with autocast():
            return loss(pixels, to_device(avatars.styles[rows]), to_device(avatars.attributes[rows]))

    average = trainer.run(loss_of)
    assert isinstance(average, Classifier)
    style, attribute = test_accuracy(average.float(), load_split("test"))
    state = halves(average.state_dict())
    record = {"test_accuracy": f"{style:.4f}", "attribute_accuracy": f"{attribute:.4f}", "images": SCHEDULE.images}
    save_file(state, path, {key: str(value) for key, value in record.items()})
    print(f"of the test pictures: style {style:.4f}, attributes {attribute:.4f}")


def _loss(model: Classifier, pixels: Tensor, styles: Tensor, attributes: Tensor) -> Tensor:
    features = model.features(pixels)
    known = attributes >= 0
    logs = model.attribute_logits(features).log_softmax(dim=2)
    picked = logs.gather(2, attributes.clamp_min(0)[:, :, None])[:, :, 0]
    of_attributes = -torch.where(known, picked, 0.0).sum() / known.sum()
    return F.cross_entropy(model.style(features).float(), styles) + of_attributes


@torch.no_grad()
def test_accuracy(model: Classifier, avatars: Avatars) -> tuple[float, float]:
    """Of styles, and the mean over heads of that of attributes."""
    styles, hits, known = [], [], []
    for rows in torch.arange(len(avatars)).split(500):
        features = model.features(to_device(avatars.signal(rows)))
        labels = to_device(avatars.attributes[rows])
        styles.append(model.style(features).argmax(dim=1).cpu() == avatars.styles[rows])
        known.append((labels >= 0).cpu())
        hits.append((model.attribute_logits(features).argmax(dim=2) == labels).cpu())
    right = torch.cat(hits).double().sum(dim=0) / torch.cat(known).sum(dim=0)
    return torch.cat(styles).double().mean().item(), right.mean().item()
