"""What happens around a run keeps its place and time where the model is asked at fewer latent pixels.

The oracle is the exact denoiser of constant pictures, whose mean is the same at every size, or a model put together of
what the run should have used in each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.patcher_extension
import comfy.sample
import comfy.sampler_helpers
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.guidance.model import MODES, Guidance, guided_model
from tstitch.resolution.fitting import by_area, fitted
from tstitch.resolution.model import check_shape, low_resolution
from tstitch.resolution.scaling import Scaling
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import conditioning, constant_model, gaussian_model, hooked
from tstitch_testing.sampling import ksample, stitched
from tstitch_testing.unets import controlnet, unet_model, with_control

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("ignore")]

latent = torch.zeros(1, 4, 16, 24)
WAN = comfy.latent_formats.Wan21()


def means(samples: Tensor) -> Tensor:
    return samples.mean(dim=(-2, -1))


def timed() -> list[Any]:
    """Two prompts, one after another."""
    return [
        [conditioning(0.9)[0][0], {"start_percent": 0.0, "end_percent": 0.45}],
        [conditioning(-0.7)[0][0], {"start_percent": 0.45, "end_percent": 1.0}],
    ]


BELOW: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "twice": lambda smaller: smaller(smaller(constant_model())),
    "of a joined model": lambda smaller: smaller(
        stitched([constant_model(0.1, 0.4), constant_model(-0.2, 0.5)], pattern="1x4 2x4 1x4")
    ),
    "of models joined twice": lambda smaller: smaller(
        stitched(
            [stitched([constant_model(0.1, 0.4), constant_model(0.5, 0.3)], pattern="1x3 2x9"), constant_model()],
            pattern="1x8 2x4",
        )
    ),
    "of a joined model without its last": lambda smaller: smaller(
        stitched([constant_model(kind=ModelType.FLOW), constant_model()], "1")
    ),
    "of a guided model": lambda smaller: smaller(
        guided_model(constant_model(), constant_model(0.1, 0.4), Guidance(MODES[0], 0.2, 0.8))
    ),
    "inside of two": lambda smaller: stitched(
        [smaller(stitched([smaller(constant_model(0.1, 0.4)), constant_model()], pattern="1x6 2x6")), constant_model()],
        pattern="1x8 2x4",
    ),
}


@pytest.mark.parametrize("name", BELOW)
def test_all_models_below_a_lower_resolution_keep_to_the_noise_of_the_run(name: str) -> None:
    def run(smaller: Callable[[Any], Any]) -> Tensor:
        return means(ksample(BELOW[name](smaller), "dpmpp_2m", steps=12, positive=timed(), latent=latent))

    found = run(lambda model: low_resolution(model, 0.5))
    torch.testing.assert_close(found, run(lambda model: model), atol=1e-4, rtol=1e-3)


def test_all_models_below_a_lower_resolution_see_areas_of_their_size() -> None:
    first, last, weak = gaussian_model(0.1, 0.4), gaussian_model(), gaussian_model(0.2, 0.3)
    joined = guided_model(stitched([first, last], "0.5"), weak, Guidance())
    positive = [[conditioning(0.9)[0][0], {"area": (8, 12, 4, 6), "strength": 1.0, "set_area_to_bounds": False}]]
    ksample(low_resolution(joined, 0.5), steps=4, positive=positive, latent=latent)
    for model in (first, last, weak):
        sizes = {tuple(x.shape[-2:]) for x in model.model.diffusion_model.inputs}
        assert (4, 6) in sizes
        assert sizes <= {(4, 6), (8, 12)}
    assert positive[0][1]["area"] == (8, 12, 4, 6)


@pytest.mark.parametrize("name", ["EasyCacheNode", "LazyCacheNode"])
def test_a_cache_begins_and_ends_at_the_noise_of_the_run(name: str) -> None:
    """Every step that it may skip is skipped."""

    def skipped(change: Callable[[Any], Any]) -> list[int]:
        model, calls, steps = unet_model(), [0], []
        model.model.diffusion_model.input_blocks[0][0].register_forward_hook(lambda *_: calls.append(0))
        node = getattr(extra_nodes("nodes_easycache"), name)
        cache = {"reuse_threshold": 3.0, "start_percent": 0.4, "end_percent": 0.8, "verbose": False}
        cached = change(run_node(node, model=model, **cache)[0])
        ksample(cached, steps=16, cfg=1.0, latent=latent, callback=lambda step, *_: steps.append(len(calls)))
        return [step for step, (now, before) in enumerate(zip(steps, [1, *steps[:-1]], strict=True)) if now == before]

    expected = skipped(lambda model: model)
    assert len(expected) > 3
    assert skipped(lambda model: low_resolution(model, 0.5)) == expected
    assert skipped(lambda model: low_resolution(stitched([model, model], "0"), 0.5)) == expected


def test_a_cache_is_a_stages_own() -> None:
    """Between the sizes nothing is kept, and the second size skips steps of its own."""
    model, sizes = unet_model(), []
    block = model.model.diffusion_model.input_blocks[0][0]  # EasyCache stands between the network and its blocks
    block.register_forward_hook(lambda module, args, output: sizes.append(output.shape[-2:]))
    cache = {"reuse_threshold": 3.0, "start_percent": 0.0, "end_percent": 1.0, "verbose": False}
    cached = run_node(extra_nodes("nodes_easycache").EasyCacheNode, model=model, **cache)[0]
    joined = stitched([low_resolution(cached, 0.5), cached], pattern="1x8 2x8")
    first = ksample(joined, steps=16, cfg=1.0, latent=latent)
    assert first.isfinite().all()
    half, whole = sizes.count(torch.Size((8, 12))), sizes.count(torch.Size((16, 24)))
    assert 0 < half < 8
    assert 0 < whole < 8
    assert torch.equal(ksample(joined, steps=16, cfg=1.0, latent=latent), first)


@pytest.mark.parametrize("guaranteed", [0, 1, 3])
def test_keyframes_of_hooks_follow_the_noise_of_the_run(guaranteed: int) -> None:
    """Against models that have the strength of each step's keyframe from the start to the end."""
    frames = [(0.0, 0.2), (0.3, 1.0), (0.6, -0.5)]
    model, seen = unet_model(1), []

    def strengths(change: Callable[[Any], Any], frames: list[tuple[float, float]]) -> list[float]:
        positive = hooked(unet_model(1), frames, guaranteed)
        keyframes = positive[0][1]["hooks"].hooks[0].hook_keyframe
        seen.clear()
        ksample(
            change(model),
            steps=10,
            positive=positive,
            latent=latent,
            callback=lambda *_: seen.append(keyframes.strength),
        )
        return list(seen)

    def drawn(change: Callable[[Any], Any], frames: list[tuple[float, float]]) -> Tensor:
        return ksample(change(model), steps=10, positive=hooked(unet_model(1), frames, guaranteed), latent=latent)

    def smaller(model: Any) -> Any:
        return low_resolution(model, 0.5)

    expected = strengths(lambda model: model, frames)
    assert len(set(expected)) == 3
    assert strengths(smaller, frames) == expected
    # in a joined model each stage has hooks of its own, which must be where those of one model alone are
    alone = drawn(smaller, frames)
    both = lambda model: stitched([smaller(model), smaller(model)], pattern="1x4 2x6")  # noqa: E731
    assert torch.equal(drawn(both, frames), alone)
    below = lambda model: smaller(stitched([model, model], pattern="1x4 2x6"))  # noqa: E731
    assert torch.equal(drawn(below, frames), alone)


