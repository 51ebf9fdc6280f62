"""T-Stitch Auto on the real host: it measures once, keeps its promise, and says what it did."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import comfy.model_management as mm
import folder_paths
import pytest
import torch
from comfy.model_base import ModelType

import tstitch.planning.joint.measure as measure
from tstitch.auto.run import AutoRun, run_candidate
from tstitch.errors import StitchError
from tstitch.planning.joint.candidates import Candidate
from tstitch.planning.joint.measure import Course, FineRuns, Option
from tstitch.stitch.model import ModelStage
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import calls_of, conditioning, gaussian_model
from tstitch_testing.sampling import ksample, stitched

PROMPTS = conditioning(0.4), conditioning(-0.2)


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path) -> Iterator[Path]:
    before = folder_paths.get_user_directory()
    folder_paths.set_user_directory(str(tmp_path))
    yield tmp_path / "tstitch" / "plans"
    folder_paths.set_user_directory(before)


@pytest.fixture
def few_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LEVELS", 12)
    monkeypatch.setattr(measure, "SAMPLES", 2)


def latent(batch: int = 2, size: int = 8) -> dict[str, Any]:
    return {"samples": torch.zeros(batch, 4, size, 8)}


def inputs(**changes: Any) -> dict[str, Any]:
    return {
        "seed": 1,
        "steps": 8,
        "cfg": 3.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": PROMPTS[0],
        "negative": PROMPTS[1],
        "latent_image": latent(),
        "denoise": 1.0,
        "speed_up": 1.5,
        **changes,
    }


def auto_run(model: Any, small: Any = None, speed_up: float = 1.5, **changes: Any) -> AutoRun:
    settings: dict[str, Any] = {"sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    course = Course(*(changes.pop(name, value) for name, value in settings.items()))
    given = {"seed": 1, "steps": 8, "cfg": 3.0, "course": course, "positive": PROMPTS[0], "negative": PROMPTS[1]}
    return AutoRun(model=model, small_model=small, speed_up=speed_up, **{"latent": latent(), **given, **changes})


def test_the_first_queue_measures_and_later_ones_just_sample(host_nodes: ModuleType, user_folder: Path) -> None:
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchAuto"]
    model, small = gaussian_model(), gaussian_model(std=0.5)
    first, report, pattern, sigmas = run_node(node, model=model, small_model=small, **inputs())
    assert "Chosen: " in report
    assert f"pattern {pattern} (" in report
    assert len(list(user_folder.glob("edges-*.json"))) == len(list(user_folder.glob("plan-*.json"))) == 1
    before = len(calls_of(model)), len(calls_of(small))
    again = run_node(node, model=model, small_model=small, **inputs())
    assert torch.equal(again[0]["samples"], first["samples"])
    assert again[1:3] == (report, pattern)
    assert torch.equal(again[3], sigmas)
    calls = len(calls_of(model)) - before[0] + len(calls_of(small)) - before[1]
    assert calls <= 2 * (len(sigmas) - 1)
    assert first["samples"].shape == latent()["samples"].shape


def test_it_samples_as_the_nodes_that_its_outputs_go_to() -> None:
    """Its pattern in Multi-Model Schedule and its SIGMAS in SamplerCustom give the same picture."""
    model, small = gaussian_model(), gaussian_model(std=0.5)
    sigmas = (14.6, 6.0, 2.0, 0.7, 0.0)
    options = [Option(name, ModelStage(each, *PROMPTS, 3.0), 0) for name, each in (("small", small), ("model", model))]
    candidate = Candidate("joint plan", sigmas, (0, 0, 1, 1), 1.0)
    found = run_candidate(options, candidate, latent(), "dpmpp_2m", 1, None)
    custom = extra_nodes("nodes_custom_sampler")
    joined = stitched([small, model], pattern="1x2 2x2")
    (sampler,) = run_node(custom.KSamplerSelect, sampler_name="dpmpp_2m")
    expected, _ = run_node(
        custom.SamplerCustom, model=joined, add_noise=True, noise_seed=1, cfg=3.0, positive=PROMPTS[0],
        negative=PROMPTS[1], sampler=sampler, sigmas=torch.tensor(sigmas), latent_image=latent(),
    )  # fmt: skip
    assert torch.equal(found, expected["samples"])


@pytest.mark.usefixtures("few_levels")
def test_the_model_alone_by_its_scheduler_is_the_stock_sampler() -> None:
    model = gaussian_model()
    course = Course("euler", "normal")
    sigmas = tuple(float(sigma) for sigma in course.sigmas(model, 8))
    options = [Option("model", ModelStage(model, *PROMPTS, 3.0), 0)]
    found = run_candidate(options, Candidate("stock scheduler", sigmas, (0,) * 8, 1.0), latent(), "euler", 1, None)
    assert torch.equal(found, ksample(model, latent=latent()["samples"]))


@pytest.mark.usefixtures("few_levels")
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
@pytest.mark.parametrize("small_kind", [None, ModelType.EPS, ModelType.FLOW])
def test_a_plan_keeps_its_time_and_what_was_tried_is_sorted(sampler: str, small_kind: ModelType | None) -> None:
    small = None if small_kind is None else gaussian_model(std=0.6, kind=small_kind)
    run = auto_run(gaussian_model(), small, speed_up=2.0, sampler_name=sampler)
    plan = run.plan(refresh=False)
    assert plan.speed_up >= 2.0
    assert all(trial.candidate.seconds <= plan.base_seconds / 2.0 + 1e-9 for trial in plan.trials)
    distances = [trial.distance for trial in plan.trials]
    assert distances == sorted(distances)
    kinds = [trial.candidate.kind for trial in plan.trials]
    assert {"joint plan", "stock scheduler"} & set(kinds)  # toy models have no steady times to plan by
    assert run.sample(plan).isfinite().all()


WITH_SMALL = [
    "small_model at half size",
    "small_model",
    "model at half size",
    "model without guidance",
    "model with small_model as weak model",
    "model guided by small_model",
    "model",
]
ALONE = [
    "model at half size",
    "model without guidance",
    "model with itself at half size as weak model",
    "model guided by itself at half size",
    "model",
]


@pytest.mark.parametrize(
    ("small", "cfg", "size", "names", "networks"),
    [
        (True, 3.0, 8, WITH_SMALL, [1, 1, 0, 0, 2, 2, 0]),
        (False, 3.0, 8, ALONE, [0] * 5),
        (True, 1.0, 8, ["small_model at half size", "small_model", "model at half size", "model"], [1, 1, 0, 0]),
        (False, 1.0, 8, ["model at half size", "model"], [0, 0]),
    ],
)
def test_size_guidance_and_the_small_model_are_chosen_from(
    small: bool, cfg: float, size: int, names: list[str], networks: list[int]
) -> None:
    run = auto_run(gaussian_model(), gaussian_model(std=0.6) if small else None, cfg=cfg, latent=latent(size=size))
    assert [option.name for option in run.options] == names
    assert [option.network for option in run.options] == networks
    assert {option.stage.cfg for option in run.options if "weak" in option.name} <= {1.5}


@pytest.mark.usefixtures("few_levels")
@pytest.mark.parametrize("small", [False, True])
def test_every_way_to_take_a_step_is_measured_as_it_samples(small: bool) -> None:
    """Its first step from the noise, by what was measured, is what the run by it draws after one step."""
    run = auto_run(gaussian_model(), gaussian_model(std=0.6) if small else None)
    fine = FineRuns(run.options, run.latent, run.course)
    fine.add(1)
    edges, sigmas = fine.edges(), tuple(float(sigma) for sigma in fine.sigmas)
    wanted = fine.endpoint(1)
    last = len(sigmas) - 1
    (whole,) = (place for place, pair in enumerate(edges.pairs.tolist()) if pair == [0, last])
    for place, option in enumerate(run.options):
        drawn = run_candidate(run.options, Candidate("", (sigmas[0], 0.0), (place,), 1.0), run.latent, "euler", 1, None)
        distance = float((drawn - wanted).norm() / wanted.norm())
        assert edges.alone[place, whole] == pytest.approx(distance, rel=1e-3, abs=1e-4), option.name


@pytest.mark.usefixtures("few_levels")
def test_the_expected_distance_of_linear_denoisers_bounds_the_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Gaussians errors shrink on their way exactly as counted, and their sum is no less than what is left."""
    monkeypatch.setattr(measure, "SAMPLES", 16)
    run = auto_run(gaussian_model(mean=0.0), gaussian_model(mean=0.0, std=0.5), cfg=1.0, latent=latent(4, 16))
    for trial in run.plan(refresh=False).trials:
        assert trial.candidate.error is not None
        assert trial.distance <= trial.candidate.error * 1.2 + 0.01


