"""Profile and Plan on the real host: what is measured, remembered and refused, and a plan that samples."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import comfy.cli_args
import comfy.controlnet
import comfy.latent_formats
import comfy.model_management as mm
import folder_paths
import pytest
import torch
from comfy.cli_args import PerformanceFeature

from tstitch.planning.profile.measure import conditioning_key
from tstitch_testing.host import run_node
from tstitch_testing.models import calls_of, conditioning, gaussian_model, slowed

REPEATS, WARM_UP = 4, 2
STEPS_MEASURED = WARM_UP + REPEATS + 1  # and a run of one step for the set-up


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path) -> Iterator[Path]:
    before = folder_paths.get_user_directory()
    folder_paths.set_user_directory(str(tmp_path))
    yield tmp_path / "tstitch" / "profiles"
    folder_paths.set_user_directory(before)


@pytest.fixture
def nodes(host_nodes: ModuleType) -> dict[str, Any]:
    return host_nodes.NODE_CLASS_MAPPINGS


@pytest.fixture
def models() -> tuple[Any, Any]:
    return gaussian_model(), gaussian_model(std=0.5)


def latent(batch: int = 2, size: int = 6) -> dict[str, Any]:
    return {"samples": torch.zeros(batch, 4, size, 5)}


def profile(nodes: dict[str, Any], final: Any, first: Any, **changes: Any) -> tuple[Any, str, Any]:
    inputs = {
        "positive": conditioning(0.4),
        "negative": conditioning(-0.2),
        "latent_image": latent(),
        "cfg": 3.0,
        "repeats": REPEATS,
        "refresh": False,
        **changes,
    }
    return run_node(nodes["TStitchProfile"], final_model=final, model_1=first, **inputs)


def counts(*models: Any) -> list[int]:
    return [len(calls_of(model)) for model in models]


def test_it_measures_once_and_remembers(nodes: dict[str, Any], models: tuple[Any, Any], user_folder: Path) -> None:
    found, table, chart = profile(nodes, *models)
    assert counts(*models) == [STEPS_MEASURED] * 2
    assert [mark.name for mark in found.models] == ["Gaussian 1"] * 2
    assert all(timing.step > 0 and timing.repeats == REPEATS for timing in found.timings)
    assert (found.latent_shape, found.guided) == ((2, 4, 6, 5), (True, True))
    assert "| 2 (final) | Gaussian 1 |" in table
    assert chart.ndim == 4
    assert chart.shape[-1] == 3
    assert len(list(user_folder.iterdir())) == 2

    assert profile(nodes, *models)[0] == found
    assert counts(*models) == [STEPS_MEASURED] * 2
    profile(nodes, *models, refresh=True)
    assert counts(*models) == [2 * STEPS_MEASURED] * 2


def test_what_else_lies_on_the_device_is_not_counted(
    nodes: dict[str, Any], models: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text encoders and VAE that the host left there; a device that keeps count has these three functions."""
    text_encoder, working = 7 << 30, 1 << 20
    weights = models[0].model_size()
    monkeypatch.setattr(torch.cpu, "reset_peak_memory_stats", lambda _: None, raising=False)
    monkeypatch.setattr(torch.cpu, "memory_allocated", lambda _: text_encoder + weights, raising=False)
    monkeypatch.setattr(torch.cpu, "max_memory_allocated", lambda _: text_encoder + weights + working, raising=False)
    found, _, _ = profile(nodes, *models)
    assert [timing.peak_bytes for timing in found.timings] == [weights + working] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"cfg": 1.0},
        {"latent_image": latent(batch=1)},
        {"latent_image": latent(size=7)},
        {"positive": conditioning(0.4, tokens=7)},
        {"negative": conditioning(0.4, tokens=7)},
        {"repeats": REPEATS + 1},
    ],
    ids=str,
)
def test_what_changes_the_time_is_measured_again(
    nodes: dict[str, Any], models: tuple[Any, Any], change: dict[str, Any]
) -> None:
    first = profile(nodes, *models)[0]
    before = counts(*models)
    assert profile(nodes, *models, **change)[0] != first
    assert all(now > then for now, then in zip(counts(*models), before, strict=True))


