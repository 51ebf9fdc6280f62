"""A switch inside the loop: the solver's history goes on, the right model answers, and the report says so."""

from __future__ import annotations

import json
import time
from types import ModuleType
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor

from tstitch.stitch import run as stitching
from tstitch.stitch.guider import StitchedGuider
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch.stitch.report import Report
from tstitch.trajectory import ksampler_schedule
from tstitch_testing.models import calls_of, conditioning, gaussian_model
from tstitch_testing.reference import dispatched, sigmas_of
from tstitch_testing.sampling import ksample, stitch_of, stitched

SAMPLERS = comfy.samplers.SAMPLER_NAMES
SINGLE_STEP = ("euler", "ddim")
#: Those whose next step depends on earlier ones: past predictions, or a stream of noise.
WITH_HISTORY = (
    *("lms", "dpmpp_2m", "ipndm", "ipndm_v", "deis", "res_multistep", "uni_pc", "uni_pc_bh2", "sa_solver"),
    *("dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_sde", "euler_ancestral", "gradient_estimation"),
)
STEPS, SMALL_STEPS = 8, 3  # 0.4 of 8

pytestmark = pytest.mark.filterwarnings("ignore")


def pair(kind: ModelType = ModelType.EPS) -> tuple[Any, Any]:
    """Small and large: different data, so that it shows which one answered."""
    return gaussian_model(0.1, 0.5, kind), gaussian_model(0.6, 0.9, kind)


@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_two_models_equal_one_loop_that_calls_them_by_sigma(sampler: str, kind: ModelType) -> None:
    small, large = pair(kind)
    sigmas = sigmas_of(large, sampler, steps=STEPS)
    boundary = float(sigmas[SMALL_STEPS])
    expected = dispatched(small, large, boundary, sampler, sigmas)
    reference_calls = [calls_of(model).copy() for model in (small, large)]
    for model in (small, large):
        calls_of(model).clear()

    assert torch.equal(ksample(stitched([small, large]), sampler, steps=STEPS), expected)
    assert [calls_of(model) for model in (small, large)] == reference_calls
    assert min(calls_of(small)) > boundary * (1 + 1e-5)
    assert max(calls_of(large)) <= boundary * (1 + 1e-5)


@pytest.mark.parametrize(
    ("sampler", "small_levels", "large_calls"),
    [
        ("euler", [0, 1, 2], 5),
        ("heun", [0, 1, 1, 2, 2], 1 + 4 * 2 + 1),  # the second call of step 2 lies on the boundary: the large one's
        ("dpm_2", [0, 0.5, 1, 1.5, 2, 2.5], 4 * 2 + 1),
        ("dpmpp_2s_ancestral", [0, 1, 1, 2, 2], 1 + 4 * 2 + 1),  # its middle is the level that noise brings it back to
    ],
)
def test_each_call_of_a_second_order_solver_is_served_by_the_model_of_its_step(
    sampler: str, small_levels: list[float], large_calls: int
) -> None:
    small, large = pair()
    ksample(stitched([small, large]), sampler, steps=STEPS)
    sigmas = sigmas_of(large, sampler, steps=STEPS).tolist()
    assert len(calls_of(small)) == len(small_levels)
    for sigma, level in zip(calls_of(small), small_levels, strict=True):
        if level % 1:
            assert sigmas[int(level)] > sigma > sigmas[int(level) + 1]
        else:
            assert sigma == pytest.approx(sigmas[int(level)], rel=1e-6)
    assert len(calls_of(large)) == large_calls


@pytest.mark.parametrize(("unit", "split"), [("timestep", "0.875"), ("sigma", "0.875")])
def test_wans_boundary_gives_as_many_steps_to_each_model_as_its_authors(unit: str, split: str) -> None:
    """Their pipelines ask the first model while t >= 0.875 (`boundary_ratio`), and a level lies on it exactly."""
    small, large = (gaussian_model(0.1 * n, 0.5, ModelType.FLOW, shift=7.0) for n in (1, 2))
    ksample(stitched([small, large], split, unit), "euler", "simple", steps=20, cfg=1.0)
    levels = sigmas_of(large, "euler", "simple", steps=20)[:-1].tolist()
    assert 0.875 in levels
    assert calls_of(small) == [level for level in levels if level >= 0.875]
    assert (len(calls_of(small)), len(calls_of(large))) == (11, 9)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "heun"])
