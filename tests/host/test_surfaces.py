"""The same run through every node that can sample: the host's four samplers, ours, and guiders of every kind."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from comfy.samplers import CFGGuider
from torch import Tensor

from tstitch.host.noise_levels import warn_once
from tstitch.stitch.guider import StitchedGuider
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import calls_of, conditioning, gaussian_model
from tstitch_testing.sampling import stitch_of, stitched

SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "heun", "uni_pc", "euler_cfg_pp", "ddim"]
STEPS, CFG, SEED = 8, 3.0, 7
POSITIVE, NEGATIVE = conditioning(0.4), conditioning(-0.2)


def latent_image(batch: int = 2) -> dict[str, Tensor]:
    return {"samples": torch.zeros(batch, 4, 6, 5)}


def ksampler(host: ModuleType, model: Any, sampler: str, **options: Any) -> Tensor:
    values = {"seed": SEED, "steps": STEPS, "cfg": CFG, "denoise": 1.0, "scheduler": "normal"} | options
    (latent,) = run_node(
        host.NODE_CLASS_MAPPINGS["KSampler"],
        model=model,
        sampler_name=sampler,
        positive=POSITIVE,
        negative=NEGATIVE,
        latent_image=latent_image(),
        **values,
    )
    return latent["samples"]


def ksampler_advanced(host: ModuleType, model: Any, sampler: str, **options: Any) -> Tensor:
    values = {"start_at_step": 0, "end_at_step": 10000, "return_with_leftover_noise": "disable"}
    values |= {"steps": STEPS, "scheduler": "normal", "add_noise": "enable", "latent_image": latent_image()} | options
    (latent,) = run_node(
        host.NODE_CLASS_MAPPINGS["KSamplerAdvanced"],
        model=model,
        noise_seed=SEED,
        cfg=CFG,
        sampler_name=sampler,
        positive=POSITIVE,
        negative=NEGATIVE,
        **values,
    )
    return latent["samples"]


def sampler_and_sigmas(model: Any, sampler: str) -> tuple[Any, Tensor]:
    sigmas = comfy.samplers.KSampler(model, STEPS, model.load_device, sampler, "normal").sigmas
    return comfy.samplers.sampler_object(sampler), sigmas


def sampler_custom(model: Any, sampler: str) -> Tensor:
    sampler_object, sigmas = sampler_and_sigmas(model, sampler)
    latent, _ = run_node(
        extra_nodes("nodes_custom_sampler").SamplerCustom,
        model=model,
        add_noise=True,
        noise_seed=SEED,
        cfg=CFG,
        positive=POSITIVE,
        negative=NEGATIVE,
        sampler=sampler_object,
        sigmas=sigmas,
        latent_image=latent_image(),
    )
    return latent["samples"]


def sampler_custom_advanced(guider: Any, sampler: str, model: Any) -> Tensor:
    custom = extra_nodes("nodes_custom_sampler")
    sampler_object, sigmas = sampler_and_sigmas(model, sampler)
    (noise,) = run_node(custom.RandomNoise, noise_seed=SEED)
    latent, _ = run_node(
        custom.SamplerCustomAdvanced,
        noise=noise,
        guider=guider,
        sampler=sampler_object,
        sigmas=sigmas,
        latent_image=latent_image(),
    )
    return latent["samples"]


def cfg_guider(model: Any, cfg: float = CFG, positive: Any = POSITIVE, negative: Any = NEGATIVE) -> Any:
    guider = CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def multi_model_schedule(host: ModuleType, *models: Any, **texts: Any) -> Any:
    """The output of the real node, models in run order."""
    *others, final = models
    sockets = {f"model_{number}": model for number, model in enumerate(others, 1)}
    values = {"splits": "0.4", "unit": "steps", "pattern": "", "memory": "auto"} | texts
    return run_node(host.NODE_CLASS_MAPPINGS["TStitchModelSchedule"], final_model=final, **sockets, **values)[0]


def pair() -> tuple[Any, Any]:
    return gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("same", [True, False], ids=["one_model", "two_models"])
def test_the_four_samplers_of_the_host_agree(host_nodes: ModuleType, sampler: str, same: bool) -> None:
    small, large = pair()
    model = multi_model_schedule(host_nodes, large if same else small, large)
    results = [
        ksampler(host_nodes, model, sampler),
        ksampler_advanced(host_nodes, model, sampler),
        sampler_custom(model, sampler),
        sampler_custom_advanced(cfg_guider(model), sampler, model),
    ]
    assert all(torch.equal(result, results[0]) for result in results)
    assert torch.equal(ksampler(host_nodes, large, sampler), results[0]) == same


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_our_ksampler_is_the_stock_one_on_the_stitched_model(host_nodes: ModuleType, sampler: str) -> None:
    small, large = pair()
    latent, report = our_ksampler(host_nodes, small, large, sampler_name=sampler)
    assert torch.equal(latent, ksampler(host_nodes, multi_model_schedule(host_nodes, small, large), sampler))
    assert [stage["steps"] for stage in report["stages"]] == [3, 5]


def our_ksampler(host: ModuleType, small: Any, large: Any, **options: Any) -> tuple[Tensor, dict[str, Any]]:
    values = {"seed": SEED, "steps": STEPS, "cfg": CFG, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    latent, report, *_ = run_node(
        host.NODE_CLASS_MAPPINGS["TStitchKSampler"],
        model=large,
        small_model=small,
        positive=POSITIVE,
        negative=NEGATIVE,
        latent_image=latent_image(),
        **values | {"fraction": 0.4} | options,
    )
    return latent["samples"], json.loads(report)


def our_advanced_ksampler(host: ModuleType, small: Any, large: Any, **options: Any) -> tuple[dict, dict]:
    values = {
        "add_noise": "enable",
        "noise_seed": SEED,
        "steps": STEPS,
        "cfg": CFG,
        "sampler_name": "dpmpp_2m",
        "scheduler": "normal",
        "start_at_step": 0,
        "end_at_step": 10000,
        "return_with_leftover_noise": "disable",
        "fraction": 0.4,
    }
    latent, report, *_ = run_node(
        host.NODE_CLASS_MAPPINGS["TStitchKSamplerAdvanced"],
        model=large,
        small_model=small,
        positive=POSITIVE,
        negative=NEGATIVE,
        **{"latent_image": latent_image()} | values | options,
    )
    return latent, json.loads(report)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        pytest.param({}, [3, 5], id="whole"),
        pytest.param({"start_at_step": 2}, [1, 5], id="late_start"),
        pytest.param({"start_at_step": 5}, [0, 3], id="after_the_split"),
        pytest.param({"end_at_step": 6, "return_with_leftover_noise": "enable"}, [3, 3], id="leftover_noise"),
        pytest.param({"end_at_step": 2, "return_with_leftover_noise": "enable"}, [2, 0], id="before_the_split"),
        pytest.param({"end_at_step": 6}, [3, 3], id="forced_to_the_end"),
    ],
)
def test_our_advanced_ksampler_counts_on_the_whole_schedule(
    host_nodes: ModuleType, window: dict[str, Any], expected: list[int]
) -> None:
    model = gaussian_model()
    latent, report = our_advanced_ksampler(host_nodes, model.clone(), model, **window)
    assert [stage["steps"] for stage in report["stages"]] == expected
    assert torch.equal(latent["samples"], ksampler_advanced(host_nodes, model, "dpmpp_2m", **window))


@pytest.mark.parametrize("scheduler", ["simple", "normal", "sgm_uniform"])
@pytest.mark.parametrize(
    "window",
    [
        pytest.param({"start_at_step": 5}, id="late_start"),
        pytest.param({"end_at_step": 12, "return_with_leftover_noise": "enable"}, id="leftover_noise"),
        pytest.param({"start_at_step": 10}, id="after_the_split"),
        pytest.param({}, id="whole"),
    ],
)
def test_steps_and_patterns_mean_the_same_in_every_node(
    host_nodes: ModuleType, window: dict[str, Any], scheduler: str
) -> None:
    """Split at step 8 of 20, whichever part of the 20 steps is run."""
    small, large = pair()
    values = {"steps": 20, "scheduler": scheduler, **window}
    latent, report = our_advanced_ksampler(host_nodes, small, large, fraction=8, unit="step", **values)
    first, last = window.get("start_at_step", 0), window.get("end_at_step", 20)
    assert [stage["steps"] for stage in report["stages"]] == [max(8 - first, 0), last - max(8, first)]
    others = {"pattern": "1x8 2x12"}, {"splits": "0.4"}, {"splits": "8", "unit": "step"}
    for texts in others[: 3 if first == 0 else 2]:  # a later part does not tell how many steps came before it
        model = multi_model_schedule(host_nodes, small, large, **texts)
        assert torch.equal(ksampler_advanced(host_nodes, model, "dpmpp_2m", **values), latent["samples"]), texts


def test_a_hi_res_pass_gives_no_fine_details_to_the_small_model(
    host_nodes: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """One joined MODEL in both samplers of a hi-res workflow, 20 steps each, the second at denoise 0.5."""
    small, large = pair()
    model = multi_model_schedule(host_nodes, small, large, pattern="1x8 2x12")
    small_calls = calls_of(small)
    ksampler(host_nodes, model, "euler", steps=20)
    assert len(small_calls) == 8
    warn_once.cache_clear()
    small_calls.clear()
    with caplog.at_level("WARNING", logger="tstitch"):
        passed = ksampler(host_nodes, model, "euler", steps=20, denoise=0.5)
        ksampler(host_nodes, model, "euler", steps=20, denoise=0.5)
    assert not small_calls
    assert torch.equal(passed, ksampler(host_nodes, large, "euler", steps=20, denoise=0.5))
    assert sum("counts the whole schedule" in record.message for record in caplog.records) == 1
    latent, report = our_ksampler(host_nodes, small, large, steps=20, denoise=0.5, fraction=15, unit="step")
    assert torch.equal(latent, passed)
    assert report["stages"][0]["steps"] == 0


def test_two_chained_advanced_ksamplers_are_one(host_nodes: ModuleType) -> None:
    """With a solver that keeps no history, cutting the run in two changes nothing."""
    small, large = pair()
    first, _ = our_advanced_ksampler(
        host_nodes, small, large, sampler_name="euler", end_at_step=5, return_with_leftover_noise="enable"
    )
    second, _ = our_advanced_ksampler(
        host_nodes, small, large, sampler_name="euler", start_at_step=5, add_noise="disable", latent_image=first
    )
    whole, _ = our_advanced_ksampler(host_nodes, small, large, sampler_name="euler")
    torch.testing.assert_close(second["samples"], whole["samples"], rtol=1e-5, atol=1e-5)


def test_the_small_model_takes_its_own_conditioning_and_cfg(host_nodes: ModuleType) -> None:
    small, large = pair()
    own = {"small_positive": conditioning(0.9), "small_negative": conditioning(0.3), "small_cfg": 1.5}
    latent, _ = our_ksampler(host_nodes, small, large, sampler_name="dpmpp_2m", **own)
    guiders = [cfg_guider(small, 1.5, conditioning(0.9), conditioning(0.3)), cfg_guider(large)]
    expected = sampler_custom_advanced(StitchedGuider(guiders[1], guiders[:1], stitch_of(2)), "dpmpp_2m", large)
    assert torch.equal(latent, expected)
    assert not torch.equal(latent, our_ksampler(host_nodes, small, large, sampler_name="dpmpp_2m")[0])


@pytest.mark.parametrize(("small_cfg", "large_cfg"), [(1.0, 3.0), (3.0, 1.0), (1.0, 1.0), (0.0, 3.0), (0.0, 1.0)])
def test_cfg_1_in_a_stage_halves_its_batch(host_nodes: ModuleType, small_cfg: float, large_cfg: float) -> None:
    small, large = pair()
    our_ksampler(host_nodes, small, large, cfg=large_cfg, small_cfg=small_cfg)
    for model, cfg in ((small, small_cfg or large_cfg), (large, large_cfg)):
        batches = [x.shape[0] for x in model.model.diffusion_model.inputs]
        assert set(batches) == {2 if cfg == 1.0 else 4}  # two images, with or without the negative prompt
    assert len(small.model.diffusion_model.inputs) == 3
    assert len(large.model.diffusion_model.inputs) == 5


class HalfwayGuider(CFGGuider):
    """Of the kind that other packs bring: own attributes, own conditioning names, own prediction."""

    def set_conds(self, first: Any, second: Any) -> None:
        self.inner_set_conds({"first": first, "second": second})

    def set_cfg(self, weight: float) -> None:
        self.weight = weight

    def predict_noise(self, x: Tensor, timestep: Tensor, model_options: Any = None, seed: Any = None) -> Tensor:
        conds = [self.conds["first"], self.conds["second"]]
        first, second = comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, model_options)
        return torch.lerp(first, second, self.weight)


def guider_of(kind: str, model: Any) -> Any:
    custom = extra_nodes("nodes_custom_sampler")
    third = conditioning(0.7)
    if kind == "cfg":
        return run_node(custom.CFGGuider, model=model, positive=POSITIVE, negative=NEGATIVE, cfg=4.5)[0]
    if kind == "basic":
        return run_node(custom.BasicGuider, model=model, conditioning=third)[0]
    if kind in ("dual", "dual_nested"):
        values = {"cond1": POSITIVE, "cond2": third, "negative": NEGATIVE, "cfg_conds": 2.0, "cfg_cond2_negative": 3.0}
        dual = custom.DualCFGGuider
        style = "nested" if kind == "dual_nested" else "regular"
        try:
            return run_node(dual, model=model, style=style, **values)[0]
        except TypeError:
            pytest.skip("the host's DualCFGGuider has no style")
    if kind == "perp_neg":
        values = {"positive": POSITIVE, "negative": NEGATIVE, "empty_conditioning": third, "cfg": 3.0, "neg_scale": 0.8}
        return run_node(extra_nodes("nodes_perpneg").PerpNegGuider, model=model, **values)[0]
    assert kind == "custom"
    guider = HalfwayGuider(model)
    guider.set_conds(POSITIVE, third)
    guider.set_cfg(0.3)
    return guider


GUIDERS = ["cfg", "basic", "dual", "dual_nested", "perp_neg", "custom"]


@pytest.mark.parametrize("first", GUIDERS)
@pytest.mark.parametrize("last", GUIDERS)
def test_guiders_of_any_kinds_are_stitched(host_nodes: ModuleType, first: str, last: str) -> None:
    """The two halves of an Euler run are the same as two runs, each by the host alone with its own guider."""
    small, large = pair()
    guiders = [guider_of(first, small), guider_of(last, large)]
    (guider,) = run_node(
        host_nodes.NODE_CLASS_MAPPINGS["TStitchGuiders"],
        final_guider=guiders[1],
        guider_1=guiders[0],
        splits="0.5",
        unit="steps",
        pattern="",
        memory="auto",
    )
    assert torch.equal(sampler_custom_advanced(guider, "euler", large), chained(guiders, large, 4))


def chained(guiders: list[Any], model: Any, split: int) -> Tensor:
    """One loop of Euler steps, written out, on the host's guiders entered one after another."""
    _, sigmas = sampler_and_sigmas(model, "euler")
    noise = comfy.sample.prepare_noise(latent_image()["samples"], SEED)
    calls: list[Tensor] = []

    class Half:
        """Runs its part of the loop on the scaled noise that the other half left."""

        def __init__(self, part: Tensor, x: Tensor | None) -> None:
            self.part, self.x = part, x

        def sample(self, guider: Any, _: Tensor, extra_args: dict, callback: Any, noise: Tensor, *rest: Any) -> Tensor:
            x = noise * torch.sqrt(1.0 + sigmas[0] ** 2.0) if self.x is None else self.x
            for now, after in zip(self.part[:-1], self.part[1:], strict=True):
                denoised = guider(x, now * x.new_ones([x.shape[0]]), **extra_args)
                x = x + (x - denoised) / now * (after - now)
            calls.append(x)
            return x

    empty = torch.zeros_like(noise)
    guiders[0].sample(noise, empty, Half(sigmas[: split + 1], None), sigmas, disable_pbar=True, seed=SEED)
    half = Half(sigmas[split:], calls[-1])
    return guiders[1].sample(noise, empty, half, sigmas, disable_pbar=True, seed=SEED)


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [
        *((kind, "dpmpp_2m") for kind in GUIDERS),
        *((kind, "euler_cfg_pp") for kind in GUIDERS if kind != "custom"),  # which runs no post-CFG functions
    ],
)
def test_one_guider_in_every_stage_is_that_guider(kind: str, sampler: str) -> None:
    model = gaussian_model()
    guider = guider_of(kind, model)
    expected = sampler_custom_advanced(guider, sampler, model)
    for others in ([guider], [guider_of(kind, model)], [guider_of(kind, model.clone()), guider]):
        splits = "0.4" if len(others) == 1 else "0.3, 0.6"
        result = sampler_custom_advanced(
            StitchedGuider(guider, others, stitch_of(len(others) + 1, splits)), sampler, model
        )
        assert torch.equal(result, expected)


