"""The host's TorchCompileModel node, on one stage or all: the whole network is compiled, and only that stage's."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.model_base
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor, nn

from tstitch.resolution.model import low_resolution
from tstitch_testing.halves import cfg_guider, halves, normal_sigmas, whole
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import GaussianConfig, patcher_of
from tstitch_testing.sampling import stitched

latent = torch.zeros(1, 4, 6, 5)


class Convolution(nn.Module):
    """As much network as is worth compiling in a test."""

    def __init__(self, mean: float, std: float, **_: Any) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.bias = nn.Parameter(torch.tensor([mean, std, 0.1, 0.2]).reshape(1, 4, 1, 1), requires_grad=False)

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None, **_: Any) -> Tensor:
        shift = 0.0 if context is None else context.mean(dim=(1, 2)).reshape(-1, 1, 1, 1)
        return torch.tanh(x + self.bias + shift + 0.001 * timesteps.reshape(-1, 1, 1, 1))


def model(mean: float) -> Any:
    config = GaussianConfig(mean, 0.5, comfy.latent_formats.SD15(), {})
    return patcher_of(comfy.model_base.BaseModel(config, model_type=ModelType.EPS, unet_model=Convolution))


def compiled(plain: Any, compilations: list[Any]) -> Any:
    """By the node, with a backend that notes what it compiles and runs it as it is."""

    def backend(graph: Any, _: Any) -> Any:
        compilations.append(graph)
        return graph.forward

    node = extra_nodes("nodes_torch_compile").TorchCompileModel
    (result,) = run_node(node, model=plain, backend=backend)
    return result


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Any:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def sample(sampled: Any, sampler: str = "dpmpp_2m") -> Tensor:
    return whole(cfg_guider(sampled), latent, normal_sigmas(sampled, 6), sampler=sampler)


@pytest.mark.parametrize("where", [(True, False), (False, True), (True, True)], ids=["first", "last", "both"])
def test_a_compiled_stage_computes_what_it_did(where: tuple[bool, bool]) -> None:
    plain, compilations = [model(0.1), model(0.6)], []
    stages = [compiled(stage, compilations) if here else stage for stage, here in zip(plain, where, strict=True)]
    expected = halves([cfg_guider(stage) for stage in plain], [3], latent, normal_sigmas(plain[1], 6))
    for _ in range(2):
        torch.testing.assert_close(sample(stitched(stages, pattern="1x3 2x3"), "euler"), expected)
    assert len(compilations) >= sum(where)
    assert not any(isinstance(stage.model.diffusion_model, torch._dynamo.OptimizedModule) for stage in stages)


def test_a_compiled_model_stitched_with_itself_is_the_stock_sampler() -> None:
    stage = compiled(model(0.1), [])
    assert torch.equal(sample(stitched([stage.clone(), stage])), sample(stage))


def test_compiling_the_stitched_model_compiles_the_finishing_one() -> None:
    small, large, compilations = model(0.1), model(0.6), []
    expected = sample(stitched([small, large]))
    torch.testing.assert_close(sample(compiled(stitched([small, large]), compilations)), expected)
    assert compilations


def test_two_sizes_of_one_model_are_compiled_once_each() -> None:
    """Two graphs, and no further one in the steps and runs to come."""
    compilations: list[Any] = []
    plain = model(0.1)
    expected = sample(stitched([low_resolution(plain, 0.5), plain], pattern="1x3 2x3"))
    stage = compiled(plain, compilations)
    joined = stitched([low_resolution(stage, 0.5), stage], pattern="1x3 2x3")
    for _ in range(2):
        torch.testing.assert_close(sample(joined), expected)
        assert len(compilations) == 2
