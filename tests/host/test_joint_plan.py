"""Calibrate, Profile and Plan of steps and models on the real host, up to the picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import comfy.model_management as mm
import folder_paths
import pytest
import torch
from comfy.model_base import ModelType
from comfy_execution.graph_utils import ExecutionBlocker

import tstitch.planning.joint.measure as measure
from tstitch.guidance.model import MODES, Guidance, guided_model
from tstitch.planning.joint.measure import Course, resampled
from tstitch.planning.joint.recording import networks_of
from tstitch.resolution.model import low_resolution
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import calls_of, conditioning, gaussian_model, slowed
from tstitch_testing.sampling import stitched

PROMPTS = {"positive": conditioning(0.4), "negative": conditioning(-0.2)}
LEVELS, STEPS = 12, 8


@pytest.fixture
def joint(host_nodes: ModuleType) -> str:
    """Name of the package of joint plans as the host has loaded it."""
    package = host_nodes.NODE_CLASS_MAPPINGS["TStitchCalibrate"].__module__.rsplit(".nodes.", 1)[0]
    return f"{package}.tstitch.planning.joint"


@pytest.fixture(autouse=True)
def few_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joint: str) -> Iterator[None]:
    for name in ("tstitch.planning.joint", joint):
        for module in ("measure", "recording"):
            monkeypatch.setattr(sys.modules[f"{name}.{module}"], "LEVELS", LEVELS)
    before = folder_paths.get_user_directory()
    folder_paths.set_user_directory(str(tmp_path))
    yield
    folder_paths.set_user_directory(before)


@pytest.fixture
def nodes(host_nodes: ModuleType) -> dict[str, Any]:
    return host_nodes.NODE_CLASS_MAPPINGS


def latent(batch: int = 4) -> dict[str, Any]:
    return {"samples": torch.zeros(batch, 4, 8, 8)}


def calibrated(nodes: dict[str, Any], models: dict[str, Any], **changes: Any) -> Any:
    inputs = {
        "seed": 0,
        "seeds": 1,
        "steps": STEPS,
        "cfg": 3.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        **PROMPTS,
        "latent_image": latent(),
        "tolerance": 0.1,
        "record_steps": True,
        **changes,
    }
    return run_node(nodes["TStitchCalibrate"], **models, **inputs)


def planned(nodes: dict[str, Any], models: dict[str, Any], calibration: Any, **changes: Any) -> tuple[Any, ...]:
    profile = run_node(
        nodes["TStitchProfile"], **models, **PROMPTS, latent_image=latent(), cfg=3.0, repeats=4, refresh=False
    )[0]
    inputs = {"goal": "speed-up", "budget": 2.0, "steps": STEPS, "order": "free", "method": "steps and models"}
    return run_node(nodes["TStitchPlan"], **{**inputs, "profile": profile, "calibration": calibration, **changes})


def custom_sample(model: Any, sigmas: Any, sampler: str = "euler", batch: int = 4) -> Any:
    custom = extra_nodes("nodes_custom_sampler")
    (chosen,) = run_node(custom.KSamplerSelect, sampler_name=sampler)
    drawn, _ = run_node(
        custom.SamplerCustom, model=model, add_noise=True, noise_seed=1, cfg=3.0, **PROMPTS, sampler=chosen,
        sigmas=sigmas, latent_image=latent(batch),
    )  # fmt: skip
    return drawn["samples"]


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_from_a_calibration_to_a_picture_of_a_plan(nodes: dict[str, Any], sampler: str) -> None:
    large, small = slowed(gaussian_model(), 0.03), gaussian_model(std=0.6)
    models = {"final_model": large, "model_1": small}
    found, _, _, _, words = calibrated(nodes, models, sampler_name=sampler)
    assert "recorded for plans of steps and models, on 8 samples and 4 others" in words
    pattern, fraction, seconds, table, plot, sigmas = planned(nodes, models, found)
    assert fraction == -1.0
    assert 0 < seconds <= (STEPS * 0.03 + 0.1) * 1.5
    assert f"pattern {pattern}" in table
    assert plot.shape[-1] == 3
    assert sigmas[-1] == 0
    assert (sigmas[1:] < sigmas[:-1]).all()
    (joined,) = run_node(
        nodes["TStitchModelSchedule"], **models, splits="", unit="steps", pattern=pattern, memory="auto"
    )
    before = len(calls_of(large))
    samples = custom_sample(joined, sigmas, sampler)
    assert samples.isfinite().all()
    owned = sum(int(part[2:]) for part in pattern.split() if part.startswith("2x"))
    assert (len(calls_of(large)) - before) == owned  # positive and negative are one call here


def test_low_resolution_guidance_and_small_models_are_planned_together(nodes: dict[str, Any]) -> None:
    """Their predictions are recorded as they sample: a run of one step by each loses what was recorded."""
    large, small = gaussian_model(), gaussian_model(std=0.6)
    models = {
        "final_model": large,
        "model_1": low_resolution(large, 0.5),
        "model_2": small,
        "model_3": guided_model(large, small, Guidance(MODES[1])),
    }
    found = calibrated(nodes, models, latent_image=latent(8))[0]
    record = found.step_errors
    assert record.networks == (0, 1, 2, 0)
    edges = record.planned.edges()
    whole = edges.pairs.tolist().index([0, len(edges.sigmas) - 1])
    fine = measure.FineRuns(
        [measure.Option("model", measure.ModelStage(large, PROMPTS["positive"], PROMPTS["negative"], 3.0), 0)],
        latent(8),
        Course("euler", "normal"),
    )
    wanted = fine.endpoint(measure.FIRST_SEED)
    custom = extra_nodes("nodes_custom_sampler")
    (euler,) = run_node(custom.KSamplerSelect, sampler_name="euler")
    names = ("model_1", "model_2", "model_3", "final_model")
    for place, name in enumerate(names):
        joined = stitched([models[each] for each in names], pattern=f"{place + 1}x1")
        drawn, _ = run_node(
            custom.SamplerCustom, model=joined, add_noise=True, noise_seed=measure.FIRST_SEED, cfg=3.0,
            **PROMPTS, sampler=euler, sigmas=torch.tensor([edges.sigmas[0], 0.0]), latent_image=latent(8),
        )  # fmt: skip
        distance = float((drawn["samples"] - wanted).norm() / wanted.norm())
        assert edges.alone[place, whole] == pytest.approx(distance, rel=1e-3), name


def test_a_plan_costs_no_more_than_it_says(nodes: dict[str, Any]) -> None:
    large, small = slowed(gaussian_model(), 0.05), slowed(gaussian_model(std=0.6), 0.01)
    models = {"final_model": large, "model_1": small}
    found = calibrated(nodes, models)[0]
    for budget in (1.2, 3.0):
        pattern, _, seconds, _, _, sigmas = planned(nodes, models, found, budget=budget)
        (joined,) = run_node(
            nodes["TStitchModelSchedule"], **models, splits="", unit="steps", pattern=pattern, memory="auto"
        )
        before = len(calls_of(large)), len(calls_of(small))
        custom_sample(joined, sigmas)
        calls = len(calls_of(large)) - before[0], len(calls_of(small)) - before[1]
        assert sum(calls) == len(sigmas) - 1
        slept = 0.05 * calls[0] + 0.01 * calls[1]  # at least what the profile has timed, on a busy machine too
        assert slept <= 1.001 * seconds


def test_nothing_is_recorded_unless_asked_for(nodes: dict[str, Any]) -> None:
    large, small = gaussian_model(), gaussian_model(std=0.6)
    models = {"final_model": large, "model_1": small}
    found = calibrated(nodes, models, record_steps=False)[0]
    assert found.step_errors is None
    assert len(calls_of(small)) == STEPS
    with pytest.raises(Exception, match="turn record_steps on in T-Stitch Calibrate"):
        planned(nodes, models, found)
    outputs = planned(nodes, models, found, method="models", order="small first", budget=0.1)
    assert isinstance(outputs[5], ExecutionBlocker)
    assert "method steps and models" in outputs[5].message


def test_a_saved_calibration_gives_the_same_plan(nodes: dict[str, Any]) -> None:
    models = {"final_model": gaussian_model(), "model_1": gaussian_model(std=0.6)}
    found = calibrated(nodes, models)[0]
    again = type(found).from_json(found.to_json())
    assert again == found
    first, second = (planned(nodes, models, each, budget=1.5) for each in (found, again))
    assert first[0] == second[0]
    assert torch.equal(first[5], second[5])


@pytest.mark.parametrize("steps", [3, 5, 12, 20])
def test_own_sigmas_are_among_the_levels_and_are_the_stock_run(nodes: dict[str, Any], steps: int) -> None:
    model = gaussian_model()
    own = Course("euler", "karras").sigmas(model, steps).cpu()
    course = Course("euler", "karras", own=own)
    assert torch.equal(course.sigmas(model, steps), own.float())
    fine = course.fine_sigmas(model)
    assert (fine[1:] < fine[:-1]).all()
    if steps <= LEVELS:
        assert set(own.tolist()) <= set(fine.tolist())
    half = resampled(own, 2)
    assert (half[0], half[-1]) == (own[0], own[-1])


def test_a_calibration_on_own_sigmas_is_planned_too(nodes: dict[str, Any]) -> None:
    models = {
        "final_model": gaussian_model(kind=ModelType.FLOW, shift=3.0),
        "model_1": gaussian_model(std=0.6, kind=ModelType.FLOW, shift=3.0),
    }
    sigmas, _ = run_node(
        nodes["TStitchSigmas"], model=models["final_model"], steps="2, 4", splits="0.875", unit="timestep",
        scheduler="simple", shifts="",
    )  # fmt: skip
    found = calibrated(nodes, models, sigmas=sigmas)[0]
    assert set(sigmas.tolist()) <= set(found.step_errors.planned.sigmas)
    assert found.step_errors.stock[5].sigmas == tuple(sigmas.tolist())
    assert planned(nodes, models, found, budget=1.2)[5][0] == sigmas[0]
    with pytest.raises(Exception, match="sigmas must fall from step to step"):
        calibrated(nodes, models, sigmas=sigmas.flip(0))
    with pytest.raises(Exception, match=r"The sigmas end at 0\.1, but a run that is planned ends at 0"):
        calibrated(nodes, models, sigmas=torch.linspace(1, 0.1, 12))


def test_the_steps_of_another_solver_are_refused(nodes: dict[str, Any]) -> None:
    models = {"final_model": gaussian_model(), "model_1": gaussian_model(std=0.6)}
    found = calibrated(nodes, models)[0]
    assert planned(nodes, models, found, budget=1.2, sampler_name="ddim")[5][-1] == 0
    with pytest.raises(Exception, match="the plan is for dpmpp_2m, whose steps lose otherwise"):
        planned(nodes, models, found, sampler_name="dpmpp_2m")
    with pytest.raises(Exception, match="sampler_name must be one of"):
        planned(nodes, models, found, sampler_name="oiler")
    assert nodes["TStitchPlan"].validate_inputs(method="both").startswith("method must be one of models, steps and")


def test_an_interrupt_stops_the_recording(nodes: dict[str, Any], joint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"final_model": gaussian_model(), "model_1": gaussian_model(std=0.6)}
    runs = sys.modules[f"{joint}.measure"].FineRuns
    original = runs.add

    def interrupted(self: Any, seed: int) -> None:
        mm.interrupt_current_processing()
        original(self, seed)

    monkeypatch.setattr(runs, "add", interrupted)
    with pytest.raises(mm.InterruptProcessingException):
        calibrated(nodes, models)


def test_models_that_share_their_weights_are_one_network() -> None:
    large, small = gaussian_model(), gaussian_model(std=0.6)
    guided = guided_model(large, small, Guidance())
    assert networks_of([small, low_resolution(small, 0.5), low_resolution(large, 0.5), guided, large]) == (
        0,
        0,
        1,
        2,
        1,
    )


def test_a_joined_model_is_refused(nodes: dict[str, Any]) -> None:
    models = {"final_model": gaussian_model(), "model_1": stitched([gaussian_model(), gaussian_model()])}
    with pytest.raises(Exception, match="model_1 is joined of several models already"):
        calibrated(nodes, models)