NESTINGS = [
    pytest.param("1x3 2x5", "1x2 2x6", id="inner_split_in_outer_stage"),
    pytest.param("1x3 2x5", "1x5 2x3", id="inner_split_after_outer_stage"),
    pytest.param("2x3 1x5", "1x5 2x3", id="inner_model_last"),
    pytest.param("1x2 2x2 1x2 2x2", "2x1 1x4 2x3", id="interleaved"),
]


@pytest.mark.parametrize(("outer", "inner"), NESTINGS)
@pytest.mark.parametrize("surface", ["model", "guider"])
@pytest.mark.parametrize("memory", ["auto", "swap"])
def test_a_stitched_stage_keeps_its_own_schedule(surface: str, outer: str, inner: str, memory: str) -> None:
    """A nested pair resolves to the flat schedule of three models that owns the same steps."""
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9), gaussian_model(-0.2, 0.6)]
    nested = nest(surface, models, outer, inner, memory)
    flat = stitched(models, pattern=flattened(outer, inner))
    expected = sampler_custom_advanced(cfg_guider(flat), "dpmpp_2m", models[2])
    guider = cfg_guider(nested) if surface == "model" else nested
    assert torch.equal(sampler_custom_advanced(guider, "dpmpp_2m", models[2]), expected)


def nest(surface: str, models: list[Any], outer: str, inner: str, memory: str) -> Any:
    if surface == "model":
        return stitched([stitched(models[:2], pattern=inner, memory=memory), models[2]], pattern=outer, memory=memory)
    guiders = [cfg_guider(model) for model in models]
    first = StitchedGuider(guiders[1], guiders[:1], stitch_of(2, pattern=inner, memory=memory))
    return StitchedGuider(guiders[2], [first], stitch_of(2, pattern=outer, memory=memory))


