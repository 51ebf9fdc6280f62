"""No sampler and no model of ours makes Python wait for a noise level. The CPU stands for a device that runs behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tstitch.guidance.model import Guidance, guided_model
from tstitch.host import levels
from tstitch.host.levels import current_mode, level_of
from tstitch.resolution.model import low_resolution
from tstitch.stitch import run
from tstitch_testing.models import gaussian_model
from tstitch_testing.sampling import ksample, stitched


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


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    return gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)


#: These ask at levels that follow from the latent.
ADAPTIVE = ("dpm_adaptive",)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sampler", comfy.samplers.SAMPLER_NAMES)
def test_no_sampler_makes_python_wait(
    sampler: str, pair: tuple[Any, Any], reads: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is known is what a read would give, so that the samples are the same bits."""
    known: list[tuple[float, float]] = []

    def both(sigma: Tensor) -> float:
        known.append((level_of(sigma), float(sigma[0])))
        return known[-1][0]

    monkeypatch.setattr(run, "level_of", both)
    found = ksample(stitched(pair), sampler)
    assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in known)
    assert known
    assert not reads or sampler in ADAPTIVE
    monkeypatch.setattr(levels, "FOLLOWED", ())
    assert torch.equal(found, ksample(stitched(pair), sampler))


class Reads(TorchDispatchMode):
    """Counts how often Python reads a value of a tensor."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))


def more_reads(pair: tuple[Any, Any], sampler: str, steps: int) -> int:
    """How many more values Python reads in a stitched run than in the stock sampler's."""
    counts = []
    for model in (stitched(pair), pair[1]):
        with Reads() as counted:
            ksample(model, sampler, steps=steps)
        counts.append(counted.count)
    return counts[0] - counts[1]


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "dpmpp_sde", "uni_pc", "lms"])
def test_a_step_reads_what_it_does_in_the_stock_sampler(
    sampler: str, pair: tuple[Any, Any], reads: list[float]
) -> None:
    """What a stitched run reads beyond that, to see how the models mix image and noise, it reads once."""
    assert more_reads(pair, sampler, 5) == more_reads(pair, sampler, 10)


Make = Callable[[tuple[Any, Any]], Any]
MODELS: dict[str, Make] = {
    "low resolution": lambda pair: low_resolution(pair[1], 0.5),
    "low resolution first": lambda pair: stitched([low_resolution(pair[1], 0.5), pair[1]]),
    "guided": lambda pair: guided_model(pair[1], pair[0], Guidance()),
    "guided by a flow model": lambda pair: guided_model(pair[1], gaussian_model(kind=ModelType.FLOW), Guidance()),
    "flow first": lambda pair: stitched([gaussian_model(kind=ModelType.FLOW), pair[1]]),
    "joined twice": lambda pair: stitched([pair[0], stitched(pair)]),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_no_model_of_ours_makes_python_wait(make: Make, pair: tuple[Any, Any], reads: list[float]) -> None:
    found = ksample(make(pair), "heun", latent=torch.zeros(1, 4, 8, 8))
    assert not reads
    levels.FOLLOWED = ()
    torch.testing.assert_close(found, ksample(make(pair), "heun", latent=torch.zeros(1, 4, 8, 8)))


def test_networks_are_not_followed(pair: tuple[Any, Any], reads: list[float]) -> None:
    modes: list[Any] = []
    handles = [
        model.model.diffusion_model.register_forward_pre_hook(lambda *_: modes.append(current_mode())) for model in pair
    ]
    try:
        ksample(stitched(pair))
    finally:
        for handle in handles:
            handle.remove()
    assert modes
    assert not any(modes)


def test_errors_end_it(pair: tuple[Any, Any], reads: list[float]) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError):
        ksample(stitched(pair), callback=fail)
    assert current_mode() is None
    ksample(stitched(pair))
    assert not reads
