"""The pack's node on the starter models against the plain-torch sampler that their figures are measured with."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from benchmarks.starter import LATENT_SHAPE, load_denoiser, sample

STEPS, SEED = 10, 7


@pytest.mark.parametrize("fraction", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_the_node_equals_the_reference_sampler(host_nodes: ModuleType, fraction: float, cfg: float) -> None:
    nodes = host_nodes.NODE_CLASS_MAPPINGS
    load = nodes["TStitchLoadStarter"].execute
    small, (large, _, positive, negative, latent) = load("S", "all")[0], load("XL", "all").args
    stitch = nodes["TStitchKSampler"].execute
    inputs = (large, small, SEED, STEPS, cfg, "euler", "simple", positive, negative, latent, 1.0, fraction)
    result = stitch(*inputs)[0]["samples"]

    noise = torch.randn(10, *LATENT_SHAPE, generator=torch.manual_seed(SEED))
    first = int(fraction * STEPS)
    stages = [load_denoiser("S")] * first + [load_denoiser("XL")] * (STEPS - first)
    with torch.no_grad():
        expected = sample(stages, noise, torch.eye(10), cfg)
    torch.testing.assert_close(result, expected, atol=2e-3, rtol=1e-3)