def flattened(outer: str, inner: str) -> str:
    def owners(pattern: str) -> list[int]:
        parts = [word.split("x") for word in pattern.split()]
        return [int(stage) for stage, count in parts for _ in range(int(count))]

    inside = owners(inner)
    stages = [inside[step] if owner == 1 else 3 for step, owner in enumerate(owners(outer))]
    return " ".join(f"{stage}x1" for stage in stages)


def test_chained_schedules_finish_with_the_last_model(host_nodes: ModuleType) -> None:
    """The schedule node on a MODEL that is stitched already: the later node decides first, then the earlier one."""
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9), gaussian_model(-0.2, 0.6)]
    inner = multi_model_schedule(host_nodes, models[1], models[2], pattern="1x5 2x3")
    outer = multi_model_schedule(host_nodes, models[0], inner, pattern="1x3 2x5")
    expected = ksampler(host_nodes, stitched(models, pattern="1x3 2x2 3x3"), "dpmpp_2m")
    assert torch.equal(ksampler(host_nodes, outer, "dpmpp_2m"), expected)


def test_a_guider_of_a_stitched_model_is_a_stage_too() -> None:
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9), gaussian_model(-0.2, 0.6)]
    inner = cfg_guider(stitched(models[:2], pattern="1x2 2x6"))
    guider = StitchedGuider(cfg_guider(models[2]), [inner], stitch_of(2, pattern="1x4 2x4"))
    expected = sampler_custom_advanced(cfg_guider(stitched(models, pattern="1x2 2x2 3x4")), "dpmpp_2m", models[2])
    assert torch.equal(sampler_custom_advanced(guider, "dpmpp_2m", models[2]), expected)


