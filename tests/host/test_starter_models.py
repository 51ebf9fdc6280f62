"""The bundled models through the nodes, against a plain-torch sampler that knows neither host nor engine."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import comfy.sample
import pytest
import torch

from benchmarks.starter import load_denoiser, sample
from tstitch.families.starter import STARTERS

STEPS, SEED = 10, 5


@pytest.fixture(scope="module")
def starters(host_nodes: ModuleType) -> dict[str, Any]:
    load = host_nodes.NODE_CLASS_MAPPINGS["TStitchLoadStarter"].execute
    return {name: load(name, "all").result for name in STARTERS}


def draw(host_nodes: ModuleType, starters: dict[str, Any], small: str, large: str, **inputs: Any) -> Any:
    model, _, positive, negative, latent = starters[large]
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchKSampler"]
    settings = {"cfg": 2.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0, "fraction": 0.4, **inputs}
    with torch.inference_mode():
        conds = {"positive": positive, "negative": negative}
        return node.execute(model, starters[small][0], SEED, STEPS, latent_image=latent, **conds, **settings).result


@pytest.mark.parametrize("cfg", [1.0, 2.0])
@pytest.mark.parametrize(
    ("small", "large", "fraction"),
    [("S", "XL", 0.0), ("S", "XL", 0.4), ("S", "XL", 1.0), ("B", "XL", 0.4), ("S", "B", 0.4)],
)
def test_a_stitched_run_is_the_plain_loop(
    host_nodes: ModuleType, starters: dict[str, Any], small: str, large: str, fraction: float, cfg: float
) -> None:
    latent = draw(host_nodes, starters, small, large, cfg=cfg, fraction=fraction)[0]["samples"]
    noise = comfy.sample.prepare_noise(torch.zeros_like(latent), SEED)
    denoisers = {name: load_denoiser(name) for name in (small, large)}
    with torch.inference_mode():
        first = round(fraction * STEPS)
        stages = [denoisers[small]] * first + [denoisers[large]] * (STEPS - first)
        expected = sample(stages, noise, torch.eye(10), cfg)
    assert torch.allclose(latent, expected, atol=2e-4)
    assert latent.std() > 0.5


def test_a_noise_predicting_model_starts_for_a_flow_model(host_nodes: ModuleType, starters: dict[str, Any]) -> None:
    """S-eps and S draw the same thing early on, so the mixed run ends near the run of flow models only."""
    mixed = draw(host_nodes, starters, "S-eps", "XL")[0]["samples"]
    pure = draw(host_nodes, starters, "S", "XL")[0]["samples"]
    other = draw(host_nodes, starters, "S", "XL")[0]["samples"].roll(1, dims=0)
    assert torch.isfinite(mixed).all()
    assert (mixed - pure).pow(2).mean() < 0.5 * (mixed - other).pow(2).mean()