@pytest.mark.parametrize("memory", ["auto", "keep", "swap"])
@pytest.mark.parametrize("place", ["alone", "first", "between", "below"])
def test_controlnets_begin_and_end_at_the_noise_of_the_run(place: str, memory: str) -> None:
    model, other = unet_model(), unet_model(seed=3)

    def controlled_steps(change: Callable[[Any], Any]) -> list[int]:
        calls, steps = [0], []
        control = controlnet()
        control.control_model.register_forward_hook(lambda *_: calls.append(0))
        control.set_cond_hint(control.cond_hint_original, 0.8, (0.2, 0.7))
        positive = with_control(conditioning(0.4), control)
        sampled = change(model)
        ksample(sampled, steps=10, positive=positive, latent=latent, callback=lambda *_: steps.append(len(calls)))
        return [step for step, (now, before) in enumerate(zip(steps, [1, *steps[:-1]], strict=True)) if now > before]

    places: dict[str, Callable[[Any], Any]] = {
        "alone": lambda model: low_resolution(model, 0.5),
        "first": lambda model: stitched([low_resolution(model, 0.5), model], pattern="1x6 2x4", memory=memory),
        "between": lambda model: stitched([low_resolution(other, 0.5), model], pattern="2x2 1x6 2x2", memory=memory),
        "below": lambda model: low_resolution(stitched([other, model], pattern="1x3 2x3 1x4", memory=memory), 0.5),
    }
    expected = controlled_steps(lambda model: model)
    assert 3 < len(expected) < 8
    assert controlled_steps(places[place]) == expected


