"""Stitching and sampling in a few words, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.sample
import torch
from torch import Tensor

from tstitch.schedule import ScheduleSpec
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch.stitch.report import Report
from tstitch.stitch.run import Stitch
from tstitch_testing.models import conditioning


def stitch_of(
    stages: int, splits: str = "0.4", unit: str = "steps", pattern: str = "", memory: str = "auto", **options: Any
) -> Stitch:
    names = (*(f"model_{number}" for number in range(1, stages)), "final_model")
    return Stitch(ScheduleSpec.parse(splits, unit, pattern, stages), memory, names, Report.of(names), **options)


def stitched(models: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
    """A MODEL of `models` in run order, the finishing one last."""
    *others, final = models
    return stitch_model(final, [ModelStage(model) for model in others], stitch_of(len(models), *args, **kwargs))


def ksample(
    model: Any,
    sampler: str = "euler",
    scheduler: str = "normal",
    steps: int = 8,
    cfg: float = 3.0,
    seed: int = 1,
    latent: Tensor | None = None,
    positive: Any = None,
    **options: Any,
) -> Tensor:
    """What the stock KSampler node computes."""
    if latent is None:
        latent = torch.zeros(2, 4, 6, 5)
    noise = comfy.sample.prepare_noise(latent, seed)
    return comfy.sample.sample(
        model,
        noise,
        steps,
        cfg,
        sampler,
        scheduler,
        conditioning(0.4) if positive is None else positive,
        conditioning(-0.2),
        latent,
        seed=seed,
        disable_pbar=True,
        **options,
    )