def test_what_does_not_change_the_time_is_not_measured_again(nodes: dict[str, Any], models: tuple[Any, Any]) -> None:
    profile(nodes, *models)
    before = counts(*models)
    profile(nodes, *models, cfg=7.0, positive=conditioning(0.9))
    assert counts(*models) == before
    patched = models[0].clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"])
    profile(nodes, patched, models[1])
    assert counts(*models)[0] > before[0]
    assert counts(*models)[1] == before[1]


def batches(model: Any) -> set[int]:
    """Items in a model call: those of the latent, once for each conditioning that is asked."""
    return {len(x) for x in model.model.diffusion_model.inputs}


def test_smaller_models_are_measured_with_the_prompt_and_cfg_of_their_own(
    nodes: dict[str, Any], models: tuple[Any, Any], user_folder: Path
) -> None:
    third = gaussian_model(std=0.7)
    found, table, _ = profile(nodes, *models, model_2=third, small_cfg=1.0)
    assert found.guided == (False, False, True)
    assert [batches(model) for model in (models[1], third, models[0])] == [{2}, {2}, {4}]
    assert "positive and negative, but model 1, 2 at cfg 1: positive only" in table
    before = counts(*models)
    own = {"small_positive": conditioning(0.4, tokens=7), "small_negative": conditioning(0.4, tokens=7)}
    assert profile(nodes, *models, **own)[0].guided == (True, True)
    assert counts(*models) == [before[0], before[1] + STEPS_MEASURED]
    models[1].model.model_config.unet_config["context_dim"] = 9
    with pytest.raises(Exception, match="model_1 reads text of width 9, but its positive conditioning has 5"):
        profile(nodes, *models)
    profile(nodes, *models, small_positive=conditioning(width=9), small_negative=conditioning(width=9))


def test_a_prompt_of_another_type_is_named_by_its_socket(nodes: dict[str, Any], models: tuple[Any, Any]) -> None:
    for name in ("small_positive", "small_negative"):
        with pytest.raises(Exception, match=f"{name} is of type str, not a CONDITIONING"):
            profile(nodes, *models, **{name: "a cat"})
        with pytest.raises(Exception, match=f"{name} is of type str, not a CONDITIONING"):
            calibration(nodes, *models, **{name: "a cat"})


def with_reference(size: int) -> list[Any]:
    return [[text, {"reference_latents": [torch.zeros(1, 4, size, size)]}] for text, _ in conditioning(0.4)]


def with_controls(*widths: int) -> list[Any]:
    """Conditioning with a chain of ControlNets of these sizes."""
    control = None
    for width in widths:
        network = torch.nn.Linear(width, width)
        network.dtype = torch.float32
        chained = comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"))
        chained.set_previous_controlnet(control)
        control = chained
    return [[text, {"control": control}] for text, _ in conditioning(0.4)]


def test_what_is_attached_to_the_prompt_is_part_of_the_setting() -> None:
    attached = [conditioning(0.4), with_reference(8), with_reference(16)]
    attached += [with_controls(4), with_controls(8), with_controls(4, 4)]
    keys = [json.dumps(conditioning_key(each)) for each in attached]
    assert len(set(keys)) == len(keys)
    assert conditioning_key(with_controls(4)) == conditioning_key(with_controls(4))


