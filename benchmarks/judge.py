"""Scores pictures of the starter models: FID, precision, recall and accuracy in the classifier's features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.classifier import Classifier
from benchmarks.metrics import Gaussian, accuracy, frechet_distance, precision_recall
from benchmarks.starter import decode
from training.autoencoder import encode_all
from training.data import load_split, to_signal

RECONSTRUCTED = 10_000  # training images whose reconstructions are the second reference
BATCH = 250


def reconstruct(vae: Any, pixels: Tensor) -> Tensor:
    parts = [decode(vae, encode_all(vae, part)[0]) for part in tqdm(pixels.split(BATCH), "reconstruction", leave=False)]
    return torch.cat(parts)


class Judge:
    """Scores signals (N, 1, 28, 28) against the training set in the classifier's features.

    `fid` is against the images; `fid_vae` against what the VAE makes of them, the best that any denoiser can reach.
    """

    def __init__(self, classifier: Classifier, vae: Any) -> None:
        self.classifier = classifier
        pixels = to_signal(load_split("train")[0])
        features, _ = self.describe(pixels)
        self.real, self.real_features = Gaussian.fit(features), features
        self.reconstructed = Gaussian.fit(self.describe(reconstruct(vae, pixels[:RECONSTRUCTED]))[0])

    def describe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.cat([self.classifier.features(part) for part in pixels.split(500)])
        return features, self.classifier.head(features)

    def score(self, pixels: Tensor, labels: Tensor) -> dict[str, float]:
        features, logits = self.describe(pixels)
        precision, recall = precision_recall(self.real_features[: len(features)], features)
        fitted = Gaussian.fit(features)
        return {
            "samples": len(features),
            "fid": round(frechet_distance(fitted, self.real), 3),
            "fid_vae": round(frechet_distance(fitted, self.reconstructed), 3),
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "accuracy": round(accuracy(logits, labels), 4),
        }
