"""The bundled models through the nodes, against a plain-torch sampler that knows neither host nor engine."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import comfy.sample
import pytest
import torch

from benchmarks.tools.starter import load_denoiser, sample
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


@pytest.mark.parametrize("steps", [1, 2, 4, 128])
def test_the_shortcut_model_takes_the_steps_of_its_paper(
    host_nodes: ModuleType, starters: dict[str, Any], steps: int
) -> None:
    """Algorithm 2 of arXiv 2410.12557 by the stock KSampler: euler, the scheduler simple, cfg 1."""
    model, _, positive, negative, latent = starters["Shortcut"]
    node = host_nodes.NODE_CLASS_MAPPINGS["KSampler"]()
    with torch.inference_mode():
        (drawn,) = node.sample(model, SEED, steps, 1.0, "euler", "simple", positive, negative, latent)
        noise = comfy.sample.prepare_noise(torch.zeros_like(drawn["samples"]), SEED)
        expected = sample([load_denoiser("Shortcut")] * steps, noise, torch.eye(10), 1.0)
    assert torch.allclose(drawn["samples"], expected, atol=1e-4)


def test_the_shortcut_model_draws_in_one_step_what_it_draws_in_eight(
    host_nodes: ModuleType, starters: dict[str, Any]
) -> None:
    """Where the flow model of its size, in one step, gives the mean of its class."""
    node, drawn = host_nodes.NODE_CLASS_MAPPINGS["KSampler"](), {}
    for name in ("Shortcut", "B"):
        model, _, positive, negative, latent = starters[name]
        for steps in (1, 8):
            with torch.inference_mode():
                result = node.sample(model, SEED, steps, 1.0, "euler", "simple", positive, negative, latent)
            drawn[name, steps] = result[0]["samples"]
    error = {name: (drawn[name, 1] - drawn[name, 8]).norm() / drawn[name, 8].norm() for name in ("Shortcut", "B")}
    assert error["Shortcut"] < 0.5 * error["B"]


def test_the_shortcut_model_starts_for_a_flow_model(host_nodes: ModuleType, starters: dict[str, Any]) -> None:
    """As a stage: two steps of 1/4 by Shortcut, then XL; on the noise levels that XL's scheduler gives."""
    settings = {"cfg": 1.0, "fraction": 0.5, "steps": 4}
    model, _, positive, negative, latent = starters["XL"]
    node, conds = host_nodes.NODE_CLASS_MAPPINGS["TStitchKSampler"], {"positive": positive, "negative": negative}
    widgets = {**settings, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    with torch.inference_mode():
        drawn = node.execute(model, starters["Shortcut"][0], SEED, latent_image=latent, **conds, **widgets).result[0]
        noise = comfy.sample.prepare_noise(torch.zeros_like(drawn["samples"]), SEED)
        stages = [load_denoiser("Shortcut")] * 2 + [load_denoiser("XL")] * 2
        expected = sample(stages, noise, torch.eye(10), 1.0)
    assert torch.allclose(drawn["samples"], expected, atol=2e-4)


def test_a_noise_predicting_model_starts_for_a_flow_model(host_nodes: ModuleType, starters: dict[str, Any]) -> None:
    """S-eps and S draw the same thing early on, so the mixed run ends near the run of flow models only."""
    mixed = draw(host_nodes, starters, "S-eps", "XL")[0]["samples"]
    pure = draw(host_nodes, starters, "S", "XL")[0]["samples"]
    other = draw(host_nodes, starters, "S", "XL")[0]["samples"].roll(1, dims=0)
    assert torch.isfinite(mixed).all()
    assert (mixed - pure).pow(2).mean() < 0.5 * (mixed - other).pow(2).mean()
