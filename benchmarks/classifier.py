"""The Fashion-MNIST classifier that gives FID features and class accuracy."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parent / "classifier.safetensors"


class Classifier(nn.Module):
    """A small convolutional network on signals (N, 1, 28, 28) in [-1, 1]."""

    FEATURES = 128

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widths = (1, 32, 64, 128)
        for i in range(3):
            layers += [
                nn.Conv2d(widths[i], widths[i + 1], 3, padding=1),
                nn.GroupNorm(8, widths[i + 1]),
                nn.SiLU(),
                nn.Conv2d(widths[i + 1], widths[i + 1], 3, padding=1, stride=2),
                nn.GroupNorm(8, widths[i + 1]),
                nn.SiLU(),
            ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(self.FEATURES, 10)

    def features(self, pixels: Tensor) -> Tensor:
        """Penultimate activations (N, 128), the space in which FID is measured."""
        return self.body(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.features(pixels))  # (N, 10)


def load_classifier() -> Classifier:
    model = Classifier()
    model.load_state_dict(load_file(WEIGHTS))
    return model.float().eval().requires_grad_(False)