def test_a_socket_that_is_left_out_is_no_model(host_nodes: ModuleType) -> None:
    """As an API workflow may have it: model_2 empty, model_3 given."""
    first, third, final = gaussian_model(0.1, 0.5), gaussian_model(-0.2, 0.6), gaussian_model(0.4, 0.9)
    model = multi_model_schedule(host_nodes, first, final, model_3=third, splits="0.25 0.5")
    found = ksampler(host_nodes, model, "euler")
    assert (len(calls_of(first)), len(calls_of(third)), len(calls_of(final))) == (2, 2, 4)
    assert torch.equal(found, ksampler(host_nodes, stitched([first, third, final], "0.25 0.5"), "euler"))
    with pytest.raises(ValueError, match="3 models need 2 splits, got 1"):
        multi_model_schedule(host_nodes, first, final, model_3=third, splits="0.25")


SWITCH = 3  # 0.4 of 8 steps


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral", "ddim"])
@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
def test_the_latent_at_the_switch_is_that_of_a_run_that_ends_there(
    host_nodes: ModuleType, sampler: str, kind: ModelType
) -> None:
    small, large = gaussian_model(0.1, 0.5, kind), gaussian_model(0.4, 0.9, kind)
    _, _, denoised, noisy = run_advanced(host_nodes, small, large, sampler_name=sampler)
    ends = {"sampler_name": sampler, "end_at_step": SWITCH}
    left, *_ = run_advanced(host_nodes, small, large, **ends, return_with_leftover_noise="enable")
    torch.testing.assert_close(noisy["samples"], left["samples"], rtol=1e-5, atol=1e-5)
    if sampler == "euler":  # the last prediction is what a run comes to that is made to end with it
        forced, *_ = run_advanced(host_nodes, small, large, **ends)
        torch.testing.assert_close(denoised["samples"], forced["samples"], rtol=1e-5, atol=1e-5)
    assert denoised["samples"].std() < noisy["samples"].std()


