"""Fréchet distance, precision and recall of generated against real features; plain functions of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,) and covariance (D, D) of a feature set, in double precision."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> Gaussian:
        """Fit to features (N, D)."""
        features = features.double()
        return cls(features.mean(dim=0), torch.cov(features.T))


def symmetric_sqrt(matrix: Tensor) -> Tensor:
    """Square root of a symmetric positive semi-definite matrix; rounding below zero is cut off."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Fréchet distance between two Gaussians, the formula behind FID (arXiv 1706.08500).

    tr (A B)^(1/2) equals tr (A^(1/2) B A^(1/2))^(1/2), whose argument is symmetric, so that it needs real eigenvalues
    only and stays sound for singular covariances.
    """
    root = symmetric_sqrt(a.covariance)
    inner = root @ b.covariance @ root
    cross = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp_min(0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross
    return max(0.0, distance.item())


def neighbour_radii(features: Tensor, k: int, batch: int) -> Tensor:
    """Distance (N,) from each point to its k-th nearest other point."""
    parts = [torch.cdist(part, features).kthvalue(k + 1, dim=1).values for part in features.split(batch)]
    return torch.cat(parts)


def covered(points: Tensor, centres: Tensor, radii: Tensor, batch: int) -> float:
    """Fraction of the points that lie inside at least one ball."""
    hits = [(torch.cdist(part, centres) <= radii[None]).any(dim=1) for part in points.split(batch)]
    return torch.cat(hits).double().mean().item()


def precision_recall(real: Tensor, fake: Tensor, k: int = 3, batch: int = 1000) -> tuple[float, float]:
    """Improved precision and recall (algorithm 1 of arXiv 1904.06991) of features (N, D) and (M, D)."""
    real, fake = real.double(), fake.double()
    precision = covered(fake, real, neighbour_radii(real, k, batch), batch)
    recall = covered(real, fake, neighbour_radii(fake, k, batch), batch)
    return precision, recall


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Fraction of rows whose highest logit is the label's."""
    return (logits.argmax(dim=1) == labels).double().mean().item()
