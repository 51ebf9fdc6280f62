"""Noise levels that are known without a wait for the device. The CPU stands for one that must be waited for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from tstitch.host import levels
from tstitch.host.levels import FollowedLevels, current_mode, filled, followed, level_of, unfollowed


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What is read from the device where the CPU is one that is worth following."""
    found: list[float] = []

    def read(sigma: Tensor) -> float:
        found.append(float(sigma.reshape(-1)[0]))
        return found[-1]

    monkeypatch.setattr(levels, "FOLLOWED", ("cpu",))
    monkeypatch.setattr(levels, "read", read)
    yield found
    assert current_mode() is None


Change = Callable[[Tensor, Tensor], Tensor]
CHANGES: dict[str, Change] = {
    "a part": lambda sigmas, x: sigmas[2] * x.new_ones([2]),
    "an item of a clone": lambda sigmas, x: set_item(sigmas.clone(), 0.5)[0] * x.new_ones([2]),
    "an item": lambda sigmas, x: set_item(sigmas, 0.25)[0].expand(2),
    "in place": lambda sigmas, x: sigmas.mul_(2)[1].reshape(1),
    "in place by a view": lambda sigmas, x: (sigmas[1:].add_(1), sigmas[1:2])[1],
    "midpoint": lambda sigmas, x: ((sigmas[1].log() + sigmas[2].log()) / 2).exp() * x.new_ones([2]),
    "of numbers": lambda sigmas, x: torch.full((2,), 0.3) * sigmas[0],
    "by numbers": lambda sigmas, x: 1 / (1 + sigmas[1:2] ** 2) - 0.1,
    "joined": lambda sigmas, x: torch.cat([sigmas[3:], sigmas[:1]])[:1],
    "in another type": lambda sigmas, x: sigmas[1].double()[None],
    "a copy by torch.tensor": lambda sigmas, x: torch.tensor(sigmas[1]).log()[None],
    "of a tensor of a number": lambda sigmas, x: torch.tensor(0.3) * sigmas[:1],
    "in between": lambda sigmas, x: torch.linspace(sigmas[0], sigmas[3], 5, device=x.device)[2:3],
    "least": lambda sigmas, x: torch.minimum(sigmas[0], sigmas[1]).repeat(2),
}


def set_item(sigmas: Tensor, value: float) -> Tensor:
    sigmas[0] = value
    return sigmas


@pytest.fixture
def sigmas() -> Tensor:
    return torch.tensor([8.0, 4.0, 2.0, 1.0])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_made_of_sigmas_is_known(change: Change, sigmas: Tensor, reads: list[float]) -> None:
    x = torch.rand(2, 3)
    with followed(sigmas):
        sigma = change(sigmas, x)
        with unfollowed():
            assert level_of(sigma) == pytest.approx(float(sigma[0]), rel=1e-6)
    assert not reads


UNKNOWN: dict[str, Change] = {
    "of the latent": lambda sigmas, x: sigmas[0] * x.std().reshape(1),
    "by an unknown operation": lambda sigmas, x: torch.erf(sigmas[:1]),
    "random": lambda sigmas, x: torch.rand_like(sigmas[:1]),
    "an item of the latent": lambda sigmas, x: (sigmas.__setitem__(0, x.std()), sigmas[:1])[1],
    "out": lambda sigmas, x: (torch.mul(sigmas, 2, out=sigmas), sigmas[:1])[1],
    "a piece in place": lambda sigmas, x: (sigmas.chunk(2)[0].mul_(3), sigmas[:1])[1],
    "the data in place": lambda sigmas, x: (sigmas.data.mul_(3), sigmas[:1])[1],
    "a copy": lambda sigmas, x: copy.deepcopy(sigmas[:1]),
}


@pytest.mark.parametrize("change", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_followed_is_read(change: Change, sigmas: Tensor, reads: list[float]) -> None:
    x = torch.rand(2, 3)
    with followed(sigmas):
        sigma = change(sigmas, x)
        with unfollowed():
            assert level_of(sigma) == float(sigma[0])
    assert len(reads) == 1


def test_a_change_elsewhere_is_none_of_its_business(sigmas: Tensor, reads: list[float]) -> None:
    x = torch.rand(2, 3)
    with followed(sigmas):
        sigma = sigmas[:1] * 2
        x.mul_(2)
        torch.add(x, 1, out=x)
        assert level_of(sigma) == 16.0
    assert not reads


def test_following_takes_no_random_numbers(sigmas: Tensor, reads: list[float]) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3), torch.rand_like(sigmas)
    torch.manual_seed(0)
    with followed(sigmas):
        found = torch.rand(3), torch.rand_like(sigmas)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_filled_level_is_known_in_its_precision(reads: list[float]) -> None:
    sigma = filled(torch.ones(2, dtype=torch.bfloat16), 0.3)
    assert level_of(sigma) == float(sigma[0])
    assert not reads


def test_a_mode_of_someone_else_stays_on_top(sigmas: Tensor, reads: list[float]) -> None:
    other = FollowedLevels()
    with followed(sigmas), other:
        with unfollowed():
            assert current_mode() is other
        assert current_mode() is other


def test_after_a_run_nothing_is_known(sigmas: Tensor, reads: list[float]) -> None:
    with followed(sigmas):
        sigma = sigmas[:1] * 2
    sigma.mul_(2)
    assert level_of(sigma) == 32.0
    assert len(reads) == 1


def test_a_device_that_is_never_ahead_is_not_followed(sigmas: Tensor) -> None:
    with followed(sigmas):
        assert current_mode() is None
