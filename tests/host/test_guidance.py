"""Guidance by a small model: the host's own guidance is the oracle."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from comfy.model_management import InterruptProcessingException
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.guidance.model import MODES, Guidance, guided_model
from tstitch.page.progress import progress
from tstitch.planning.identity import model_identity
from tstitch.resolution.model import low_resolution
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import calls_of, conditioning, constant_model, gaussian_model
from tstitch_testing.sampling import ksample, stitch_of, stitched
from tstitch_testing.unets import unet_model

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("ignore")]

WEAK, CHEAP = MODES
MEMORY = ("auto", "keep", "swap")


def by_hand(model: Any, weak: Any, mode: str = WEAK) -> Any:
    """The same guidance by the host's own hook, for two models of one parameterization."""
    guided = model.clone()

    def answers(args: dict[str, Any]) -> list[Tensor]:
        cond, uncond = args["conds"]
        rest = args["input"], args["sigma"], args["model_options"]
        if uncond is None:
            return comfy.samplers.calc_cond_batch(args["model"], [cond, None], *rest)
        asked = cond if mode == WEAK else uncond
        positive = comfy.samplers.calc_cond_batch(args["model"], [cond, None], *rest)[0]
        weak.model.current_patcher = weak
        try:
            return [positive, comfy.samplers.calc_cond_batch(weak.model, [asked, None], *rest)[0]]
        finally:
            weak.model.current_patcher = None

    guided.set_model_sampler_calc_cond_batch_function(answers)
    return guided