@pytest.mark.parametrize("sampler", ["euler", "heun", "ddim"])
@pytest.mark.parametrize("kinds", [("EPS", "EPS"), ("FLOW", "FLOW"), ("FLOW", "EPS"), ("EPS", "FLOW")], ids="-".join)
def test_a_stock_sampler_goes_on_from_the_noisy_latent(
    host_nodes: ModuleType, sampler: str, kinds: tuple[str, str]
) -> None:
    small, large = (
        gaussian_model(mean, 0.5, getattr(ModelType, kind)) for mean, kind in zip((0.1, 0.4), kinds, strict=True)
    )
    finished, _, _, noisy = run_advanced(host_nodes, small, large, sampler_name=sampler)
    later = {"start_at_step": SWITCH, "add_noise": "disable", "latent_image": noisy}
    gone_on = ksampler_advanced(host_nodes, large, sampler, **later)
    torch.testing.assert_close(gone_on, finished["samples"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_without_a_switch_the_finished_latent_stands_in(host_nodes: ModuleType, fraction: float) -> None:
    latent, _, denoised, noisy = run_advanced(host_nodes, *pair(), fraction=fraction)
    assert torch.equal(denoised["samples"], latent["samples"])
    assert torch.equal(noisy["samples"], latent["samples"])


def run_advanced(host: ModuleType, small: Any, large: Any, **options: Any) -> tuple[Any, ...]:
    values = {"start_at_step": 0, "end_at_step": 10000, "return_with_leftover_noise": "disable", "fraction": 0.4}
    return run_node(
        host.NODE_CLASS_MAPPINGS["TStitchKSamplerAdvanced"],
        model=large,
        small_model=small,
        add_noise="enable",
        noise_seed=SEED,
        steps=STEPS,
        cfg=CFG,
        scheduler="normal",
        positive=POSITIVE,
        negative=NEGATIVE,
        latent_image=latent_image(),
        **{"sampler_name": "euler"} | values | options,
    )