def test_a_lora_on_one_of_the_two_sizes_stays_there() -> None:
    def changed(model: Any) -> Any:
        patched = model.clone()
        weights = {key: w for key, w in model.model_state_dict().items() if key.endswith("in_layers.2.weight")}
        patched.add_patches({key: ("diff", (0.5 * w.flip(0),)) for key, w in weights.items()}, 0.6)
        return patched

    model, twin = unet_model(), unet_model()
    plain = ksample(model, steps=4, latent=latent)
    first, last = changed(model), changed(twin)  # before any is sampled: loaded weights have the LoRA in them
    for mine, apart in (
        ([low_resolution(first, 0.5), model], [low_resolution(last, 0.5), model]),
        ([low_resolution(model, 0.5), first], [low_resolution(model, 0.5), last]),
    ):
        for pattern in ("1x2 2x2", "1x1 2x1 1x1 2x1"):
            expected = ksample(stitched(apart, pattern=pattern), steps=4, latent=latent)
            assert torch.equal(ksample(stitched(mine, pattern=pattern), steps=4, latent=latent), expected)
    assert torch.equal(ksample(model, steps=4, latent=latent), plain)


@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
@pytest.mark.parametrize("denoise", [0.3, 0.7])
def test_pictures_of_a_part_of_the_run_keep_their_mean(kind: ModelType, denoise: float) -> None:
    picture = torch.full((2, 4, 10, 14), 0.4)
    picture[1] = -0.8

    def run(place: Callable[[Any], Any]) -> Tensor:
        return means(ksample(place(constant_model(kind=kind)), "dpmpp_2m", latent=picture, denoise=denoise))

    expected = run(lambda model: model)
    for place in (
        lambda model: low_resolution(model, 0.5),
        lambda model: stitched([low_resolution(model, 0.5), model], "0.8"),
    ):
        torch.testing.assert_close(run(place), expected, atol=1e-4, rtol=1e-3)


def test_latents_that_hold_several_are_refused() -> None:
    sizes = [torch.Size((1, 4, 8, 8)), torch.Size((1, 8, 16))]
    with pytest.raises(StitchError, match="a picture or a video alone"):
        check_shape(torch.zeros(1, 1, 384), sizes)


@pytest.mark.parametrize("schedule", ["standard_static", "standard_uniform", "looped_uniform"])
def test_context_windows_look_at_the_same_frames(schedule: str) -> None:
    node = extra_nodes("nodes_context_windows").ContextWindowsManualNode
    settings = {"context_length": 3, "context_overlap": 1, "context_stride": 1, "closed_loop": False, "dim": 2}
    video = torch.zeros(1, 16, 7, 8, 12)

    def run(place: Callable[[Any], Any]) -> tuple[Tensor, set[int]]:
        model = constant_model(kind=ModelType.FLOW, latent_format=WAN)
        windowed = run_node(node, model=model, context_schedule=schedule, fuse_method="pyramid", **settings)[0]
        samples = ksample(place(windowed), latent=video)
        return means(samples), {x.shape[2] for x in model.model.diffusion_model.inputs}

    expected, frames = run(lambda model: model)
    assert frames == {3}
    for place in (
        lambda model: low_resolution(model, 0.5),
        lambda model: stitched([low_resolution(model, 0.5), model], "0.5"),
    ):
        found, seen = run(place)
        assert seen == {3}
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


class KeptClean(comfy.model_base.BaseModel):
    """As LTX-Video, HunyuanVideo and Wan 2.2 5B: what a mask keeps is not noised."""

    def scale_latent_inpaint(self, latent_image: Tensor, **kwargs: Any) -> Tensor:
        return latent_image


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("place", ["alone", "twice", "first"])
def test_frames_that_a_mask_keeps_reach_the_model_as_they_are(place: str, strength: float) -> None:
    model = gaussian_model(kind=ModelType.FLOW, latent_format=WAN)
    model.model.__class__ = KeptClean
    network = model.model.diffusion_model
    video = torch.randn(1, 16, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, 1, 4, 8, 12)
    mask[:, :, 0] = 1 - strength
    half = low_resolution(model, 0.5)
    sampled = {"alone": half, "twice": low_resolution(half, 0.5), "first": stitched([half, model], "0.5")}[place]
    noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(2))

    def sample(sampled: Any) -> Tensor:
        return comfy.sample.sample(
            sampled, noise, 6, 1.0, "euler", "normal", conditioning(0.4), conditioning(-0.2), video,
            noise_mask=mask, disable_pbar=True, seed=1,
        )  # fmt: skip

    result = sample(sampled)
    between = Scaling.of((8, 12), (4, 6), torch.device("cpu"))
    clean = between.shrink(model.model.process_latent_in(video))
    for x in network.inputs:
        if x.shape[-2:] == (4, 6) and strength == 1:
            torch.testing.assert_close(x[:, :, 0], clean[:, :, 0], atol=1e-5, rtol=1e-5)
    if strength == 1:
        torch.testing.assert_close(result[:, :, 0], video[:, :, 0], atol=1e-4, rtol=1e-4)
    assert result.isfinite().all()