@pytest.mark.parametrize("sampler", comfy.samplers.KSampler.SAMPLERS)
def test_a_model_as_its_own_cheap_negative_is_plain_guidance(sampler: str) -> None:
    """Up to the rounding of one batch of two against two batches of one."""
    model = unet_model()
    found = ksample(guided_model(model, model, Guidance(CHEAP)), sampler, steps=4)
    expected = ksample(model, sampler, steps=4)
    torch.testing.assert_close(found, expected, atol=2e-3 * float(expected.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m_sde", "heun", "uni_pc", "euler_ancestral_cfg_pp"])
def test_it_is_what_the_hosts_own_hook_computes(sampler: str, mode: str) -> None:
    large, small = gaussian_model(0.6, 0.9), gaussian_model(0.1, 0.5)
    found = ksample(guided_model(large, small, Guidance(mode)), sampler)
    assert torch.equal(found, ksample(by_hand(large, small, mode), sampler))
    assert not torch.allclose(found, ksample(large, sampler), rtol=0.01)


@pytest.mark.parametrize("mode", MODES)
def test_each_model_is_asked_once_per_call(mode: str) -> None:
    large, small, plain = gaussian_model(0.6, 0.9), gaussian_model(0.1, 0.5), gaussian_model()
    ksample(plain, "heun", steps=6)
    ksample(guided_model(large, small, Guidance(mode)), "heun", steps=6)
    assert len(calls_of(large)) == len(calls_of(small)) == len(calls_of(plain))
    assert {len(x) for model in (large, small) for x in model.model.diffusion_model.inputs} == {2}
    assert {len(x) for x in plain.model.diffusion_model.inputs} == {4}


def test_without_guidance_the_large_model_is_asked_alone() -> None:
    large, small = gaussian_model(0.6, 0.9), gaussian_model(0.1, 0.5)
    guided = guided_model(large, small, Guidance())
    assert torch.equal(ksample(guided, cfg=1.0), ksample(large, cfg=1.0))
    assert not calls_of(small)


@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
def test_outside_of_the_interval_the_large_model_is_asked_once(kind: ModelType) -> None:
    large, small = gaussian_model(0.6, 0.9, kind), gaussian_model(0.1, 0.5, kind)
    ksample(guided_model(large, small, Guidance(WEAK, 0.3, 0.7)), steps=10)
    sampling = large.get_model_object("model_sampling")
    start, end = sampling.percent_to_sigma(0.3), sampling.percent_to_sigma(0.7)
    every = calls_of(large)
    assert len(every) == 10
    assert calls_of(small) == [sigma for sigma in every if start >= sigma > end]
    assert 0 < len(calls_of(small)) < 10
    empty = ksample(guided_model(large, small, Guidance(WEAK, 0.5, 0.5)), cfg=3.0)
    assert torch.equal(empty, ksample(large, cfg=1.0))


PAIRS = [
    (large, weak)
    for large in (ModelType.EPS, ModelType.V_PREDICTION, ModelType.FLOW, ModelType.EDM)
    for weak in (ModelType.EPS, ModelType.V_PREDICTION, ModelType.FLOW, ModelType.EDM)
]


@pytest.mark.parametrize(("large", "weak"), PAIRS, ids=lambda kind: kind.name)
def test_the_answer_does_not_depend_on_the_weak_models_parameterization(large: ModelType, weak: ModelType) -> None:
    def run(kind: ModelType) -> Tensor:
        # without the levels above the flow models' own, where they cannot be asked
        guided = guided_model(gaussian_model(0.6, 0.9, large), gaussian_model(0.1, 0.5, kind), Guidance())
        return ksample(guided, "dpmpp_2m", latent=torch.full((1, 4, 6, 5), 0.5), denoise=0.6)

    expected = run(large)
    found = run(weak)
    assert float((found - expected).norm() / expected.norm()) < 1e-3


@pytest.mark.parametrize("memory", MEMORY)
def test_every_policy_draws_the_same_and_leaves_nothing(memory: str) -> None:
    large, small = unet_model(), unet_model(seed=3)
    before = [ksample(model, steps=4) for model in (large, small)]
    expected = ksample(guided_model(large, small, Guidance(memory="keep")), steps=4)
    guided = guided_model(large, small, Guidance(memory=memory))
    assert torch.equal(ksample(guided, steps=4), expected)
    for stop in range(4):

        def callback(step: int, *_: Any, stop: int = stop) -> None:
            if step == stop:
                raise InterruptProcessingException

        with pytest.raises(InterruptProcessingException):
            ksample(guided, steps=4, callback=callback)
        for model, alone in zip((large, small), before, strict=True):
            assert torch.equal(ksample(model, steps=4), alone)
    assert torch.equal(ksample(guided, steps=4), expected)


def test_the_weak_model_is_left_as_it_was() -> None:
    """Its identity too, by which measurements are remembered."""
    large, small = gaussian_model(0.6, 0.9), gaussian_model(0.1, 0.5)
    before = model_identity(small)
    ksample(guided_model(large, small, Guidance(CHEAP)))
    assert model_identity(small) == before
    assert small.model_options == gaussian_model().model_options


def test_a_variant_of_the_model_guides_it() -> None:
    """The model itself with a patch: both share one network, and each answer is its own."""
    large, other = unet_model(), unet_model()

    def softer(model: Any) -> Any:
        changed = model.clone()
        changed.set_model_output_block_patch(lambda h, skip, options: (h * 0.9, skip))
        return changed

    found = ksample(guided_model(large, softer(large), Guidance()), steps=4)
    expected = ksample(guided_model(large, softer(other), Guidance()), steps=4)
    assert torch.equal(found, expected)
    assert torch.equal(ksample(large, steps=4), ksample(other, steps=4))


def test_patches_of_guidance_see_both_answers() -> None:
    """RescaleCFG, CFGZeroStar and their like, before or after the node."""
    large, small = gaussian_model(0.6, 0.9), gaussian_model(0.1, 0.5)

    def patched(model: Any) -> Any:
        changed = model.clone()
        changed.set_model_sampler_cfg_function(
            lambda args: args["uncond"] + (args["cond"] - args["uncond"]) * args["cond_scale"] * 0.7
        )
        changed.set_model_sampler_post_cfg_function(
            lambda args: args["denoised"] + 0.1 * (args["cond_denoised"] - args["uncond_denoised"])
        )
        return changed

    expected = ksample(patched(by_hand(large, small)))
    assert torch.equal(ksample(guided_model(patched(large), small, Guidance())), expected)
    assert torch.equal(ksample(patched(guided_model(large, small, Guidance()))), expected)


def test_it_is_a_stage_like_any_other() -> None:
    large, small = gaussian_model(0.6, 0.9), gaussian_model(0.1, 0.5)
    guided = guided_model(large, small, Guidance())
    same = stitched([guided, guided_model(large, small, Guidance())], "0.5")
    assert torch.equal(ksample(same, "dpmpp_2m"), ksample(guided, "dpmpp_2m"))
    first = stitched([small, guided], "0.5")
    by_hook = stitched([small, by_hand(large, small)], "0.5")
    assert torch.equal(ksample(first, "dpmpp_2m"), ksample(by_hook, "dpmpp_2m"))
    joined = guided_model(stitched([gaussian_model(0.2, 0.3), large], "0.5"), small, Guidance())
    expected = stitched([by_hand(gaussian_model(0.2, 0.3), small), by_hand(large, small)], "0.5")
    assert torch.equal(ksample(joined, "dpmpp_2m"), ksample(expected, "dpmpp_2m"))


def test_a_model_at_a_lower_resolution_guides_itself() -> None:
    large, latent = unet_model(), torch.zeros(1, 4, 8, 12)
    found = ksample(guided_model(large, low_resolution(large, 0.5), Guidance()), steps=4, latent=latent)
    assert found.isfinite().all()
    assert not torch.allclose(found, ksample(large, steps=4, latent=latent))
    reduced = low_resolution(guided_model(large, unet_model(seed=3), Guidance(WEAK, 0.2, 0.8)), 0.5)
    assert ksample(reduced, steps=4, latent=latent).isfinite().all()


def timed() -> list[Any]:
    """Two prompts, one after another."""
    return [
        [conditioning(0.9)[0][0], {"start_percent": 0.0, "end_percent": 0.45}],
        [conditioning(-0.7)[0][0], {"start_percent": 0.45, "end_percent": 1.0}],
    ]


#: What is guided, of a large model and its form at a lower resolution.
GUIDED = {
    "joined": lambda large, reduced: stitched([reduced, large], pattern="1x7 2x5"),
    "alone": lambda large, reduced: reduced,
}


@pytest.mark.parametrize("guided", GUIDED)
@pytest.mark.parametrize("scale", [1, 0.5, 0.25])
@pytest.mark.parametrize("mode", MODES)
def test_a_weak_model_of_any_size_answers_about_the_same_noise(guided: str, scale: float, mode: str) -> None:
    """Constant pictures have one mean at every size, whichever of the two models is asked at fewer pixels."""

    def run(smaller: Any) -> Tensor:
        large, weak = constant_model(0.6, 0.9), constant_model(0.1, 0.5, ModelType.FLOW)
        model = guided_model(GUIDED[guided](large, smaller(large, 0.5)), smaller(weak, scale), Guidance(mode, 0, 0.9))
        latent = torch.full((1, 4, 16, 24), 0.5)
        return ksample(model, steps=12, latent=latent, positive=timed(), denoise=0.6).mean(dim=(-2, -1))

    found = run(low_resolution)
    torch.testing.assert_close(found, run(lambda model, scale: model), atol=1e-4, rtol=1e-3)


def test_a_weak_model_sees_masks_and_areas_at_its_own_size() -> None:
    large, weak = unet_model(), unet_model(seed=3)
    mask = torch.zeros(1, 64, 64)
    mask[..., 32:] = 1
    positive = [
        [conditioning(0.4)[0][0], {"mask": mask, "mask_strength": 0.8, "set_area_to_bounds": False}],
        [conditioning(0.9)[0][0], {"area": (8, 8, 4, 4), "strength": 0.7}],
        *conditioning(0.1),
    ]
    joined = stitched([low_resolution(large, 0.5), large])
    found = ksample(
        guided_model(joined, weak, Guidance()), steps=4, latent=torch.zeros(1, 4, 16, 16), positive=positive
    )
    assert found.isfinite().all()


@pytest.mark.parametrize("place", ["before", "after"])
def test_context_windows_after_the_node_are_the_weak_models_too(place: str) -> None:
    node = extra_nodes("nodes_context_windows").ContextWindowsManualNode
    settings = {"context_length": 3, "context_overlap": 1, "context_stride": 1, "closed_loop": False, "dim": 2}

    def windowed(model: Any) -> Any:
        return run_node(node, model=model, context_schedule="standard_static", fuse_method="pyramid", **settings)[0]

    large, weak = (gaussian_model(mean, 0.5, latent_format=comfy.latent_formats.Wan21()) for mean in (0.6, 0.1))
    guided = {
        "before": lambda: guided_model(windowed(large), weak, Guidance()),
        "after": lambda: windowed(guided_model(large, weak, Guidance())),
    }[place]()
    ksample(guided, steps=4, latent=torch.zeros(1, 16, 7, 4, 4))
    frames = [{x.shape[2] for x in model.model.diffusion_model.inputs} for model in (large, weak)]
    assert frames == [{3}, {3} if place == "after" else {7}]
    assert "context_handler" not in weak.model_options


@pytest.mark.parametrize("inside", [True, False], ids=["stage", "whole run"])
def test_the_report_tells_how_often_the_weak_model_answered(inside: bool) -> None:
    small, large, weak = gaussian_model(0.3, 0.3), gaussian_model(0.6, 0.9), gaussian_model(0.1, 0.5)
    stitch = stitch_of(2, pattern="1x3 2x5")
    if inside:
        model = stitch_model(guided_model(large, weak, Guidance()), [ModelStage(small)], stitch)
    else:
        model = guided_model(stitch_model(large, [ModelStage(small)], stitch), weak, Guidance(WEAK, 0.0, 0.8))
    for _ in range(2):
        weak.model.diffusion_model.calls.clear()
        ksample(model, steps=8)
        first, last = stitch.report.to_dict()["stages"]
        assert (first["model_calls"], last["model_calls"]) == (3, 5)
        found = [stage.get("weak_model_calls") for stage in (first, last)]
        assert found == ([None, 5] if inside else [3, len(calls_of(weak)) - 3])
        assert progress(stitch.report, True)["weakCallsPerStage"] == [count or 0 for count in found]
    assert inside or 3 < len(calls_of(weak)) < 8


def test_a_model_guided_in_two_runs_within_each_other_is_told_in_both() -> None:
    small, large, weak = gaussian_model(0.3, 0.3), gaussian_model(0.6, 0.9), gaussian_model(0.1, 0.5)
    inner, outer = stitch_of(2, pattern="1x2 2x6"), stitch_of(2, pattern="1x3 2x5")
    nested = stitch_model(guided_model(large, weak, Guidance()), [ModelStage(small)], inner)
    ksample(stitch_model(nested, [ModelStage(gaussian_model())], outer), steps=8)
    assert [use.weak_calls for use in outer.report.uses] == [0, 5]
    assert [use.weak_calls for use in inner.report.uses] == [0, 5]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "strong"}, "mode must be one of"),
        ({"start_percent": 0.7, "end_percent": 0.3}, "would end at 0.3, before it starts at 0.7"),
        ({"end_percent": 1.5}, "got 1.5"),
        ({"memory": "all"}, "memory must be one of"),
    ],
)
def test_bad_input_is_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(StitchError, match=words):
        Guidance(**changes)


def test_pairs_and_guiders_that_do_not_fit_are_refused_before_anything_runs() -> None:
    large = gaussian_model()
    other = gaussian_model(latent_format=comfy.latent_formats.Flux())
    with pytest.raises(StitchError, match="weak_model works on Flux"):
        ksample(guided_model(large, other, Guidance()))
    guider = comfy.samplers.CFGGuider(guided_model(large, gaussian_model(), Guidance()))
    guider.inner_set_conds({"positive": conditioning()})
    noise, sigmas = torch.randn(1, 4, 6, 5), torch.tensor([5.0, 1.0, 0.0])
    with pytest.raises(StitchError, match="takes the place of the negative answer"):
        guider.sample(noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), sigmas)
    with pytest.raises(StitchError, match="weak_model is empty"):
        guided_model(large, None, Guidance())
    assert not calls_of(large)
