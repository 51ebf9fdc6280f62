"""The targets of Shortcut models against what the paper's equations give for velocities known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training import shortcut

CLASSES = 10


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def batch(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    data, noise = torch.randn(2, count, 4, 8, 8, generator=generator).mul(0.1)
    return data, noise, torch.eye(CLASSES)[torch.arange(count) % CLASSES]


def test_flow_targets_are_the_straight_line_from_noise_to_data(generator: torch.Generator) -> None:
    data, noise, weights = batch(32, generator)
    told = shortcut.flow_examples(data, noise, weights, generator)
    assert (told.level == 7).all()
    assert ((told.t * 128) % 1 == 0).all()
    assert 0 <= told.t.min() < told.t.max() < 1
    torch.testing.assert_close(told.x + (1 - told.t)[:, None, None, None] * told.target, data, atol=1e-4, rtol=0)


def test_every_level_starts_on_the_grid_of_its_own_steps(generator: torch.Generator) -> None:
    levels = shortcut.self_consistency_levels(64)
    assert levels.bincount().tolist() == [10, 9, 9, 9, 9, 9, 9]
    assert levels[:9].eq(6).all()
    times = shortcut.times_on_grid(levels.repeat(50), generator)
    assert ((times * 2.0 ** levels.repeat(50)) % 1 == 0).all()
    assert times[levels.repeat(50) == 0].eq(0).all()


def test_a_step_is_the_mean_of_two_half_steps_of_the_average(generator: torch.Generator) -> None:
    """For the velocity a x the two half steps are a x and a (1 + a d) x."""
    a, data_noise_weights = 0.7, batch(64, generator)
    asked: list[tuple[Tensor, Tensor]] = []

    def average(x: Tensor, t: Tensor, weights: Tensor, level: Tensor) -> Tensor:
        asked.append((t, level))
        return a * x

    told = shortcut.self_consistency_examples(*data_noise_weights, average, generator)
    d = 2.0 ** -(told.level + 1.0)
    torch.testing.assert_close(told.target, told.x * (a * (1 + a * d / 2))[:, None, None, None])
    (first_t, first_level), (second_t, second_level) = asked
    assert first_level.equal(second_level)
    assert first_level[:64].equal(told.level + 1)
    torch.testing.assert_close(second_t[:64], told.t + d)
    assert first_t[:64].equal(told.t)


def test_only_targets_of_two_smallest_steps_are_guided(generator: torch.Generator) -> None:
    def average(x: Tensor, t: Tensor, weights: Tensor, level: Tensor) -> Tensor:
        return weights.sum(dim=1)[:, None, None, None].expand_as(x) + 1  # 2 with a class, 1 without

    told = shortcut.self_consistency_examples(*batch(64, generator), average, generator)
    guided = 1 + shortcut.GUIDANCE * (2 - 1)
    assert told.target[told.level == 6].eq(guided).all()
    assert told.target[told.level < 6].eq(2).all()
    assert told.weights.sum(dim=1).eq(1).all()


def test_a_quarter_of_the_batch_is_self_consistent_and_keeps_its_class(generator: torch.Generator) -> None:
    data, noise, weights = batch(64, generator)
    told = shortcut.examples(data, noise, weights, torch.zeros(64, 1), lambda x, *_: 9 * torch.ones_like(x), generator)
    assert (told.level < 7).sum() == 16
    assert told.weights[:16].equal(weights[:16])
    assert not told.weights[16:].any()
    assert told.target[:16].eq(shortcut.CLIP).all()