def test_what_a_mask_keeps_is_each_pictures_own_on_hosts_that_stretch_it_first() -> None:
    """Newer hosts give the mask in the shape of the noise."""
    model = unet_model()
    pictures = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(2, 1, 8, 12)
    mask[0, ..., :6] = 1
    mask[1, ..., 6:] = 1

    def stretch(executor: Any, noise: Any, latent_image: Any, sampler: Any, sigmas: Any, denoise_mask: Any, *rest: Any, **kwargs: Any) -> Any:  # fmt: skip # noqa: E501
        denoise_mask = comfy.sampler_helpers.prepare_mask(denoise_mask, noise.shape, noise.device)
        return executor(noise, latent_image, sampler, sigmas, denoise_mask, *rest, **kwargs)

    newer = model.clone()
    newer.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, "newer", stretch)
    found = comfy.sample.sample(
        low_resolution(newer, 0.5), torch.randn(pictures.shape), 4, 3.0, "euler", "normal",
        conditioning(0.4), conditioning(-0.2), pictures, noise_mask=mask, disable_pbar=True, seed=1,
    )  # fmt: skip
    kept = mask.expand_as(pictures) == 0
    torch.testing.assert_close(found[kept], pictures[kept], atol=1e-4, rtol=1e-4)


def test_an_inpaint_model_reads_its_picture_at_the_smaller_size() -> None:
    model = unet_model(in_channels=9)
    model.model.concat_keys = ("mask", "masked_image")
    seen: list[Tensor] = []
    model.model.diffusion_model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    picture, mask = torch.ones(1, 4, 16, 24), torch.zeros(1, 1, 16, 24)
    mask[..., 12:] = 1
    values = {"concat_latent_image": picture, "concat_mask": mask}
    positive = [[conditioning(0.4)[0][0], values]]
    noise = torch.randn(latent.shape)
    for sampled, sizes in (
        (low_resolution(model, 0.5), {(8, 12)}),
        (stitched([low_resolution(model, 0.5), model], "0.5"), {(8, 12), (16, 24)}),
    ):
        seen.clear()
        found = comfy.sample.sample(
            sampled, noise, 4, 1.0, "euler", "normal", positive, positive, latent, disable_pbar=True, seed=1
        )
        assert found.isfinite().all()
        assert {tuple(x.shape[-2:]) for x in seen} == sizes
        for x in seen:
            width = x.shape[-1]
            torch.testing.assert_close(x[:, 4, :, : width // 2], torch.zeros_like(x[:, 4, :, : width // 2]))
            torch.testing.assert_close(x[:, 4, :, width // 2 :], torch.ones_like(x[:, 4, :, width // 2 :]))


# --- Conditioning that is laid over the latent frame by frame ---------------------------------------------------------


def test_conditioning_of_the_size_of_the_frames_is_made_smaller() -> None:
    full, small = (8, 12), (4, 6)
    video = torch.randn(1, 32, 3, *full)
    entry = {
        "vace_frames": [video],
        "vace_mask": [torch.ones(1, 64, 3, *full)],
        "pose_video_latent": video,
        "camera_conditions": torch.ones(1, 24, 3, 64, 96),
        "reference_latents": [video],
        "concat_latent_image": video,
        "cross_attn": torch.ones(1, *full),
        "face_video_pixels": torch.ones(1, 3, 9, 64, 96),
        "keyframe_idxs": torch.stack(torch.meshgrid(torch.arange(2), torch.arange(8), torch.arange(12), indexing="ij"))
        .reshape(1, 3, -1),
    }  # fmt: skip
    changed = fitted(entry, full, small)
    torch.testing.assert_close(changed["vace_frames"][0], by_area(video, small))
    assert changed["vace_mask"][0].shape == (1, 64, 3, *small)
    assert changed["pose_video_latent"].shape == (1, 32, 3, *small)
    assert changed["camera_conditions"].shape == (1, 24, 3, 32, 48)
    assert changed["reference_latents"] is entry["reference_latents"]  # they have a size of their own
    assert changed["concat_latent_image"] is video  # the host sees to it
    assert changed["cross_attn"] is entry["cross_attn"]
    assert changed["face_video_pixels"] is entry["face_video_pixels"]
    # LTX-Video tells the place of every token of a guiding frame
    expected = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(4), torch.arange(6), indexing="ij"))
    assert torch.equal(changed["keyframe_idxs"], expected.reshape(1, 3, -1))
    assert entry["vace_frames"][0] is video


@pytest.mark.parametrize("kind", ["StableAudio1", "ACEAudio", "Hunyuan3Dv2"])
def test_sound_and_3d_models_are_refused_where_they_are_connected(kind: str) -> None:
    model = gaussian_model(latent_format=getattr(comfy.latent_formats, kind)())
    with pytest.raises(StitchError, match="sound or 3D"):
        low_resolution(model, 0.5)