@pytest.mark.usefixtures("few_levels")
@pytest.mark.parametrize(
    ("change", "measured"),
    [
        ({"seed": 7}, False),
        ({"cfg": 4.0}, True),
        ({"latent": latent(size=6)}, True),
        ({"positive": conditioning(0.4, tokens=7)}, True),
        ({"positive": conditioning(0.9)}, False),
        ({"scheduler": "karras"}, True),
        ({"denoise": 0.5}, True),
        ({"speed_up": 3.0}, False),
        ({"sampler_name": "dpmpp_2m"}, True),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else str(value),
)
def test_what_changes_the_plan_is_measured_again(change: dict[str, Any], measured: bool, user_folder: Path) -> None:
    model = gaussian_model()
    auto_run(model).plan(refresh=False)
    auto_run(model, **change).plan(refresh=False)
    assert (len(list(user_folder.glob("edges-*.json"))) == 2) == measured


@pytest.mark.usefixtures("few_levels")
def test_img2img_a_mask_and_a_sampler_with_noise_of_its_own(user_folder: Path) -> None:
    mask = torch.zeros(1, 8, 8)
    mask[..., :4] = 1
    image = {"samples": torch.full((1, 4, 8, 8), 0.5), "noise_mask": mask}
    run = auto_run(gaussian_model(), denoise=0.6, latent=image, sampler_name="euler_ancestral")
    found = run.sample(run.plan(refresh=False))
    assert torch.allclose(found[..., 4:], image["samples"][..., 4:], atol=1e-5)
    assert not torch.allclose(found[..., :4], image["samples"][..., :4], atol=1e-2)


@pytest.mark.usefixtures("few_levels")
def test_a_damaged_file_is_measured_again_with_a_warning(user_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = gaussian_model()
    plan = auto_run(model).plan(refresh=False)
    for path in user_folder.iterdir():
        path.write_text(path.read_text(encoding="utf-8")[:200], encoding="utf-8")
    with caplog.at_level(logging.WARNING, "tstitch"):
        again = auto_run(model).plan(refresh=False)
    assert len(caplog.records) == 2
    assert again.options == plan.options


@pytest.mark.usefixtures("few_levels")
def test_an_interrupted_first_queue_leaves_no_plan(user_folder: Path) -> None:
    model = gaussian_model()
    mm.interrupt_current_processing()
    with pytest.raises(mm.InterruptProcessingException):
        auto_run(model).plan(refresh=False)
    assert not list(user_folder.glob("*.json"))
    assert auto_run(model).plan(refresh=False).trials


@pytest.mark.usefixtures("few_levels")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"speed_up": 0.9}, "speed_up must be 1 or more, got 0.9"),
        ({"speed_up": 1e9}, "A speed-up of 1e+09 cannot be reached: one step of the quickest model takes"),
        ({"denoise": 0.0}, "denoise is 0, so there is nothing to sample"),
        ({"sampler_name": "oiler"}, "sampler_name must be one of"),
        ({"positive": None}, "positive is empty, not a CONDITIONING"),
        ({"latent": {}}, "latent_image is of type dict, not a LATENT"),
        ({"model": stitched([gaussian_model(), gaussian_model()])}, "model is joined of several models already"),
        ({"small": gaussian_model(latent_format=None, kind=ModelType.STABLE_CASCADE)}, "cannot share a sampling run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StitchError) as raised:
        auto_run(**{"model": gaussian_model(), **change}).plan(refresh=False)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("few_levels")
def test_a_model_of_the_same_predictions_loses_what_the_model_loses() -> None:
    model = gaussian_model()
    options = [Option(str(place), ModelStage(gaussian_model(), *PROMPTS, 3.0), place) for place in range(2)]
    runs = FineRuns(
        [*options, Option("model", ModelStage(model, *PROMPTS, 3.0), 2)], latent(), Course("euler", "simple")
    )
    runs.add(0)
    alone = runs.edges().alone
    assert alone[0] == pytest.approx(alone[2], rel=1e-4, abs=1e-5)