def test_interleaved_models_answer_their_steps(sampler: str) -> None:
    first, second, third = (gaussian_model(0.1 * n, 0.5) for n in (1, 2, 3))
    ksample(stitched([first, second, third], pattern="3x1 1x2 2x2 1x1 3x2"), sampler, steps=STEPS)
    sigmas = sigmas_of(third, sampler, steps=STEPS).tolist()
    steps = {id(first): {1, 2, 5}, id(second): {3, 4}, id(third): {0, 6, 7}}
    for model in (first, second, third):
        assert {sigmas.index(sigma) for sigma in calls_of(model)} == steps[id(model)]


def chain(small: Any, large: Any, sampler: str, steps: int = STEPS) -> Tensor:
    """Two advanced KSamplers, set as users do: leftover noise, then no new noise."""
    middle = ksample(small, sampler, steps=steps, last_step=SMALL_STEPS, start_step=0)
    noise = torch.zeros_like(middle)
    return comfy.sample.sample(
        large,
        noise,
        steps,
        3.0,
        sampler,
        "normal",
        conditioning(0.4),
        conditioning(-0.2),
        middle,
        disable_noise=True,
        start_step=SMALL_STEPS,
        last_step=10000,
        force_full_denoise=True,
        disable_pbar=True,
        seed=1,
    )


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
@pytest.mark.parametrize("sampler", SINGLE_STEP)
def test_a_single_step_solver_equals_a_chain_of_two_samplers(sampler: str, kind: ModelType) -> None:
    small, large = pair(kind)
    found = ksample(stitched([small, large]), sampler, steps=STEPS)
    assert relative_difference(found, chain(small, large, sampler)) < 1e-5


@pytest.mark.parametrize("sampler", WITH_HISTORY)
def test_a_solver_with_history_differs_from_a_chain_which_loses_it(sampler: str) -> None:
    small, large = pair()
    found = ksample(stitched([small, large]), sampler, steps=STEPS)
    assert relative_difference(found, chain(small, large, sampler)) > 1e-3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_noise_does_not_depend_on_the_split(sampler: str) -> None:
    """Models of equal weights give one result, and leave the generator in one state, wherever they switch."""
    ends = []
    for splits in ("0", "0.1", "0.5", "0.9", "1"):
        samples = ksample(stitched([gaussian_model(), gaussian_model()], splits), sampler, steps=STEPS)
        ends.append((samples, torch.get_rng_state()))
    expected = ksample(gaussian_model(), sampler, steps=STEPS), torch.get_rng_state()
    for found in ends:
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("split", ["0", "0.4", "1"])
def test_the_first_call_sees_the_same_noisy_latent(split: str) -> None:
    small, large = pair()
    ksample(stitched([small, large], split), steps=STEPS)
    alone = gaussian_model(0.6, 0.9)
    ksample(alone, steps=STEPS)
    first = small if calls_of(small) else large
    assert torch.equal(first.model.diffusion_model.inputs[0], alone.model.diffusion_model.inputs[0])


def guide(models: list[Any], sigmas: Tensor, sampler: str = "euler", **stitch: Any) -> tuple[Tensor, Report]:
    """Samples `sigmas` with a guider a model, the finishing one last."""
    guiders = []
    for model in models:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(conditioning(0.4), conditioning(-0.2))
        guider.set_cfg(3.0)
        guiders.append(guider)
    plan = stitch_of(len(models), **stitch)
    latent = torch.zeros(2, 4, 6, 5)
    samples = StitchedGuider(guiders[-1], guiders[:-1], plan).sample(
        comfy.sample.prepare_noise(latent, 1),
        latent,
        comfy.samplers.sampler_object(sampler),
        sigmas,
        disable_pbar=True,
        seed=1,
    )
    return samples, plan.report


def test_sigmas_that_rise_and_fall_are_split_by_sigma() -> None:
    small, large = pair()
    sigmas = torch.tensor([10.0, 5.0, 2.0, 8.0, 3.0, 0.0])
    found, report = guide([small, large], sigmas, splits="4", unit="sigma")
    assert calls_of(small) == [10.0, 5.0, 8.0]
    assert calls_of(large) == [2.0, 3.0]
    assert report.to_dict()["pattern"] == "1x2 2x1 1x1 2x1"
    assert torch.equal(found, dispatched(small, large, 4.0, "euler", sigmas))


