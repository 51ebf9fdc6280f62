"""One model in every stage is the stock sampler, bit for bit; two models are one loop over both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import comfy.model_management as mm
import comfy.sample
import comfy.samplers
import torch
from torch import Tensor

from benchmarks.gpu.families import Family, dit_model, host_model, text
from benchmarks.gpu.parts import Job
from benchmarks.tools.results import Row
from tstitch.families.class_labels import class_inputs
from tstitch_testing.architectures import flux, wan
from tstitch_testing.reference import DispatchingGuider

SCHEDULERS = ("simple", "karras")
WEIGHTS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}
DRY_SAMPLERS = ("dpmpp_2m", "euler_cfg_pp")
STEPS = 4
SPLIT = 2


def rows(job: Job) -> Iterator[Row]:
    """One row a sampler, weights and way of mixing."""
    samplers = DRY_SAMPLERS if job.dry else comfy.samplers.SAMPLER_NAMES
    with deterministic():
        for name, dtype in WEIGHTS.items():
            for kind, family in (("eps", eps_family(dtype)), ("flow", flow_family(dtype, job.dry))):
                labels: Row = {"weights": name, "prediction": kind}
                yield from job.cells(
                    [(labels | {"sampler": each}, partial(compare, family, each)) for each in samplers]
                )


@contextmanager
def deterministic() -> Iterator[None]:
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


def eps_family(dtype: torch.dtype) -> Family:
    """Two DiTs that predict noise."""
    small, large = (dit_model(2, width, width // 64, 8, width, dtype) for width in (128, 256))
    inputs = class_inputs(large, "207")
    return Family("eps", small, large, inputs.positive, inputs.negative, torch.zeros(1, 4, 16, 16), 64, 2.0, STEPS)


def flow_family(dtype: torch.dtype, dry: bool) -> Family:
    """Two networks of the host that predict velocity."""
    sizes = [wan(128, 1), wan(256, 1)] if dry else [flux(3072, 1, 0), flux(3072, 1, 1)]
    small, large = (host_model(size, seed, dtype) for seed, size in enumerate(sizes, 1))
    shape = (1, 16, 1, 4, 4) if dry else (1, 16, 32, 32)
    positive, negative = (text(8, 4096, None if dry else 768, seed) for seed in (11, 12))
    return Family("flow", small, large, positive, negative, torch.zeros(shape), 64, 2.0, STEPS)


def compare(family: Family, sampler: str) -> Row:
    """Whether the bits agree for each scheduler, and how far apart they are where not."""
    found: Row = {"cells": 0, "exact": 0, "furthest": 0.0}
    for scheduler in SCHEDULERS:
        sigmas = comfy.samplers.KSampler(
            family.large, STEPS, family.large.load_device, sampler, scheduler
        ).sigmas  # some samplers take one step more
        pattern = family.pattern(SPLIT / (len(sigmas) - 1), len(sigmas) - 1)
        itself = family.sample(family.stitched(pattern, itself=True), sampler, scheduler)
        note(found, family.sample(family.large, sampler, scheduler), itself)
    note(found, one_loop(family, sampler, sigmas), family.sample(family.stitched(pattern), sampler, scheduler))
    return found


def note(found: Row, expected: Tensor, samples: Tensor) -> None:
    found["cells"] += 1
    if torch.equal(as_bits(expected), as_bits(samples)):
        found["exact"] += 1
    else:
        distance = float((samples - expected).norm() / expected.norm())
        found["furthest"] = max(found["furthest"], distance) if distance == distance else distance


def as_bits(samples: Tensor) -> Tensor:
    return samples.contiguous().view(torch.int32)


def one_loop(family: Family, sampler: str, sigmas: Tensor) -> Tensor:
    """Both models in one loop in the simplest way that can be right."""
    mm.load_models_gpu([family.small])
    guider: Any = DispatchingGuider(family.small, family.large, float(sigmas[SPLIT]))
    guider.set_conds(family.positive, family.negative)
    guider.set_cfg(family.cfg)
    family.small.model.current_patcher = family.small
    noise = comfy.sample.prepare_noise(family.latent, 1)
    solver = comfy.samplers.sampler_object(sampler)
    try:
        return guider.sample(noise, family.latent, solver, sigmas, disable_pbar=True, seed=1)
    finally:
        family.small.model.current_patcher = None