def test_the_speed_features_of_the_host_are_part_of_the_setting(
    nodes: dict[str, Any], models: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile(nodes, *models)
    before = counts(*models)
    monkeypatch.setattr(comfy.cli_args.args, "fast", {PerformanceFeature.Fp16Accumulation})
    profile(nodes, *models)
    assert counts(*models) == [2 * count for count in before]


def test_the_devices_threads_are_part_of_the_setting(nodes: dict[str, Any], models: tuple[Any, Any]) -> None:
    if models[0].load_device.type != "cpu":
        pytest.skip("threads do not count on this device")
    threads = torch.get_num_threads()
    profile(nodes, *models)
    before = counts(*models)
    try:
        torch.set_num_threads(threads + 1)
        profile(nodes, *models)
    finally:
        torch.set_num_threads(threads)
    assert counts(*models) != before


def test_a_damaged_file_is_ignored_and_rewritten(
    nodes: dict[str, Any], models: tuple[Any, Any], user_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    profile(nodes, *models)
    damaged = next(user_folder.iterdir())
    damaged.write_text('{"format": "some', encoding="utf-8")
    with caplog.at_level(logging.WARNING, "tstitch"):
        profile(nodes, *models)
    assert [str(damaged) in record.getMessage() for record in caplog.records if record.name == "tstitch"] == [True]
    assert json.loads(damaged.read_text(encoding="utf-8"))["format"] == "tstitch-profile"
    assert sum(counts(*models)) == 3 * STEPS_MEASURED


def test_an_interrupt_stops_at_the_next_step_and_leaves_nothing_behind(
    nodes: dict[str, Any], models: tuple[Any, Any], user_folder: Path
) -> None:
    mm.interrupt_current_processing(True)
    try:
        with pytest.raises(mm.InterruptProcessingException):
            profile(nodes, *models)
    finally:
        mm.interrupt_current_processing(False)
    assert sum(counts(*models)) == 1
    assert not user_folder.exists()
    profile(nodes, *models)


def test_the_models_are_left_as_they_were(nodes: dict[str, Any], models: tuple[Any, Any]) -> None:
    before = [(dict(model.model_options), dict(model.patches), model.hook_mode) for model in models]
    profile(nodes, *models)
    assert [(dict(model.model_options), dict(model.patches), model.hook_mode) for model in models] == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"latent_image": {"samples": torch.ones(1, 3, 8, 8)}}, "The latent has 3 channels, but model_1 works on SD15"),
        ({"latent_image": None}, "latent_image is empty, not a LATENT"),
        ({"positive": "a cat"}, "positive is of type str, not a CONDITIONING"),
        ({"model_2": "a model"}, "model_2 is of type str, not a MODEL"),
    ],
    ids=["channels", "no latent", "prompt", "model"],
)
def test_wrong_sockets_are_one_sentence(
    nodes: dict[str, Any], models: tuple[Any, Any], change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Exception, match=sentence) as raised:
        profile(nodes, *models, **change)
    assert type(raised.value).__name__ == "StitchError"
    assert counts(*models) == [0, 0]


def test_text_without_the_pooled_form_that_a_model_reads_is_one_sentence(
    nodes: dict[str, Any], models: tuple[Any, Any]
) -> None:
    models[1].model.encode_adm = lambda **entry: entry["pooled_output"]
    with pytest.raises(Exception, match="model_1 reads the pooled form of the text too, but its positive conditioning"):
        profile(nodes, *models)
    with pytest.raises(Exception, match="model_1 reads the pooled form of the text too, but its positive conditioning"):
        calibration(nodes, *models)
    assert counts(*models) == [0, 0]


def calibration(nodes: dict[str, Any], final: Any, first: Any, **more: Any) -> Any:
    return run_node(
        nodes["TStitchCalibrate"], final_model=final, model_1=first, seed=0, seeds=1, steps=8, cfg=3.0,
        sampler_name="euler", scheduler="normal", positive=conditioning(0.4), negative=conditioning(-0.2),
        latent_image=latent(), tolerance=0.1, **more,
    )[0]  # fmt: skip


def test_a_plan_runs_as_it_says(nodes: dict[str, Any], models: tuple[Any, Any]) -> None:
    """Profile, calibrate, plan and sample; the report of the sampler names the planned pattern."""
    final, first = slowed(models[0], 0.05), models[1]
    measured, found = profile(nodes, final, first)[0], calibration(nodes, final, first)
    tolerance = max(found.noise_error[0][:3])
    plan = run_node(
        nodes["TStitchPlan"], goal="no visible loss", budget=tolerance, steps=8, order="small first",
        profile=measured, calibration=found, latent_image=latent(),
    )  # fmt: skip
    pattern, fraction, seconds, table, plot, _ = plan
    assert fraction >= 3 / 8
    assert seconds > 0
    assert f"| \N{RIGHTWARDS ARROW} | {pattern} |" in table
    assert plot.shape[-1] == 3

    sampling = {"seed": 1, "steps": 8, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    prompts = {"positive": conditioning(0.4), "negative": conditioning(-0.2), "latent_image": latent()}
    one, report, *_ = run_node(
        nodes["TStitchKSampler"], model=final, small_model=first, fraction=fraction, **sampling, **prompts
    )
    assert json.loads(report)["pattern"] == pattern
    joined = run_node(
        nodes["TStitchModelSchedule"], final_model=final, model_1=first, splits="", unit="steps", pattern=pattern,
        memory="auto",
    )[0]  # fmt: skip
    other = run_node(nodes["KSampler"], model=joined, **sampling, **prompts)[0]
    assert torch.equal(one["samples"], other["samples"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"profile": "fast"}, "profile is of type str, not a profile"),
        ({"calibration": "good"}, "calibration is of type str, not a calibration"),
        ({"latent_image": latent(batch=3)}, "latents of 2 x 4 x 6 x 5, but latent_image has 3 x 4 x 6 x 5"),
        ({"latent_image": "large"}, "latent_image is of type str, not a LATENT"),
        ({"steps": 0}, "steps must be 1 or more, got 0"),
    ],
    ids=["profile", "calibration", "size", "latent", "steps"],
)
def test_what_a_plan_refuses(
    nodes: dict[str, Any], models: tuple[Any, Any], change: dict[str, Any], sentence: str
) -> None:
    inputs = {"goal": "speed-up", "budget": 0.5, "steps": 8, "order": "free", "profile": profile(nodes, *models)[0]}
    with pytest.raises(Exception, match=sentence) as raised:
        run_node(nodes["TStitchPlan"], **{**inputs, **change})
    assert type(raised.value).__name__ == "StitchError"