@pytest.mark.parametrize(("sampler", "calls"), [("euler", 1), ("heun", 2)])
def test_rising_sigmas_are_split_in_run_order(sampler: str, calls: int) -> None:
    """As when an image is turned back into noise."""
    first, last = pair(ModelType.FLOW)
    sigmas = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    guide([first, last], sigmas, sampler, pattern="1x2 2x2")
    levels = [float(sigma) for sigma in sigmas]
    both = sorted(levels[:4] + (levels[1:] if calls == 2 else []))
    assert calls_of(first) == [level for level in both if level < levels[2]]
    assert calls_of(last) == [level for level in both if level >= levels[2]]


@pytest.mark.parametrize(("sampler", "calls"), [("euler", [3, 5]), ("heun", [5, 10]), ("dpm_2", [6, 9])])
def test_the_report_tells_steps_levels_and_calls(sampler: str, calls: list[int]) -> None:
    small, large = pair()
    plan = stitch_of(2, "0.4")
    ksample(stitch_model(large, [ModelStage(small)], plan), sampler, steps=STEPS)
    found = plan.report.to_dict()
    sigmas = sigmas_of(large, sampler, steps=STEPS)
    host_steps = large.model.model_sampling.timestep(sigmas[:-1])
    timesteps = [*(host_steps / 999).tolist(), 0.0]

    assert (found["steps"], found["pattern"]) == (STEPS, "1x3 2x5")
    assert [stage["model"] for stage in found["stages"]] == ["model_1", "final_model"]
    assert [stage["steps"] for stage in found["stages"]] == [3, 5]
    assert [stage["model_calls"] for stage in found["stages"]] == calls
    assert calls == [len(calls_of(model)) for model in (small, large)]
    assert all(stage["seconds"] > 0 for stage in found["stages"])
    for stage, (start, stop) in zip(found["stages"], [(0, 3), (3, STEPS)], strict=True):
        (interval,) = stage["intervals"]
        assert interval["steps"] == [start, stop]
        assert interval["sigma"] == pytest.approx([float(sigmas[start]), float(sigmas[stop])], abs=1e-6)
        assert interval["t"] == pytest.approx([timesteps[start], timesteps[stop]], abs=1e-6)


