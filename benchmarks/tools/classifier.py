"""The classifier of avatars: its features measure FID, its heads the style and every attribute."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parents[1] / "classifier.safetensors"
HEADS = Path(__file__).parents[2] / "training" / "attributes.json"
STYLES = 10


class Classifier(nn.Module):
    """A small convolutional network on signals (N, 3, 64, 64) in [-1, 1]."""

    WIDTHS = (3, 32, 64, 128, 192)
    FEATURES = WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip(self.WIDTHS[:-1], self.WIDTHS[1:], strict=True):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, stride=2),
                nn.GroupNorm(8, outputs),
                nn.SiLU(),
                nn.Conv2d(outputs, outputs, 3, padding=1),
                nn.GroupNorm(8, outputs),
                nn.SiLU(),
            ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.style = nn.Linear(self.FEATURES, STYLES)
        counts = [len(values) for values in json.loads(HEADS.read_text(encoding="utf-8")).values()]
        self.attributes = nn.Linear(self.FEATURES, sum(counts))
        # Logits of all heads lie in one row; a table says which are whose, padded with one that is never the largest.
        table, first = torch.full((len(counts), max(counts)), sum(counts)), 0
        for head, count in enumerate(counts):
            table[head, :count] = torch.arange(first, first + count)
            first += count
        self.register_buffer("table", table, persistent=False)

    def features(self, pixels: Tensor) -> Tensor:
        """Penultimate activations (N, 192), the space in which FID is measured."""
        return self.body(pixels)

    def attribute_logits(self, features: Tensor) -> Tensor:
        """Logits (N, heads, values) of features (N, 192); those of values that a head does not have are -inf."""
        logits = self.attributes(features).float()
        never = torch.full_like(logits[:, :1], -torch.inf)
        return torch.cat([logits, never], dim=1)[:, self.get_buffer("table")]


def load_classifier() -> Classifier:
    model = Classifier()
    model.load_state_dict(load_file(WEIGHTS))
    return model.float().eval().requires_grad_(False)