def test_a_picture_for_video_models_is_of_the_size_of_its_profile(nodes: dict[str, Any]) -> None:
    """The host gives it a dimension of frames, as with Qwen-Image: the profile's latents have one more than these."""
    models = [gaussian_model(std=std, latent_format=comfy.latent_formats.Wan21()) for std in (0.7, 0.5)]
    picture = {"samples": torch.zeros(1, 16, 6, 5)}
    found = profile(nodes, *models, latent_image=picture)[0]
    assert found.latent_shape == (1, 16, 1, 6, 5)
    inputs = {"goal": "speed-up", "budget": 0.01, "steps": 8, "order": "free", "profile": found}
    run_node(nodes["TStitchPlan"], **inputs, latent_image=picture)
    with pytest.raises(Exception, match="latents of 1 x 16 x 1 x 6 x 5, but latent_image has 1 x 16 x 6 x 6"):
        run_node(nodes["TStitchPlan"], **inputs, latent_image={"samples": torch.zeros(1, 16, 6, 6)})


def test_a_calibration_of_other_models_is_refused_with_both(nodes: dict[str, Any], models: tuple[Any, Any]) -> None:
    other = gaussian_model(std=0.1)
    inputs = {"goal": "speed-up", "budget": 0.5, "steps": 8, "order": "free", "profile": profile(nodes, *models)[0]}
    with pytest.raises(Exception, match=r"of other models than the calibration: Gaussian 1 \[\w{6}\], Gaussian 1"):
        run_node(nodes["TStitchPlan"], calibration=calibration(nodes, models[0], other), **inputs)


def test_widgets_are_checked_before_the_run(nodes: dict[str, Any]) -> None:
    validate = nodes["TStitchPlan"].validate_inputs
    assert validate(goal="seconds", budget=1.0, steps=20, order="free") is True
    assert validate(goal="seconds", budget=None, steps=None, order=None) is True
    assert "budget must be above 0" in validate(goal="seconds", budget=0.0, steps=20, order="free")


def test_refresh_runs_at_every_queue(nodes: dict[str, Any]) -> None:
    fingerprint = nodes["TStitchProfile"].fingerprint_inputs
    assert fingerprint(refresh=False, cfg=1.0) == fingerprint(refresh=False, cfg=2.0)
    assert fingerprint(refresh=True) != fingerprint(refresh=True)
    assert fingerprint(refresh=None) != fingerprint(refresh=None)  # a link


def test_a_lower_resolution_is_timed_apart_from_the_full_one(nodes: dict[str, Any], models: tuple[Any, Any]) -> None:
    large, _ = models
    (reduced,) = run_node(nodes["TStitchLowResolution"], model=large, scale=0.5)
    found, _, _ = profile(nodes, large, reduced)
    assert len({mark.identity for mark in found.models}) == 2
    sizes = [tuple(x.shape[-2:]) for x in large.model.diffusion_model.inputs]
    assert sizes.count((6, 5)) == sizes.count((3, 3)) == STEPS_MEASURED