def test_the_last_call_lasts_until_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = pair()
    plan = stitch_of(2, "0.5")
    monkeypatch.setattr(stitching, "synchronize", lambda device: time.sleep(0.2))
    ksample(stitch_model(large, [ModelStage(small)], plan), steps=4)
    assert [stage["seconds"] > 0.2 for stage in plan.report.to_dict()["stages"]] == [False, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
def test_latents_in_half_precision_do_not_move_the_switch(dtype: torch.dtype, kind: ModelType) -> None:
    """Older hosts sample in the precision of the latent, which rounds sigma."""
    for steps in range(1, 20):
        models = pair(kind)
        model = stitched(models, pattern=f"1x{steps} 2x{20 - steps}")
        ksample(model, steps=20, latent=torch.zeros(1, 4, 3, 3, dtype=dtype))
        assert [len(calls_of(model)) for model in models] == [steps, 20 - steps]


def test_a_schedule_shorter_than_the_steps_asked_for_is_split_as_a_whole() -> None:
    """The scheduler beta drops levels that come twice, so that denoise cuts nothing off."""
    small, large = pair()
    run = {"steps": 900, "sampler_name": "euler", "scheduler": "beta", "denoise": 0.95}
    plan = stitch_of(2, "0.4", full_schedule=ksampler_schedule(large, **run))
    sampler = run.pop("sampler_name")
    ksample(stitch_model(large, [ModelStage(small)], plan), sampler, **run)
    total = len(calls_of(small)) + len(calls_of(large))
    assert total < 900
    assert len(calls_of(small)) == round(0.4 * total)


def test_the_report_starts_anew_with_each_run() -> None:
    small, large = pair()
    plan = stitch_of(2, "0.5")
    model = stitch_model(large, [ModelStage(small)], plan)
    ksample(model, steps=8)
    ksample(model, steps=4)
    assert [stage["model_calls"] for stage in plan.report.to_dict()["stages"]] == [2, 2]


def test_a_report_of_interleaved_models_lists_every_interval() -> None:
    small, large = pair()
    plan = stitch_of(2, pattern="2x1 1x2 2x1")
    ksample(stitch_model(large, [ModelStage(small)], plan), steps=4)
    steps = [[interval["steps"] for interval in stage["intervals"]] for stage in plan.report.to_dict()["stages"]]
    assert steps == [[[1, 3]], [[0, 1], [3, 4]]]


@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
@pytest.mark.parametrize("fraction", [0.4, 0.6, 0.7, 0.9])
def test_on_a_partial_run_of_a_model_a_fraction_is_a_noise_level(kind: ModelType, fraction: float) -> None:
    small, large = pair(kind)
    latent = torch.linspace(-1, 1, 240).reshape(2, 4, 6, 5)
    ksample(stitched([small, large], str(fraction)), steps=STEPS, denoise=0.5, latent=latent)
    level = large.model.model_sampling.percent_to_sigma(fraction)
    sigmas = sigmas_of(large, "euler", steps=STEPS, denoise=0.5).tolist()[:-1]
    assert calls_of(small) == [sigma for sigma in sigmas if sigma > level * (1 + 1e-5)]
    assert calls_of(large) == [sigma for sigma in sigmas if sigma <= level * (1 + 1e-5)]
    assert bool(calls_of(small)) == (fraction > 0.5)


def node_arguments(model: Any, small: Any, **changes: Any) -> dict[str, Any]:
    return {
        "model": model,
        "small_model": small,
        "steps": STEPS,
        "cfg": 3.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": conditioning(0.4),
        "negative": conditioning(-0.2),
        "latent_image": {"samples": torch.linspace(-1, 1, 240).reshape(2, 4, 6, 5)},
        **changes,
    }


@pytest.mark.parametrize(("fraction", "small_steps"), [(0.4, 0), (0.5, 0), (0.6, 2), (0.7, 3), (1.0, 8)])
def test_the_ksampler_node_counts_on_the_full_schedule(
    host_nodes: ModuleType, fraction: float, small_steps: int
) -> None:
    """denoise 0.5 of 8 steps is the second half of 16: round(fraction * 16) - 8 remain for the small model."""
    small, large = pair()
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchKSampler"]
    arguments = node_arguments(large, small, seed=1, denoise=0.5, fraction=fraction)
    latent, report, *_ = node.execute(**arguments).result
    assert len(calls_of(small)) == small_steps
    assert len(calls_of(large)) == STEPS - small_steps
    told = json.loads(report)
    assert [stage["model_calls"] for stage in told["stages"]] == [small_steps, STEPS - small_steps]
    if small_steps == 0:
        stock = host_nodes.KSampler().sample(
            **{key: arguments[key] for key in arguments if key not in ("small_model", "fraction")}
        )
        assert torch.equal(latent["samples"], stock[0]["samples"])


@pytest.mark.parametrize(
    ("start", "stop", "fraction", "calls"),
    [
        (0, 10000, 0.4, [3, 5]),
        (2, 10000, 0.4, [1, 5]),
        (3, 6, 0.5, [1, 2]),
        (4, 10000, 0.4, [0, 4]),
        (0, 3, 0.4, [3, 0]),
    ],
)
def test_the_advanced_node_counts_on_the_full_schedule(
    host_nodes: ModuleType, start: int, stop: int, fraction: float, calls: list[int]
) -> None:
    small, large = pair()
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchKSamplerAdvanced"]
    _, report, *_ = node.execute(
        **node_arguments(large, small),
        add_noise="enable",
        noise_seed=1,
        start_at_step=start,
        end_at_step=stop,
        return_with_leftover_noise="enable",
        fraction=fraction,
    ).result
    assert [len(calls_of(model)) for model in (small, large)] == calls
    assert [stage["model_calls"] for stage in json.loads(report)["stages"]] == calls


def test_chained_advanced_nodes_stay_within_one_schedule(host_nodes: ModuleType) -> None:
    """Two halves of one euler run, each stitched, are the whole run."""
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchKSamplerAdvanced"]
    small, large = pair()
    common = {"noise_seed": 1, "fraction": 0.4}
    noisy = {"start_at_step": 0, "end_at_step": 2, "return_with_leftover_noise": "enable", "add_noise": "enable"}
    rest = {"start_at_step": 2, "end_at_step": 10000, "return_with_leftover_noise": "disable", "add_noise": "disable"}
    whole = {**noisy, "end_at_step": 10000}
    expected = node.execute(**node_arguments(large, small), **common, **whole).result[0]["samples"]
    middle = node.execute(**node_arguments(large, small), **common, **noisy).result[0]
    found = node.execute(**node_arguments(large, small, latent_image=middle), **common, **rest).result[0]["samples"]
    assert relative_difference(found, expected) < 1e-5
