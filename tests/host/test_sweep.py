"""Sweeps against the host's own sampler, and what is kept of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.utils
import pytest
import torch

from tstitch.errors import StitchError
from tstitch.resolution.model import low_resolution
from tstitch.stitch.model import ModelStage
from tstitch.sweep import run as sweeping
from tstitch.sweep.run import Sweep, parse_entries
from tstitch.sweep.views import qualities, reference_of, speed_quality_figure, table
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import calls_of, conditioning, gaussian_model
from tstitch_testing.sampling import ksample, stitched

STEPS = 8


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "FINISHED", sweeping.Finished())


def sweep(small: Any = None, large: Any = None, /, **changes: Any) -> Sweep:
    values = {"seed": 1, "steps": STEPS, "cfg": 3.0, "sampler_name": "dpmpp_2m", "scheduler": "normal"}
    conds = {"positive": conditioning(0.4), "negative": conditioning(-0.2)}
    latent = {"samples": torch.zeros(2, 4, 6, 5)}
    rest = {"latent": latent, "denoise": 1.0, "memory": "auto"}
    small, large = small or gaussian_model(0.1, 0.5), large or gaussian_model()
    return Sweep(**{"model": large, "small": ModelStage(small), **values, **conds, **rest, **changes})


def run(text: Any, given: Sweep | None = None, unit: str = "steps") -> list[Any]:
    return (given or sweep()).run(parse_entries(text, unit))


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_sde", "uni_pc"])
def test_the_ends_of_a_sweep_are_the_stock_sampler(sampler: str) -> None:
    first, middle, last = run("0, 0.5, 1", sweep(sampler_name=sampler))
    assert torch.equal(first.samples, ksample(gaussian_model(), sampler))
    assert torch.equal(last.samples, ksample(gaussian_model(0.1, 0.5), sampler))
    both = stitched([gaussian_model(0.1, 0.5), gaussian_model()], "0.5")
    assert torch.equal(middle.samples, ksample(both, sampler))
    assert [found.small_steps for found in (first, middle, last)] == [0, 4, 8]


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_sigmas_are_swept_as_samplercustom_samples_them(sampler: str) -> None:
    levels = torch.tensor([14.6, 8.0, 3.0, 1.2, 0.5, 0.0])
    first, middle, last, pattern = run("0, 0.4, 1\n2x1 1x4", sweep(sampler_name=sampler, sigmas=levels, denoise=0.5))
    small, large = gaussian_model(0.1, 0.5), gaussian_model()
    custom = extra_nodes("nodes_custom_sampler")
    (chosen,) = run_node(custom.KSamplerSelect, sampler_name=sampler)
    expected = {
        first: large,
        middle: stitched([small, large], "0.4"),
        last: small,
        pattern: stitched([small, large], pattern="2x1 1x4"),
    }
    for found, model in expected.items():
        drawn, _ = run_node(
            custom.SamplerCustom, model=model, add_noise=True, noise_seed=1, cfg=3.0, positive=conditioning(0.4),
            negative=conditioning(-0.2), sampler=chosen, sigmas=levels,
            latent_image={"samples": torch.zeros(2, 4, 6, 5)},
        )  # fmt: skip
        assert torch.equal(found.samples, drawn["samples"])
    assert [found.small_steps for found in (first, middle, last, pattern)] == [0, 2, 5, 4]


@pytest.mark.parametrize(
    ("sigmas", "sentence"),
    [
        (torch.tensor([3.0, 4.0, 0.0]), "sigmas must fall from step to step, but 3 comes before 4"),
        (torch.tensor([3.0]), "sigmas holds no step"),
        ("fast", "sigmas is of type str, not SIGMAS"),
    ],
    ids=["rising", "empty", "text"],
)
def test_sigmas_that_cannot_be_swept_are_one_sentence(sigmas: Any, sentence: str) -> None:
    given = sweep(sigmas=sigmas)
    with pytest.raises(StitchError, match=sentence):
        run("0, 0.4", given)
    assert not calls_of(given.model)


def test_fractions_and_patterns_can_be_mixed() -> None:
    found = run("0 0.5; 1\n\n 1x4 2x4 \n2x2 1x4 2x2")
    assert [one.entry.label for one in found] == ["0", "0.5", "1", "1x4 2x4", "2x2 1x4 2x2"]
    assert torch.equal(found[1].samples, found[3].samples)
    pattern = stitched([gaussian_model(0.1, 0.5), gaussian_model()], pattern="2x2 1x4 2x2")
    assert torch.equal(found[4].samples, ksample(pattern, "dpmpp_2m"))


def test_likeness_is_to_the_large_model_alone() -> None:
    found = run("1, 0.5, 0")
    assert reference_of(found) == 2
    pictures = [one.samples[:, :3].movedim(1, -1).sigmoid() for one in found]
    values = qualities(found, pictures)
    assert (values[2].cosine, values[2].psnr) == (1.0, float("inf"))
    assert values[0].cosine < values[1].cosine < 1
    assert values[0].psnr < values[1].psnr
    assert values[0].ssim < values[2].ssim == pytest.approx(1)


def test_pictures_that_are_no_numbers_are_not_called_equal() -> None:
    found = run("0, 1", sweep(gaussian_model(math.nan)))
    pictures = [one.samples[:, :3].movedim(1, -1).sigmoid() for one in found]
    first, second = (line.split() for line in table(found, qualities(found, pictures)).splitlines()[1:3])
    assert (first[5], second[5]) == ("equal", "nan")


def test_a_long_pattern_leaves_the_plot_its_room() -> None:
    interleaved = " ".join(["1x1 2x1"] * 10)
    found = run(f"1, 0.5\n{interleaved}\n0", sweep(steps=20))
    found = [replace(one, seconds=seconds) for one, seconds in zip(found, (0.7, 2.4, 2.6, 4.0), strict=True)]
    pictures = [one.samples[:, :3].movedim(1, -1).sigmoid() for one in found]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where the axes collapse
        speed_quality_figure(found, qualities(found, pictures))


def test_a_finished_sweep_is_not_sampled_again() -> None:
    given = sweep()
    first = run("0, 0.5", given)
    calls = len(calls_of(given.model))
    again = run("0.5, 0", sweep(given.small.model, given.model))
    assert len(calls_of(given.model)) == calls
    assert [one.samples for one in again] == [first[1].samples, first[0].samples]
    assert again[0].seconds == first[1].seconds
    run("0, 0.5, 1", given)
    assert len(calls_of(given.model)) == calls  # only the small model was missing


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"cfg": 2.0},
        {"positive": conditioning(0.5)},
        {"latent": {"samples": torch.ones(2, 4, 6, 5)}},
        {"small": ModelStage(gaussian_model(0.1, 0.5))},
        {"sigmas": torch.tensor([14.6, 3.0, 1.0, 0.0])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_inputs_are_sampled(change: dict[str, Any]) -> None:
    small, large = gaussian_model(0.1, 0.5), gaussian_model()
    run("0.5", sweep(small, large))
    before = len(calls_of(large))
    run("0.5", sweep(small, large, **change))
    assert len(calls_of(large)) > before


@pytest.fixture
def stop_in_third_run() -> Iterator[None]:
    """As the server does it: the hook of the progress bars raises."""

    def hook(value: int, total: int, *_: Any, **__: Any) -> None:
        if value == 2 * STEPS + 3:
            comfy.model_management.interrupt_current_processing()
        comfy.model_management.throw_exception_if_processing_interrupted()

    previous = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(hook)
    yield
    comfy.utils.set_progress_bar_global_hook(previous)
    comfy.model_management.interrupt_current_processing(False)


def test_schedulers_that_make_another_number_of_steps_are_swept_too() -> None:
    """Of two steps, ddim_uniform makes three for an LCM model and a sampler that leaves the last but one out."""
    advanced = extra_nodes("nodes_model_advanced")
    lcm = run_node(advanced.ModelSamplingDiscrete, model=gaussian_model(), sampling="lcm", zsnr=False)[0]
    given = sweep(None, lcm, sampler_name="uni_pc", scheduler="ddim_uniform")
    assert [found.small_steps > 0 for found in run("0, 0.4", given)] == [False, True]


def test_an_interrupted_sweep_goes_on_where_it_stopped(stop_in_third_run: None) -> None:
    given = sweep()
    text = "0, 0.25, 0.5, 1"
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(text, given)
    comfy.utils.set_progress_bar_global_hook(None)
    calls = len(calls_of(given.model))
    resumed = run(text, given)
    # The warm-up's one step, and of the runs that were missing only the large model's half of 0.5.
    assert len(calls_of(given.model)) - calls == 1 + STEPS // 2
    fresh = run(text, sweep())
    assert all(torch.equal(one.samples, other.samples) for one, other in zip(resumed, fresh, strict=True))


def test_nothing_keeps_the_models_alive() -> None:
    import gc
    import weakref

    given = sweep()
    run("0, 0.5", given)
    references = [weakref.ref(given.model), weakref.ref(given.small.model)]
    del given
    comfy.model_management.unload_all_models()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_progress_counts_over_the_whole_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: seen.append((value, total)))
    run("0, 0.5, 1")
    assert seen == [(step, 3 * STEPS) for step in range(1, 3 * STEPS + 1)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "fractions is empty"),
        (" , ;\n", "fractions is empty"),
        ("0, half", 'has "half"'),
        ("0, 1.5", "fraction of the steps from 0 to 1, got 1.5"),
        ("-0.1", "zero or above"),
        ("nan", 'has "nan"'),
        ("1x4 3x4", "model 3"),
        ("1x4 2x3", "7 steps, but this run has 8"),
        (" ".join(["0.5"] * 33), "has 33 entries"),
        (0.5, "fractions must be text, got 0.5"),  # over a link that takes anything
    ],
)
def test_bad_fractions_are_one_sentence_before_anything_runs(text: Any, part: str) -> None:
    given = sweep()
    with pytest.raises(StitchError, match=part):
        run(text, given)
    assert calls_of(given.model) == []


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"denoise": 0.0}, "nothing to sample"),
        ({"small": ModelStage(gaussian_model(latent_format=comfy.latent_formats.Flux()))}, "small_model works on Flux"),
        ({"small": ModelStage(None)}, "small_model is empty"),
    ],
)
def test_bad_inputs_are_one_sentence(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(StitchError, match=part):
        run("0.5", sweep(**changes))


def test_the_node_on_the_starter_models(host_nodes: ModuleType) -> None:
    nodes = host_nodes.NODE_CLASS_MAPPINGS
    model, vae, positive, negative, latent = nodes["TStitchLoadStarter"].execute("XL", "Micah, Pixel Art").result
    small = nodes["TStitchLoadStarter"].execute("S", "Micah").result[0]
    inputs = (model, small, vae, 5, 4, 1.0, "euler", "simple", positive, negative, latent, 1.0)
    with torch.inference_mode():
        grid, plot, latents, table = nodes["TStitchSweep"].execute(*inputs, "0, 0.5\n2x1 1x3").result
        (stock,) = host_nodes.common_ksampler(model, 5, 4, 1.0, "euler", "simple", positive, negative, latent)
        with pytest.raises(Exception, match="vae is empty, not a VAE"):
            nodes["TStitchSweep"].execute(model, small, None, *inputs[3:], "0")
    assert torch.equal(latents[0]["samples"], stock["samples"])
    assert len(latents) == 3
    assert grid.shape[0] == plot.shape[0] == 1
    assert grid.shape[2] == 3 * (160 + 8) + 8
    assert [line.split()[0] for line in table.splitlines()[1:4]] == ["0", "0.5", "2x1"]
    assert "equal" in table.splitlines()[1]


def test_a_model_sweeps_with_itself_at_a_lower_resolution() -> None:
    large = gaussian_model()
    first, _, last = run("0, 0.5, 1", sweep(low_resolution(large, 0.5), large))
    assert torch.equal(first.samples, ksample(gaussian_model(), "dpmpp_2m"))
    assert torch.equal(last.samples, ksample(low_resolution(gaussian_model(), 0.5), "dpmpp_2m"))
