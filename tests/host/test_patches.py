"""Whatever a MODEL carries belongs to its stage. The oracle is the host, which runs each half alone."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.host.model_options import OF_THE_RUN
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch_testing.halves import cfg_guider, halves, normal_sigmas, whole
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.sampling import stitch_of, stitched
from tstitch_testing.unets import unet_model

STEPS = 6


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """The networks are too small to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lora(model: Any, strength: float = 0.5) -> Any:
    patched = model.clone()
    keys = [key for key in model.model_state_dict() if key.endswith(("to_q.weight", "in_layers.2.weight"))]
    weights = {key: model.model_state_dict()[key] for key in keys}
    generator = torch.Generator().manual_seed(9)
    delta = {key: ("diff", (0.3 * torch.randn(w.shape, generator=generator) * w.std(),)) for key, w in weights.items()}
    assert len(patched.add_patches(delta, strength)) == len(keys) > 4
    return patched


def node(module: str, name: str, **values: Any) -> Callable[[Any], Any]:
    return lambda model: run_node(getattr(extra_nodes(module), name), model=model, **values)[0]


def compiled(model: Any) -> Any:
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    patched = model.clone()
    set_torch_compile_wrapper(patched, backend="eager", keys=["diffusion_model.out"])  # the whole takes a minute
    return patched


def attention_patch(model: Any) -> Any:
    patched = model.clone()
    patched.set_model_attn2_patch(lambda q, k, v, extra_options: (q, k, v * 0.5))
    return patched


CACHE = {"start_percent": 0.1, "end_percent": 0.95, "verbose": False}

PATCHES: dict[str, Callable[[Any], Any]] = {
    "lora": lora,
    "attention": attention_patch,
    "v_prediction": node("nodes_model_advanced", "ModelSamplingDiscrete", sampling="v_prediction", zsnr=False),
    "lcm": node("nodes_model_advanced", "ModelSamplingDiscrete", sampling="lcm", zsnr=False),
    "rescale_cfg": node("nodes_model_advanced", "RescaleCFG", multiplier=0.7),
    "freeu": node("nodes_freelunch", "FreeU_V2", b1=1.3, b2=1.4, s1=0.9, s2=0.2),
    "pag": node("nodes_pag", "PerturbedAttentionGuidance", scale=2.0),
    "sag": node("nodes_sag", "SelfAttentionGuidance", scale=0.5, blur_sigma=2.0),
    "apg": node("nodes_apg", "APG", eta=0.5, norm_threshold=5.0, momentum=-0.5),
    "easycache": node("nodes_easycache", "EasyCacheNode", reuse_threshold=0.8, **CACHE),
    "lazycache": node("nodes_easycache", "LazyCacheNode", reuse_threshold=0.8, **CACHE),
    "compile": compiled,
}
FLOW_PATCHES: dict[str, Callable[[Any], Any]] = {
    "sd3_shift": node("nodes_model_advanced", "ModelSamplingSD3", shift=2.0),
    "flux_shift": node(
        "nodes_model_advanced", "ModelSamplingFlux", max_shift=1.15, base_shift=0.5, width=64, height=64
    ),
    "lora": lora,
}

latent = torch.zeros(1, 4, 8, 8)


def sample(model: Any, sampler: str = "euler", sigmas: Tensor | None = None) -> Tensor:
    return whole(cfg_guider(model), latent, normal_sigmas(model, STEPS) if sigmas is None else sigmas, sampler=sampler)


def patched(name: str, model: Any) -> Any:
    return (FLOW_PATCHES if name in ("sd3_shift", "flux_shift") else PATCHES)[name](model)


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_changes_the_picture(name: str) -> None:
    """Else the tests below would prove nothing."""
    model = unet_model(1)
    changes = not torch.equal(sample(PATCHES[name](model)), sample(model))
    assert changes == (name != "compile")


STATEFUL = ("easycache", "lazycache", "apg")  # what they remember begins anew with a stage


@pytest.mark.parametrize("name", [name for name in PATCHES if name not in STATEFUL])
def test_a_patch_on_the_model_of_all_stages(name: str) -> None:
    model = PATCHES[name](unet_model(1))
    expected = sample(model, "dpmpp_2m")
    assert torch.equal(sample(stitched([model.clone(), model, model], "0.2, 0.6"), "dpmpp_2m"), expected)
    assert torch.equal(sample(model, "dpmpp_2m"), expected)


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("where", [(True, False), (False, True)], ids=["first", "last"])
def test_a_patch_on_one_stage_stays_there(name: str, where: tuple[bool, bool]) -> None:
    models = [unet_model(1), unet_model(2)]
    stages = [PATCHES[name](model) if here else model for model, here in zip(models, where, strict=True)]
    sigmas = normal_sigmas(stages[1], STEPS)
    expected = halves([cfg_guider(stage) for stage in stages], [3], latent, sigmas)
    for _ in range(2):  # nothing is left over for the next run
        assert torch.equal(sample(stitched(stages, pattern="1x3 2x3")), expected)


