"""Stages on different devices. No second device is needed: PyTorch's fake tensors know where they would lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.samplers import CFGGuider
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from tstitch.schedule import Schedule, StageLookup
from tstitch.stitch.report import Report
from tstitch.stitch.run import Router, Stage
from tstitch_testing.models import gaussian_model

CPU, GPU = torch.device("cpu"), torch.device("cuda:1")


def stage_on(device: torch.device, index: int, seen: list[torch.device]) -> Stage:
    model = gaussian_model()
    model.load_device = device
    stage = Stage(index, CFGGuider(model), None)
    stage.prepared(predictor(device, seen), {"model_options": {}})
    return stage


def predictor(device: torch.device, seen: list[torch.device]) -> Callable[..., Tensor]:
    def predict(x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        seen.extend({x.device, sigma.device})
        return x + torch.ones(1, device=device)  # refused from another device

    return predict


def test_each_stage_is_called_on_its_own_device() -> None:
    seen: list[torch.device] = []
    small, large = stage_on(GPU, 0, seen), stage_on(CPU, 1, seen)
    lookup = StageLookup(Schedule((0, 1)), [2.0, 1.0, 0.0])
    router = Router(large, [small, large], lookup, Report.of(("small", "large")), swap=False)
    with FakeTensorMode():
        for level in (2.0, 1.0):
            x = torch.zeros(1, 4, 8, 8)
            assert router(x, torch.tensor(level)[None]).device == x.device
    assert seen == [GPU, CPU]
