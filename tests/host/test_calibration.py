"""Calibrations of models with known answers, on the real host."""

from __future__ import annotations

import errno
import math
import os
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.sample
import comfy.utils
import folder_paths
import pytest
import torch
from comfy.model_base import ModelType

from tstitch.errors import StitchError
from tstitch.guidance.model import MODES, Guidance, guided_model
from tstitch.planning.calibration import measure as calibrating
from tstitch.planning.calibration.measure import RecordingSampler, Settings, calibrate, sigmas_of
from tstitch.planning.calibration.record import Calibration
from tstitch.resolution.model import low_resolution
from tstitch.stitch.model import ModelStage
from tstitch_testing.models import calls_of, conditioning, gaussian_model
from tstitch_testing.sampling import ksample, stitched

MEAN, STD = 0.3, 0.7
POSITIVE, NEGATIVE = conditioning(0.4), conditioning(-0.2)
KINDS = [ModelType.EPS, ModelType.V_PREDICTION, ModelType.FLOW, ModelType.EDM]


def measured(*models: Any, **changes: Any) -> Calibration:
    """Of `models` in run order, on a batch of two."""
    values = {"seed": 1, "seeds": 2, "steps": 6, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal"}
    latent = changes.pop("latent", {"samples": torch.zeros(2, 4, 6, 5)})
    names = [*(f"model_{number}" for number in range(1, len(models))), "final_model"]
    parts = [ModelStage(model, POSITIVE, NEGATIVE) for model in models]
    return calibrate(names, parts, latent, Settings(**{**values, **changes}))


def is_perfect(found: Calibration, model: int) -> bool:
    steps = len(found.timesteps)
    zeros = (found.relative_error, found.relative_error_spread, found.cosine_spread, found.noise_error)
    return found.cosine[model] == (1.0,) * steps and all(table[model] == (0.0,) * steps for table in zeros)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_model_agrees_with_itself_exactly(kind: ModelType) -> None:
    model = gaussian_model(kind=kind)
    found = measured(model, gaussian_model(kind=kind), model)
    assert all(is_perfect(found, index) for index in range(3))
    assert found.log_amplitude[0] == found.log_amplitude[1] == found.log_amplitude[2]
    assert found.samples == 4
    assert found.fraction_within(0.0) == 1.0
    assert found.order() == "either"


@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "sampler",
    ["euler", "heun", "dpm_2", "dpmpp_2m", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde", "uni_pc", "euler_cfg_pp"],
)
def test_the_base_model_samples_as_in_the_stock_sampler(
    sampler: str, kind: ModelType, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    run = calibrating.run_guider

    def keep(*args: Any) -> Any:
        results.append(run(*args))
        return results[-1]

    monkeypatch.setattr(calibrating, "run_guider", keep)
    found = measured(gaussian_model(std=0.5, kind=kind), gaussian_model(kind=kind), sampler_name=sampler, seeds=1)
    assert torch.equal(results[0], ksample(gaussian_model(kind=kind), sampler, steps=6))
    assert len(found.timesteps) == 6


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
def test_models_are_compared_where_the_steps_begin(sampler: str) -> None:
    """Not at the end of a step, which a second-order solver calls too, from another x."""
    small, base = gaussian_model(std=0.5), gaussian_model()
    seen: list[Any] = []
    comfy.sample.sample(
        base,
        comfy.sample.prepare_noise(torch.zeros(2, 4, 6, 5), 1),
        *(6, 3.0, sampler, "normal", POSITIVE, NEGATIVE, torch.zeros(2, 4, 6, 5)),
        callback=lambda step, x0, x, total: seen.append((x.clone(), x0.clone())),
        disable_pbar=True,
        seed=1,
    )
    points: list[Any] = []
    original = RecordingSampler.sample

    class Spy(RecordingSampler):
        def sample(self, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            points.extend(self.points[index] for index in range(6))
            return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrating, "RecordingSampler", Spy)
        measured(small, base, sampler_name=sampler, seeds=1)
    for (x, x0), point in zip(seen, points, strict=True):
        assert torch.equal(x, point.x)
        assert torch.equal(x0, point.denoised)
    assert calls_of(small) == pytest.approx([point.sigma for point in points], rel=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_errors_of_a_shifted_model_are_those_of_the_formula(kind: ModelType) -> None:
    """Of two exact denoisers of one variance, x0 differs by the shift of the mean times b^2 / (a^2 s^2 + b^2)."""
    shift = 0.2
    base = gaussian_model(MEAN, STD, kind=ModelType.FLOW)
    small = gaussian_model(MEAN + shift, STD, kind=kind)
    found = measured(small, base, cfg=1.0, seeds=1, scheduler="simple", latent={"samples": torch.zeros(1, 4, 6, 5)})
    x = comfy.sample.prepare_noise(torch.zeros(1, 4, 6, 5), 1).double()
    sigmas = sigmas_of(base, Settings(1, 1, 6, 1.0, "euler", "simple")).double().tolist()
    count = math.sqrt(x.numel())
    mean = MEAN + 0.4  # of the positive conditioning
    for step, (t, following) in enumerate(pairwise(sigmas)):
        x0 = mean + (1 - t) * STD**2 * (x - (1 - t) * mean) / ((1 - t) ** 2 * STD**2 + t**2)
        difference = shift * t**2 / ((1 - t) ** 2 * STD**2 + t**2)
        exact = {"rel": 1e-2 if t == 1 else 2e-3}  # pure noise lies beyond what the other kinds know
        assert found.relative_error[0][step] == pytest.approx(difference * count / float(x0.norm()), **exact)
        eps = (x - (1 - t) * x0) / t
        noise_error = difference * (1 - t) / t * count / float(eps.norm())
        assert found.noise_error[0][step] == pytest.approx(noise_error, **exact, abs=1e-6)
        other = x0 + difference
        cosine = float((x0 * other).sum() / x0.norm() / other.norm())
        assert found.cosine[0][step] == pytest.approx(cosine, abs=1e-3 if t == 1 else 1e-5)
        x = x0 + (x - x0) * following / t
    assert found.order() == "small first"


def test_own_sigmas_take_the_place_of_steps_and_scheduler() -> None:
    base, small = gaussian_model(), gaussian_model(std=0.5)
    sigmas = sigmas_of(base, Settings(1, 1, 5, 1.0, "euler", "karras"))
    found, expected = measured(small, base, sigmas=sigmas), measured(small, base, steps=5, scheduler="karras")
    assert found.noise_error == expected.noise_error
    assert (found.steps, found.scheduler) == (5, "own sigmas")
    assert Calibration.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("sigmas", "part"),
    [
        (torch.tensor([0.0, 1.0, 2.0]), "sigmas must fall from step to step, but 0 comes before 1"),
        (torch.tensor([1.0]), "sigmas holds no step"),
        ([1.0, 0.0], "sigmas is of type list, not SIGMAS"),
    ],
    ids=str,
)
def test_sigmas_that_lead_nowhere_are_refused(sigmas: Any, part: str) -> None:
    with pytest.raises(StitchError, match=part):
        measured(gaussian_model(), gaussian_model(), sigmas=sigmas)


def test_means_and_spreads_are_over_seeds_and_batch() -> None:
    models = gaussian_model(std=0.5), gaussian_model()
    both = measured(*models, seeds=2)
    single = [measured(*models, seed=seed, seeds=1) for seed in (1, 2)]
    assert both.seeds == (1, 2)
    assert both.samples == 4
    for step in range(6):
        means = [found.relative_error[0][step] for found in single]
        spreads = [found.relative_error_spread[0][step] for found in single]
        assert both.relative_error[0][step] == pytest.approx(sum(means) / 2)
        variance = sum(spread**2 for spread in spreads) / 2 + ((means[0] - means[1]) / 2) ** 2
        assert both.relative_error_spread[0][step] == pytest.approx(math.sqrt(variance), rel=1e-6, abs=1e-9)


def test_a_batch_of_prompts_counts_as_samples() -> None:
    prompts = [[torch.stack([torch.full((3, 5), value) for value in (0.1, 0.9)]), {}]]
    parts = [ModelStage(gaussian_model(std=std), prompts, NEGATIVE) for std in (0.5, 0.7)]
    found = calibrate(
        ("model_1", "final_model"),
        parts,
        {"samples": torch.zeros(2, 4, 6, 5)},
        Settings(1, 1, 4, 1.0, "euler", "normal"),
    )
    assert found.samples == 2
    assert min(found.relative_error_spread[0]) > 0


def test_what_a_mask_keeps_does_not_count() -> None:
    """The masked half is no part of the error: as if only the other half were there."""
    mask = torch.zeros(1, 6, 5)
    mask[:, :3] = 1
    models = gaussian_model(std=0.5), gaussian_model()
    latent = {"samples": torch.zeros(1, 4, 6, 5), "noise_mask": mask}
    masked, whole = (measured(*models, latent=case) for case in (latent, {"samples": latent["samples"]}))
    assert masked.relative_error != whole.relative_error
    assert is_perfect(measured(models[1], models[1], latent=latent), 0)
    assert 0 < masked.noise_error[0][-1] < 1


def test_own_conditioning_and_cfg_reach_the_small_models(host_nodes: ModuleType) -> None:
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchCalibrate"]
    base = gaussian_model()
    inputs = dict(zip(("positive", "negative"), (POSITIVE, NEGATIVE), strict=True))
    settings = {"seed": 1, "seeds": 1, "steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal"}

    def error(**own: Any) -> float:
        latent = {"samples": torch.zeros(1, 4, 6, 5)}
        found, *_ = node.execute(
            final_model=base, model_1=gaussian_model(), latent_image=latent, tolerance=0.1, **inputs, **settings, **own
        ).result
        assert found.small_cfg == own.get("small_cfg", found.cfg)
        return found.relative_error[0][0]

    assert error(small_cfg=3.0, small_positive=POSITIVE, small_negative=NEGATIVE) == 0
    assert error(small_cfg=1.0) > 0
    assert error(small_positive=conditioning(0.9)) > 0


def test_the_node_gives_figures_split_and_report(host_nodes: ModuleType) -> None:
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchCalibrate"]
    found, similarity, frequencies, split, report = node.execute(
        *(gaussian_model(), 1, 2, 5, 2.0, "euler", "normal", POSITIVE, NEGATIVE),
        *({"samples": torch.zeros(1, 4, 6, 5)}, 0.1),
        model_1=gaussian_model(0.5),
        model_3=gaussian_model(0.4),
    ).result
    assert len(found.models) == 3
    for image in (similarity, frequencies):
        assert image.ndim == 4
        assert image.shape[-1] == 3
        assert 0 <= image.min() < image.max() <= 1
    assert split == found.fraction_within(0.1)
    assert report.count("order: ") == 2
    assert "splits of all models" in report


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the host's input and output folders are."""
    for name in ("input", "output"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path


def known_to_host(nodes: dict[str, Any], found: Any) -> Any:
    """The same calibration in the class that the host loaded: a class more than ours."""
    return pack_module(nodes["TStitchCalibrate"], "tstitch.planning.calibration.record").Calibration.from_json(
        found.to_json()
    )


def test_a_calibration_comes_back_from_its_file(host_nodes: ModuleType, folders: Path) -> None:
    nodes = host_nodes.NODE_CLASS_MAPPINGS
    found = known_to_host(nodes, measured(gaussian_model(std=0.5), gaussian_model()))
    save = nodes["TStitchSaveCalibration"].execute
    names = [save(found, "tstitch/calibration").result[0] for _ in range(2)]
    assert names == ["tstitch/calibration_00001_.json", "tstitch/calibration_00002_.json"]
    (folders / "input" / "mine.json").write_text(found.to_json(), encoding="utf-8")
    listed = nodes["TStitchLoadCalibration"].define_schema().inputs[0].options
    assert listed == ["mine.json", *(f"{name} [output]" for name in names)]
    for file in listed:
        assert nodes["TStitchLoadCalibration"].execute(file, 0.1).result[0] == found


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("mine/", ["mine/calibration_00001_.json", "mine/calibration_00002_.json"]),
        ("mine/.", ["mine_00001_.json", "mine_00002_.json"]),
        ("a//b", ["a/b_00001_.json", "a/b_00002_.json"]),
        (" ", ["tstitch/calibration_00001_.json", "tstitch/calibration_00002_.json"]),
    ],
)
def test_no_calibration_is_overwritten(
    host_nodes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, names: list[str]
) -> None:
    nodes = host_nodes.NODE_CLASS_MAPPINGS
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    found = known_to_host(nodes, measured(gaussian_model(), gaussian_model(), steps=2))
    assert [nodes["TStitchSaveCalibration"].execute(found, prefix).result[0] for _ in names] == names
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == names


def test_links_in_the_folders_are_followed(host_nodes: ModuleType, folders: Path) -> None:
    """As those of people who keep models and outputs on another disk."""
    nodes = host_nodes.NODE_CLASS_MAPPINGS
    disk = folders / "disk"
    disk.mkdir()
    found = known_to_host(nodes, measured(gaussian_model(), gaussian_model(), steps=2))
    (disk / "shared.json").write_text(found.to_json(), encoding="utf-8")
    try:
        (folders / "output" / "tstitch").symlink_to(disk, target_is_directory=True)
        (folders / "input" / "mine.json").symlink_to(disk / "shared.json")
    except OSError:
        pytest.skip("this system makes no links")
    load = nodes["TStitchLoadCalibration"]
    listed = load.define_schema().inputs[0].options
    assert listed == ["mine.json", "tstitch/shared.json [output]"]
    for file in listed:
        assert load.execute(file, 0.1).result[0] == found


@pytest.mark.parametrize("prefix", ["../out", "/etc/out", "a/../../out"])
def test_a_calibration_stays_in_the_output_folder(
    host_nodes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    nodes = host_nodes.NODE_CLASS_MAPPINGS
    (tmp_path / "output").mkdir()
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    found = known_to_host(nodes, measured(gaussian_model(), gaussian_model(), steps=2))
    with pytest.raises(Exception, match="leads out of the output folder"):
        nodes["TStitchSaveCalibration"].execute(found, prefix)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_disk_that_refuses_is_named(host_nodes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = host_nodes.NODE_CLASS_MAPPINGS
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    found = known_to_host(nodes, measured(gaussian_model(), gaussian_model(), steps=2))
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(Exception, match=r"The folder of a/b cannot be made in the output folder: .*'.*a'\.$"):
        nodes["TStitchSaveCalibration"].execute(found, "a/b")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Exception, match=r"cannot be written to c_00001_\.json in the output folder: .*No space left"):
        nodes["TStitchSaveCalibration"].execute(found, "c")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def pack_module(node: Any, name: str) -> Any:
    """A module of the pack as the host loaded it."""
    import sys

    return sys.modules[node.__module__.rpartition(".nodes.")[0] + "." + name]


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"{}", "no calibration"), (b"\xff\xfe\x00", "no text"), (b"[1", "not JSON"), (None, "is gone")],
)
def test_a_foreign_file_is_refused_in_a_sentence(
    host_nodes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, part: str
) -> None:
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
    if content is not None:
        (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(Exception, match=part):
        host_nodes.NODE_CLASS_MAPPINGS["TStitchLoadCalibration"].execute("file.json", 0.1)


@pytest.mark.parametrize("file", ["../secret.json", "/etc/passwd", "../secret.json [output]"])
def test_a_file_elsewhere_is_not_read(host_nodes: ModuleType, tmp_path: Path, file: str) -> None:
    with pytest.raises(Exception, match="outside of the input and output folders"):
        host_nodes.NODE_CLASS_MAPPINGS["TStitchLoadCalibration"].execute(file, 0.1)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"steps": 0}, "steps must be 1 or more"),
        ({"sampler_name": "dpm_adaptive"}, "dpm_adaptive stops at"),
        ({"sampler_name": "eulr"}, "sampler_name must be one of"),
        ({"latent": {"samples": torch.ones(1, 16, 6, 5)}}, "16 channels"),
        ({"latent": None}, "not a LATENT"),
    ],
)
def test_bad_input_is_one_sentence(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(StitchError, match=part):
        measured(gaussian_model(), gaussian_model(), **changes)


def test_models_that_cannot_be_compared_are_refused() -> None:
    base, flux = gaussian_model(), gaussian_model(latent_format=comfy.latent_formats.Flux())
    with pytest.raises(StitchError, match="model_1 works on Flux"):
        measured(flux, base)
    with pytest.raises(StitchError, match="joined of several models already"):
        measured(gaussian_model(), stitched([gaussian_model(), base]))
    with pytest.raises(StitchError, match="model_1 is empty"):
        measured(None, base)
    assert calls_of(base) == []


@pytest.mark.parametrize("broken", ["model_1", "final_model"])
def test_a_model_that_predicts_no_numbers_is_named(broken: str) -> None:
    models = {"model_1": gaussian_model(), "final_model": gaussian_model(), broken: gaussian_model(mean=math.nan)}
    with pytest.raises(StitchError, match=f"{broken} predicts values that are no numbers .* in step 1"):
        measured(*models.values())


def test_an_interrupt_between_two_predictions_stops_the_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    small, base = gaussian_model(std=0.5), gaussian_model()

    def hook(value: int, *_: Any, **__: Any) -> None:
        if value == 2 * 6 + 2:  # of the small model's first run
            comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        measured(small, base)
    assert len(calls_of(small)) == 3
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", None)
    assert measured(small, base) == measured(small, base)


def test_a_model_at_a_lower_resolution_is_calibrated_like_any_other() -> None:
    model, latent = gaussian_model(), {"samples": torch.zeros(2, 4, 8, 10)}
    found = measured(low_resolution(model, 0.5), low_resolution(model, 1.0), model, latent=latent)
    assert is_perfect(found, 1)
    assert all(error > 0 for error in found.noise_error[0][1:])
    assert found.noise_error[0][0] < found.noise_error[0][-1]
    assert {tuple(x.shape[-2:]) for x in model.model.diffusion_model.inputs} == {(8, 10), (4, 5)}


@pytest.mark.parametrize("mode", MODES)
def test_a_guided_model_is_one_of_the_models(mode: str) -> None:
    """One whose second answers come from itself is the base model."""
    small, base = gaussian_model(std=0.5), gaussian_model()
    guided = guided_model(base, small, Guidance(mode))
    found = measured(guided, base)
    assert max(found.noise_error[0]) > 0
    assert is_perfect(measured(guided_model(base, base, Guidance(MODES[1])), base), 0)
    assert is_perfect(found, 1)


def test_a_guided_model_may_be_the_base_model() -> None:
    guided = guided_model(gaussian_model(), gaussian_model(std=0.5), Guidance(MODES[1]))
    found = measured(gaussian_model(), guided)
    assert found.noise_error[0] == measured(gaussian_model(), guided).noise_error[0]
    assert max(found.noise_error[0]) > 0
