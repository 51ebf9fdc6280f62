"""The noise levels shown before a run are the ones the host's own samplers then use."""

from __future__ import annotations

import importlib
import math
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from comfy.model_base import ModelType
from comfy.samplers import KSampler

from tstitch.errors import StitchError
from tstitch.page.noise_preview import FRACTIONS, MAX_STEPS, PlannedRun, preview_levels
from tstitch_testing.models import gaussian_model
from tstitch_testing.sampling import ksample

FLOW = {"sampling": "flow", "shift": 3.0}


def levels_of_a_run(steps: int, sampling: str = "eps", shift: float = 1.0, **options: Any) -> list[float]:
    """The sigmas that reach the model in a run of the stock KSampler."""
    model = gaussian_model(kind=ModelType.FLOW, shift=shift) if sampling == "flow" else gaussian_model()
    ksample(model, options.pop("sampler_name", "euler"), steps=steps, latent=torch.full((1, 4, 2, 2), 0.1), **options)
    return model.model.diffusion_model.sample_sigmas[0].tolist()


@pytest.mark.parametrize("scheduler", KSampler.SCHEDULERS)
@pytest.mark.parametrize("kind", [{}, FLOW], ids=["eps", "flow"])
def test_levels_of_every_scheduler(scheduler: str, kind: dict[str, Any]) -> None:
    preview = preview_levels(PlannedRun(6, scheduler, **kind))
    assert list(preview["sigmas"]) == levels_of_a_run(6, scheduler=scheduler, **kind)
    assert preview["total_steps"] == len(preview["sigmas"]) - 1


@pytest.mark.parametrize(
    ("planned", "stock"),
    [
        ({"denoise": 0.5}, {"denoise": 0.5}),
        ({"sampler_name": "dpm_2"}, {"sampler_name": "dpm_2"}),
        ({"sampler_name": "dpm_2_ancestral", "denoise": 0.4}, {"sampler_name": "dpm_2_ancestral", "denoise": 0.4}),
        ({"start": 3}, {"start_step": 3}),
        ({"start": 2, "end": 5}, {"start_step": 2, "last_step": 5, "force_full_denoise": True}),
        ({"end": 5, "leftover_noise": True}, {"last_step": 5}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_levels_of_a_part_of_a_schedule(planned: dict[str, Any], stock: dict[str, Any]) -> None:
    preview = preview_levels(PlannedRun(8, "karras", **planned))
    assert list(preview["sigmas"]) == levels_of_a_run(8, scheduler="karras", **stock)


@pytest.mark.parametrize("kind", [{}, FLOW], ids=["eps", "flow"])
def test_the_longest_schedule_takes_the_host_one_call(kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the server answers, it does nothing else."""
    planned = PlannedRun(MAX_STEPS - 1, "simple", **kind)
    sampling = type(planned.model_sampling())
    calls, timestep = [], sampling.timestep
    monkeypatch.setattr(sampling, "timestep", lambda self, sigma: calls.append(sigma) or timestep(self, sigma))
    timesteps = preview_levels(planned)["timesteps"]
    assert len(calls) == 1
    assert all(a >= b for a, b in pairwise((1, *timesteps, 0)))


def test_the_place_in_the_full_schedule() -> None:
    assert preview_levels(PlannedRun(8, "normal"))["first_step"] == 0
    half = preview_levels(PlannedRun(8, "normal", denoise=0.5))
    assert (half["first_step"], half["total_steps"], half["whole"]) == (8, 16, False)
    late = preview_levels(PlannedRun(8, "normal", start=3))
    assert (late["first_step"], late["total_steps"], late["whole"]) == (3, 8, False)
    assert preview_levels(PlannedRun(8, "normal", end=6))["whole"]
    left = preview_levels(PlannedRun(8, "normal", end=6, leftover_noise=True))
    assert (left["whole"], left["starts"]) == (False, True)
    assert not half["starts"]
    assert not late["starts"]


def test_fractions_are_the_hosts() -> None:
    for kind in ({}, FLOW):
        planned = PlannedRun(8, "normal", **kind)
        sigmas = preview_levels(planned)["fraction_sigmas"]
        assert len(sigmas) == FRACTIONS + 1
        assert sigmas[FRACTIONS // 4] == float(planned.model_sampling().percent_to_sigma(0.25))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "1 to 1000 steps, got 0"),
        ({"steps": MAX_STEPS + 1}, "got 1001"),
        ({"steps": 10**400, "denoise": 0.5}, "1 to 1000 steps"),
        ({"denoise": 0.001}, "got 20 steps at denoise 0.001"),
        ({"denoise": 5e-324}, "1 to 1000 steps"),
        ({"steps": 1, "scheduler": "kl_optimal"}, "kl_optimal gives levels that are no numbers"),
        ({"denoise": 0.0}, "denoise must lie"),
        ({"denoise": math.nan}, "denoise must lie"),
        ({"scheduler": "__import__"}, "scheduler must be one of"),
        ({"sampler_name": "?"}, "sampler_name must be one of"),
        ({"sampling": "cascade"}, "sampling must be one of eps, flow"),
        ({"shift": math.inf}, "shift must lie"),
        ({"start": 5, "end": 5}, "must start before it ends"),
        ({"start": 20}, "The run starts at step 20, but the schedule has 20"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StitchError, match=sentence.replace("?", r"\?")):
        preview_levels(PlannedRun(**{"steps": 20, "scheduler": "normal", **changes}))


@pytest.fixture(scope="module")
def routes(host_nodes: ModuleType) -> ModuleType:
    package = host_nodes.NODE_CLASS_MAPPINGS["TStitchKSampler"].__module__.rpartition(".")[0]
    return importlib.import_module(f"{package}.routes")


def test_the_arguments_of_the_route(routes: ModuleType) -> None:
    read = routes.planned_run(
        {"steps": "12", "scheduler": "beta", "denoise": "0.5", "leftover_noise": "true", "x": "1"}
    )
    assert vars(read) == vars(PlannedRun(12, "beta", denoise=0.5, leftover_noise=True))


@pytest.mark.parametrize("query", [{}, {"steps": "x", "scheduler": "beta"}, {"steps": "1e3", "scheduler": "beta"}])
def test_arguments_that_cannot_be_read_are_one_sentence(routes: ModuleType, query: dict[str, str]) -> None:
    with pytest.raises(Exception, match=r"must be (given|a number)") as raised:
        routes.planned_run(query)
    assert type(raised.value).__name__ == "StitchError"
