"""Targets of Shortcut models (section 3 and algorithm 1 of arXiv 2410.12557), on the starter latents.

In the paper's convention: t = 0 is noise, t = 1 data, x_t = (1 - (1 - 1e-5) t) noise + t data, and the network predicts
data - noise for the step size d = 1 / 2^level that it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FINEST = 7  # level of the smallest step, 1/128, which is plain flow matching
SELF_CONSISTENT = 0.25  # part of a batch whose target is made of two half steps
GUIDANCE = 1.5  # baked into the targets made of two smallest steps
NOISE_FLOOR = 1e-5
CLIP = 4.0

#: Velocity (N, C, H, W) of x (N, C, H, W) at times (N,), class weights (N, classes) and levels (N,).
Velocity = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Examples:
    """Inputs and regression targets of one batch."""

    x: Tensor  # (N, C, H, W)
    t: Tensor  # (N,)
    weights: Tensor  # (N, classes)
    level: Tensor  # (N,)
    target: Tensor  # (N, C, H, W)


def mixed(data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t (N, C, H, W) at times `t` (N,)."""
    t = t[:, None, None, None]
    return (1 - (1 - NOISE_FLOOR) * t) * noise + t * data


def self_consistency_levels(count: int) -> Tensor:
    """Levels (count,) of the steps to learn: as many of each size as fit, those made of smallest steps first."""
    each = count // FINEST
    levels = torch.arange(FINEST - 1, -1, -1).repeat_interleave(each)
    return torch.cat([levels, torch.zeros(count - len(levels), dtype=torch.long)])


def times_on_grid(level: Tensor, generator: torch.Generator) -> Tensor:
    """Times (N,) drawn from the starts of the 2^level steps that lead from noise to data."""
    steps = 2.0**level
    return (torch.rand(len(level), generator=generator, device=level.device) * steps).floor() / steps


def flow_examples(data: Tensor, noise: Tensor, weights: Tensor, generator: torch.Generator) -> Examples:
    level = torch.full((len(data),), FINEST, device=data.device)
    t = times_on_grid(level, generator)
    return Examples(mixed(data, noise, t), t, weights, level, data - (1 - NOISE_FLOOR) * noise)


@torch.no_grad()
def self_consistency_examples(
    data: Tensor, noise: Tensor, weights: Tensor, average: Velocity, generator: torch.Generator
) -> Examples:
    """One step of twice the size as the mean of two steps of the EMA model `average` (equation 4)."""
    level = self_consistency_levels(len(data)).to(data.device)
    half = level + 1
    d = 2.0 ** -half.float()
    t = times_on_grid(level, generator)
    x = mixed(data, noise, t)
    first = _guided(average, x, t, weights, half)
    middle = (x + d[:, None, None, None] * first).clamp(-CLIP, CLIP)
    second = _guided(average, middle, t + d, weights, half)
    return Examples(x, t, weights, level, ((first + second) / 2).clamp(-CLIP, CLIP))


def _guided(average: Velocity, x: Tensor, t: Tensor, weights: Tensor, level: Tensor) -> Tensor:
    """Velocities with guidance where the step is a smallest one; those samples stand first."""
    smallest = int((level == FINEST).sum())
    repeated = (torch.cat([part, part[:smallest]]) for part in (x, t, level))
    x, t, level = repeated
    both = average(x, t, torch.cat([weights, torch.zeros_like(weights[:smallest])]), level)
    velocity, unconditional = both[: len(weights)].clone(), both[len(weights) :]
    velocity[:smallest] = unconditional + GUIDANCE * (velocity[:smallest] - unconditional)
    return velocity


def examples(
    data: Tensor, noise: Tensor, weights: Tensor, keep: Tensor, average: Velocity, generator: torch.Generator
) -> Examples:
    """A whole batch; `keep` (N, 1) says where plain flow matching sees the class (arXiv 2207.12598)."""
    count = int(SELF_CONSISTENT * len(data))
    parts = (
        self_consistency_examples(data[:count], noise[:count], weights[:count], average, generator),
        flow_examples(data[count:], noise[count:], (weights * keep)[count:], generator),
    )
    fields = ("x", "t", "weights", "level", "target")
    return Examples(*(torch.cat([getattr(part, field) for part in parts]) for field in fields))
