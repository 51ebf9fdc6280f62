"""Scores pictures of the starter models: FID, precision, recall and accuracy in the classifier's features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from benchmarks.tools.classifier import WEIGHTS, Classifier
from benchmarks.tools.metrics import Gaussian, accuracy, frechet_distance, precision_recall
from benchmarks.tools.starter import checksum, decode, weights_path
from training.autoencoder import encode_all
from training.data import STYLES, attribute_heads, load_split
from training.loop import CHECKPOINTS

REFERENCE = 20_000  # training pictures that are the reference
RECONSTRUCTED = 5_000  # of them, whose reconstructions are the second one
BATCH = 250


def reconstruct(vae: Any, pixels: Tensor) -> Tensor:
    parts = [decode(vae, encode_all(vae, part)[0]) for part in tqdm(pixels.split(BATCH), "reconstruction", leave=False)]
    return torch.cat(parts)


class Judge:
    """Scores signals (N, 3, 64, 64) against the training set in the classifier's features.

    `fid` is against the pictures; `fid_vae` against what the VAE makes of them, the best that any denoiser can reach.
    The features of the references are kept in `.train`, which takes the place of the set of pictures.
    """

    def __init__(self, classifier: Classifier, vae: Any) -> None:
        self.classifier = classifier
        path, stamp = CHECKPOINTS / "reference_features.safetensors", judge_mark()
        features = _kept(path, stamp)
        if features is None:
            features = self._reference(vae)
            path.parent.mkdir(exist_ok=True)
            save_file(features, path, {"judge": stamp})
        self.real_features = features["real"]
        self.real, self.reconstructed = (Gaussian.fit(features[name]) for name in ("real", "reconstructed"))

    @torch.no_grad()
    def _reference(self, vae: Any) -> dict[str, Tensor]:
        avatars = load_split("train")
        rows = tqdm(torch.arange(REFERENCE).split(BATCH), "reference", leave=False)
        real = torch.cat([self.features(avatars.signal(part)) for part in rows])
        pixels = avatars.signal(torch.arange(RECONSTRUCTED))
        return {"real": real, "reconstructed": self.features(reconstruct(vae, pixels))}

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        return torch.cat([self.classifier.features(part) for part in pixels.split(BATCH)])

    @torch.no_grad()
    def confidence(self, features: Tensor, labels: Tensor) -> float:
        """How sure the heads of a picture's style are of one value: smeared details leave them in doubt."""
        highest = self.classifier.attribute_logits(features).softmax(dim=2).amax(dim=2)  # (N, heads)
        return highest[heads_of_styles()[labels]].mean().item()

    def score(self, pixels: Tensor, labels: Tensor) -> dict[str, float]:
        features = self.features(pixels)
        precision, recall = precision_recall(self.real_features[: len(features)], features)
        fitted = Gaussian.fit(features)
        return {
            "samples": len(features),
            "fid": round(frechet_distance(fitted, self.real), 3),
            "fid_vae": round(frechet_distance(fitted, self.reconstructed), 3),
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "accuracy": round(accuracy(self.classifier.style(features), labels), 4),
            "confidence": round(self.confidence(features, labels), 4),
        }


def judge_mark() -> str:
    """What a score depends on beside the pictures."""
    return f"{checksum(WEIGHTS)[:8]} {checksum(weights_path('vae'))[:8]} {REFERENCE} {RECONSTRUCTED}"


def heads_of_styles() -> Tensor:
    """Which heads (styles, heads) ask about pictures of a style."""
    names = list(attribute_heads())
    return torch.tensor([[name.startswith((f"{style}.", "background")) for name in names] for style in STYLES])


def _kept(path: Path, stamp: str) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    with safe_open(path, "pt") as file:
        if (file.metadata() or {}).get("judge") != stamp:
            return None
    return load_file(path)