#: Patches that work on answers: put on the joined MODEL, they act in every step.
GUIDANCE = ("rescale_cfg", "pag", "apg")


@pytest.mark.parametrize("name", [name for name in PATCHES if name not in GUIDANCE])
def test_a_patch_of_the_network_after_the_schedule_node_is_the_finishing_models(name: str) -> None:
    small, large = unet_model(1), unet_model(2)
    before = stitched([small, PATCHES[name](large)], pattern="1x3 2x3")
    after = PATCHES[name](stitched([small, large], pattern="1x3 2x3"))
    assert torch.equal(sample(after), sample(before))


def with_options_of(model: Any, other: Any) -> Any:
    """`model` with the very functions of `other`, which may keep a state."""
    changed = model.clone()
    for key in OF_THE_RUN:
        if key in other.model_options:
            changed.model_options[key] = other.model_options[key]
    return changed


@pytest.mark.parametrize("name", GUIDANCE)
@pytest.mark.parametrize("pattern", ["1x3 2x3", "2x2 1x2 2x2", "1x6"])
def test_guidance_after_the_schedule_node_is_the_whole_runs(name: str, pattern: str) -> None:
    small, large = unet_model(1), unet_model(2)
    patched_large = PATCHES[name](large)
    before = stitched([with_options_of(small, patched_large), patched_large], pattern=pattern)
    after = PATCHES[name](stitched([small, large], pattern=pattern))
    assert torch.equal(sample(after), sample(before))


def soften(sigma: Tensor, denoise_mask: Tensor, extra_options: dict[str, Any]) -> Tensor:
    return denoise_mask * 0.75


def masked(model: Any, function: Callable[..., Tensor]) -> Any:
    changed = model.clone()
    changed.set_model_denoise_mask_function(function)
    return changed


@pytest.mark.parametrize("where", ["first", "last", "both"])
@pytest.mark.parametrize("pattern", ["1x3 2x3", "2x2 1x2 2x2", "1x6"])
def test_a_mask_function_of_a_stage_acts_in_its_steps(where: str, pattern: str) -> None:
    """One on the finishing model goes for models without their own too, if that model has a step."""
    small, large = unet_model(1), unet_model(2)
    sigmas = normal_sigmas(large, STEPS)
    starts = [float(sigma) for sigma in sigmas[:-1]]
    stages = [int(word[0]) for word in pattern.split() for _ in range(int(word[2:]))]

    def by_step(sigma: Tensor, denoise_mask: Tensor, extra_options: dict[str, Any]) -> Tensor:
        first = stages[min(range(STEPS), key=lambda step: abs(starts[step] - float(sigma[0])))] == 1
        if (where == "first" and not first) or (where == "last" and 2 not in stages):
            return denoise_mask
        return denoise_mask * (0.5 if where == "both" and not first else 0.75)

    own_small = small if where == "last" else masked(small, soften)
    own_large = {
        "first": large,
        "last": masked(large, soften),
        "both": masked(large, lambda _, mask, **more: mask * 0.5),
    }
    mask = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    found = whole(
        cfg_guider(stitched([own_small, own_large[where]], pattern=pattern)), latent, sigmas, denoise_mask=mask
    )
    expected = whole(
        cfg_guider(masked(stitched([small, large], pattern=pattern), by_step)), latent, sigmas, denoise_mask=mask
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lora", "LoRAs or other weights"),
        ("lcm", "another sampling or other parts of the model"),
        ("attention", "patches of the network"),
        ("freeu", "patches of the network"),
    ],
)
def test_what_stays_the_finishing_models_is_said(name: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    small, large = unet_model(1), unet_model(2)
    stitch = stitch_of(2, pattern="1x3 2x3")
    joined = PATCHES[name](stitch_model(PATCHES[name](large), [ModelStage(small)], stitch))
    with caplog.at_level("INFO", logger="tstitch"):
        sample(joined.clone())
    sentence = (
        f"Put on the joined MODEL, {kind} act in the steps of final_model only. For all steps, put such things on each"
        " model before they are joined."
    )
    assert stitch.report.to_dict()["notes"] == [sentence]
    assert [record.message for record in caplog.records] == [f"T-Stitch: {sentence}"]


def test_patches_before_the_join_need_no_note() -> None:
    stitch = stitch_of(2, pattern="1x3 2x3")
    sample(stitch_model(lora(unet_model(2)), [ModelStage(attention_patch(unet_model(1)))], stitch).clone())
    assert "notes" not in stitch.report.to_dict()


def test_settings_of_a_run_are_told_to_hold_for_all_models() -> None:
    """KJNodes switches torch's fp16 accumulation so."""
    setting = {"on": False}
    small, large = unet_model(1), unet_model(2)
    switched = small.clone()
    switched.add_callback(CallbacksMP.ON_PRE_RUN, lambda _: setting.update(on=True))
    switched.add_callback(CallbacksMP.ON_CLEANUP, lambda _: setting.update(on=False))
    stitch = stitch_of(2, pattern="1x3 2x3")
    sample(stitch_model(large, [ModelStage(switched)], stitch))
    assert stitch.report.to_dict()["notes"] == [
        "What patches of model_1 switch on before a run and off after it holds in the steps of all models."
    ]
    assert not setting["on"]


def exchanging(model: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As AnimateDiff-Evolved: for the time of the run, every call is expected to have the options of this pack."""

    def outer_sample(executor: Any, *args: Any, **kwargs: Any) -> Any:
        executor.class_obj.model_options["transformer_options"]["ADGS"] = "here"
        original = comfy.samplers.calc_cond_batch

        def exchanged(model: Any, conds: Any, x: Any, timestep: Any, model_options: Any) -> Any:
            assert model_options["transformer_options"]["ADGS"] == "here"
            return original(model, conds, x, timestep, model_options)

        with monkeypatch.context() as patch:
            patch.setattr(comfy.samplers, "calc_cond_batch", exchanged)
            return executor(*args, **kwargs)

    changed = model.clone()
    changed.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "ADE", outer_sample)
    return changed


def sampler_function(model: Any) -> Any:
    """As SpotDiffusion: a wrapper that expects the host's own sampler."""

    def outer_sample(executor: Any, noise: Any, latent_image: Any, sampler: Any, *args: Any, **kwargs: Any) -> Any:
        assert callable(sampler.sampler_function)
        return executor(noise, latent_image, sampler, *args, **kwargs)

    changed = model.clone()
    changed.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "spot", outer_sample)
    return changed


def test_a_patch_around_all_of_the_sampling_is_named_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = unet_model(1), unet_model(2)
    sentence = "A patch of {} works around all of the sampling, and failed as other models take turns ({}): put the"
    for models, name, error in (
        ([exchanging(small, monkeypatch), large], "model_1", "KeyError: 'ADGS'"),
        ([small, exchanging(large, monkeypatch)], "final_model", "KeyError: 'ADGS'"),
        ([sampler_function(small), large], "model_1", "AttributeError: 'Waypoint'"),
    ):
        with pytest.raises(StitchError, match=re.escape(sentence.format(name, error)[:-14])):
            sample(stitched(models, pattern="1x3 2x3"))
    expected = sample(stitched([small, large], pattern="1x3 2x3"))
    everywhere = [exchanging(model, monkeypatch) for model in (small, large)]
    assert torch.equal(sample(stitched(everywhere, pattern="1x3 2x3")), expected)
    assert torch.equal(sample(sampler_function(stitched([small, large], pattern="1x3 2x3"))), expected)


def counted(model: Any, calls: list[float]) -> Any:
    def count(args: dict[str, Any]) -> Tensor:
        calls.append(float(args["sigma"][0]))
        return args["denoised"]

    changed = model.clone()
    changed.set_model_sampler_post_cfg_function(count)
    return changed


def test_a_function_runs_once_per_call_wherever_it_was_added() -> None:
    small, large = unet_model(1), unet_model(2)
    inner: list[float] = []
    between: list[float] = []
    outer: list[float] = []
    joined = counted(stitched([small, counted(large, inner)], pattern="1x3 2x3"), between)
    again = counted(stitched([unet_model(3), joined.clone()], pattern="1x2 2x4"), outer)
    sample(again.clone())
    assert (len(inner), len(between), len(outer)) == (3, 4, 6)


def test_one_function_after_the_join_sees_every_step_beside_a_patch_of_the_same_kind_before_it() -> None:
    small, large = unet_model(1), unet_model(2)
    own: list[float] = []
    whole_run: list[float] = []
    sample(counted(stitched([counted(small, own), large], pattern="1x3 2x3"), whole_run))
    assert (len(own), len(whole_run)) == (3, 6)


def test_guidance_that_came_with_patches_of_a_network_stays_with_it_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[float] = []
    joined = counted(attention_patch(stitched([unet_model(1), unet_model(2)], pattern="1x3 2x3")), calls)
    with caplog.at_level("INFO", logger="tstitch"):
        sample(joined)
    assert len(calls) == 3
    assert [record.message for record in caplog.records if "finishing model only" in record.message]


@pytest.mark.parametrize("name", [*PATCHES, "sd3_shift", "flux_shift"])
@pytest.mark.parametrize("pattern", ["2x3 1x3", "1x2 2x2 1x2"])
def test_two_clones_of_one_model_are_two_models(name: str, pattern: str) -> None:
    """Clones share their weights, and the host applies the patches of one of them at a time."""
    kind = ModelType.FLOW if name in ("sd3_shift", "flux_shift") else ModelType.EPS
    model, twin = unet_model(1, kind=kind), unet_model(1, kind=kind)
    plain = sample(model)
    for variants in ((patched(name, model), model), (model, patched(name, model))):
        apart = [variant if variant is not model else twin for variant in variants]
        expected = sample(stitched(apart, pattern=pattern), "dpmpp_2m_sde")
        assert torch.equal(sample(stitched(variants, pattern=pattern), "dpmpp_2m_sde"), expected)
    assert torch.equal(sample(model), plain)


def test_two_loras_on_one_model() -> None:
    model, other = unet_model(1), unet_model(1)
    # All made before one is sampled: the weights of a loaded model have its own LoRA in them.
    first, second, second_of_other = lora(model, 0.5), lora(model, -0.8), lora(other, -0.8)
    expected = sample(stitched([first, second_of_other]))
    assert torch.equal(sample(stitched([first, second])), expected)


@pytest.mark.parametrize("name", ["easycache", "lazycache"])
def test_a_cache_skips_calls_of_its_own_stage(name: str) -> None:
    """It must not see the other stage's steps, and saves nothing across two runs."""
    small, large = unet_model(1), unet_model(2)
    counts = []
    for stages in ([PATCHES[name](small), large], [small, PATCHES[name](large)], [small, large]):
        calls = {"small": 0, "large": 0}
        handles = [
            model.model.diffusion_model.input_blocks[0][0].register_forward_hook(counting(calls, key))
            for model, key in ((small, "small"), (large, "large"))
        ]
        model = stitched(stages, pattern="1x6 2x6")
        for _ in range(2):
            whole(cfg_guider(model), latent, normal_sigmas(large, 12))
        for handle in handles:
            handle.remove()
        counts.append(calls)
    cached_small, cached_large, plain = counts
    assert plain == {"small": 12, "large": 12}
    assert cached_small["small"] < 12
    assert cached_small["large"] == 12
    assert cached_large["small"] == 12
    assert cached_large["large"] < 12


def test_a_patch_may_copy_its_options_deeply(monkeypatch: pytest.MonkeyPatch) -> None:
    """As "Pre CFG PAG" does, to add patches for a call of its own: no model and no run is copied with them."""

    def asking_again(args: dict[str, Any]) -> Any:
        options = copy.deepcopy(args["model_options"])
        (again,) = comfy.samplers.calc_cond_batch(
            args["model"], [args["conds"][0]], args["input"], args["timestep"], options
        )
        return [args["conds_out"][0] + 0.5 * (args["conds_out"][0] - 0.9 * again), args["conds_out"][1]]

    model = unet_model(1)
    model.set_model_sampler_pre_cfg_function(asking_again)
    expected = sample(model)

    def copied(*_: Any) -> Any:
        raise AssertionError("a model was copied")

    monkeypatch.setattr(type(model.model), "__deepcopy__", copied, raising=False)
    for memory in ("keep", "swap"):
        assert torch.equal(sample(stitched([model.clone(), model, model], "0.2, 0.6", memory=memory)), expected)


@pytest.mark.parametrize("name", ["easycache", "lazycache"])
def test_a_cache_on_the_model_of_all_stages_keeps_its_state_per_stage(name: str) -> None:
    """As help and README say: such a model does not draw what it draws alone, but what two runs of it would."""
    model = PATCHES[name](unet_model(1))
    sigmas = normal_sigmas(model, 12)
    found = sample(stitched([model.clone(), model], pattern="1x6 2x6"), sigmas=sigmas)
    assert torch.equal(found, halves([cfg_guider(model), cfg_guider(model)], [6], latent, sigmas))
    assert not torch.equal(found, sample(model, sigmas=sigmas))


def counting(calls: dict[str, int], key: str) -> Callable[..., None]:
    def count(*_: Any) -> None:
        calls[key] += 1

    return count
