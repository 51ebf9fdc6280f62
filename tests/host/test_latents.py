"""Latents of every shape, masks and second passes."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.host.latents import samples_for
from tstitch_testing.halves import cfg_guider, halves, normal_sigmas, whole
from tstitch_testing.models import calls_of, gaussian_model
from tstitch_testing.sampling import ksample, stitched
from tstitch_testing.unets import unet_model

FORMATS = {
    "sd15": (comfy.latent_formats.SD15, (2, 4, 8, 8)),
    "sdxl_wide": (comfy.latent_formats.SDXL, (1, 4, 6, 14)),
    "odd": (comfy.latent_formats.SD15, (3, 4, 7, 5)),
    "one_pixel": (comfy.latent_formats.SD15, (1, 4, 1, 1)),
    "flux_16": (comfy.latent_formats.Flux, (2, 16, 6, 4)),
    "cascade_free_32": (comfy.latent_formats.LatentFormat, (1, 32, 5, 7)),
    "wan_video": (comfy.latent_formats.Wan21, (1, 16, 3, 6, 4)),
    "ltx_video": (comfy.latent_formats.LTXV, (1, 128, 2, 3, 5)),
}


def format_of(name: str) -> tuple[Any, Tensor]:
    kind, shape = FORMATS[name]
    latent_format = kind()
    latent_format.latent_channels, latent_format.latent_dimensions = shape[1], len(shape) - 2
    return latent_format, torch.zeros(shape)


def image(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("sampler", "denoise"), [("dpmpp_2m_sde", 1.0), ("dpmpp_2m", 0.5)])
def test_latents_of_every_shape(name: str, sampler: str, denoise: float) -> None:
    latent_format, latent = format_of(name)
    kind = ModelType.FLOW if name in ("flux_16", "wan_video") else ModelType.EPS
    model = gaussian_model(kind=kind, latent_format=latent_format)
    twin = gaussian_model(kind=kind, latent_format=latent_format)
    options = {"latent": latent if denoise == 1.0 else image(tuple(latent.shape)), "denoise": denoise}
    expected = ksample(model, sampler, **options)
    assert torch.equal(ksample(stitched([model.clone(), model]), sampler, **options), expected)
    assert torch.equal(ksample(stitched([twin, model], pattern="1x4 2x4"), sampler, **options), expected)


MASKS = {
    "soft": lambda: torch.rand(1, 1, 12, 10, generator=torch.Generator().manual_seed(0)),
    "hard": lambda: (torch.arange(60).reshape(1, 1, 6, 10) % 3 == 0).float(),
    "one_for_each": lambda: torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("sampler", "kind"),
    [("dpmpp_2m_sde", ModelType.EPS), ("ddim", ModelType.EPS), ("uni_pc", ModelType.EPS), ("dpmpp_2m", ModelType.FLOW)],
    ids=str,
)
def test_inpainting_by_mask(mask: str, sampler: str, kind: ModelType) -> None:
    models = [gaussian_model(kind=kind), gaussian_model(kind=kind)]
    latent, noise_mask = image((2, 4, 6, 5)), MASKS[mask]()
    expected = ksample(models[1], sampler, latent=latent, noise_mask=noise_mask)
    for stages in (models, [models[1].clone(), models[1]]):
        assert torch.equal(ksample(stitched(stages), sampler, latent=latent, noise_mask=noise_mask), expected)


def test_inpainting_with_two_models() -> None:
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)]
    latent, mask = image((2, 4, 6, 5)), MASKS["soft"]()
    sigmas = normal_sigmas(models[1], 8)
    guiders = [cfg_guider(model) for model in models]
    expected = halves(guiders, [4], latent, sigmas, denoise_mask=mask)
    model = stitched(models, pattern="1x4 2x4")
    assert torch.equal(whole(cfg_guider(model), latent, sigmas, denoise_mask=mask), expected)


@pytest.mark.parametrize("which", [(9, 9), (4, 9), (9, 4)], ids=["both", "last", "first"])
def test_inpaint_models_get_their_own_channels(which: tuple[int, int]) -> None:
    """A model with 9 input channels takes the mask and the masked image in beside the latent."""
    models = [unet_model(seed, in_channels=channels) for seed, channels in enumerate(which, 1)]
    for model in models:
        if model.model.diffusion_model.input_blocks[0][0].weight.shape[1] == 9:
            model.model.concat_keys = ("mask", "masked_image")
    latent, mask = image((1, 4, 8, 8)), MASKS["hard"]()
    extra = {"concat_latent_image": image((1, 4, 8, 8)) * 0.5, "concat_mask": mask}
    positive = [[torch.full((1, 3, 5), 0.4), extra]]
    negative = [[torch.full((1, 3, 5), -0.2), extra]]
    sigmas = normal_sigmas(models[1], 4)
    guiders = [cfg_guider(model, positive=positive, negative=negative) for model in models]
    expected = halves(guiders, [2], latent, sigmas, denoise_mask=mask)
    guider = cfg_guider(stitched(models, pattern="1x2 2x2"), positive=positive, negative=negative)
    assert torch.equal(whole(guider, latent, sigmas, denoise_mask=mask), expected)


def test_batch_index_chooses_the_same_noise() -> None:
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)]
    latent, sigmas = torch.zeros(4, 4, 6, 5), normal_sigmas(models[1], 8)

    def run(latent: Tensor, batch_index: list[int] | None) -> Tensor:
        noise = comfy.sample.prepare_noise(latent, 1, batch_index)
        sampler = comfy.samplers.sampler_object("dpmpp_2m")
        guider = cfg_guider(stitched(models, pattern="1x4 2x4"))
        return guider.sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=1)

    every = run(latent, [0, 1, 2, 3])
    chosen = run(latent[:2], [3, 1])
    torch.testing.assert_close(chosen, every[[3, 1]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("denoise", [0.8, 0.5, 0.3])
@pytest.mark.parametrize("sampler", ["dpmpp_2m_sde"])
def test_a_second_pass_keeps_the_small_model_to_the_high_noise(sampler: str, denoise: float) -> None:
    """A fraction is one of the whole noise range: a pass that starts below it is the large model's alone."""
    small, large = gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)
    first = ksample(stitched([small, large]), sampler, scheduler="normal")
    wide = torch.nn.functional.interpolate(first, scale_factor=2, mode="nearest")
    calls_of(small).clear()
    second = ksample(stitched([small, large], "0.4"), sampler, scheduler="normal", latent=wide, denoise=denoise)
    split = float(large.get_model_object("model_sampling").percent_to_sigma(0.4))
    assert all(sigma > split * (1 - 1e-4) for sigma in calls_of(small))
    assert bool(calls_of(small)) == (denoise > 0.6)
    if denoise <= 0.5:
        assert torch.equal(second, ksample(large, sampler, scheduler="normal", latent=wide, denoise=denoise))


def nested_tensor(*parts: Tensor) -> Any:
    return pytest.importorskip("comfy.nested_tensor", reason="the host packs no latents").NestedTensor(parts)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_ancestral"])
def test_packed_latents(sampler: str) -> None:
    """Sound and picture in one latent, as newer hosts sample them."""
    latent = nested_tensor(torch.zeros(1, 4, 3, 6, 5), torch.zeros(1, 4, 2, 3, 2))
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)]
    sigmas = normal_sigmas(models[1], 6)

    def run(model: Any) -> list[Tensor]:
        return list(whole(cfg_guider(model), latent, sigmas, sampler=sampler).unbind())

    one = [run(stitched([models[1].clone(), models[1]])), run(models[1])]
    assert all(torch.equal(ours, stock) for ours, stock in zip(*one, strict=True))
    two = run(stitched(models, pattern="1x3 2x3"))
    assert [part.shape for part in two] == [part.shape for part in latent.unbind()]
    assert not torch.equal(two[0], one[1][0])


def test_sound_that_is_carried_at_another_scale_is_refused() -> None:
    """As of two MiniMax H3 models with shifts of their own; a picture without sound is not concerned."""
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)]
    for model, scale in zip(models, (4.0, 2.5), strict=True):
        model.model.model_sampling.audio_scale = scale
    picture, sound = torch.zeros(1, 4, 3, 6, 5), torch.zeros(1, 4, 2, 3, 2)
    sigmas = normal_sigmas(models[1], 6)
    with pytest.raises(StitchError, match=r"model_1 .* 4 times .* final_model 2\.5 times"):
        whole(cfg_guider(stitched(models)), nested_tensor(picture, sound), sigmas)
    whole(cfg_guider(stitched(models)), picture, sigmas)
    models[0].model.model_sampling.audio_scale = 2.5
    whole(cfg_guider(stitched(models)), nested_tensor(picture, sound), sigmas)


def test_the_memory_of_packed_latents_is_counted_as_by_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    latent = nested_tensor(torch.zeros(1, 4, 3, 6, 5), torch.zeros(1, 4, 2, 3, 2))
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)]
    original, shapes = models[0].model.__class__.memory_required, []

    def memory_required(model: Any, input_shape: Any, *args: Any, **kwargs: Any) -> Any:
        shapes.append(tuple(input_shape))
        return original(model, input_shape, *args, **kwargs)

    monkeypatch.setattr(models[0].model.__class__, "memory_required", memory_required)
    whole(cfg_guider(models[1]), latent, normal_sigmas(models[1], 6))
    stock = set(shapes)
    shapes.clear()
    whole(cfg_guider(stitched(models)), latent, normal_sigmas(models[1], 6))
    assert set(shapes) == stock


@pytest.mark.parametrize("splits", ["0", "0.5", "1"])
def test_a_callback_is_told_of_packed_latents_as_by_the_host(splits: str) -> None:
    latent = nested_tensor(torch.zeros(1, 4, 3, 6, 5), torch.zeros(1, 4, 2, 3, 2))
    models = [gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)]

    def told(model: Any) -> list[tuple[int, type, type, int]]:
        seen = []

        def callback(step: int, denoised: Any, x: Any, total_steps: int) -> None:
            seen.append((step, type(denoised), type(x), total_steps))

        whole(cfg_guider(model), latent, normal_sigmas(models[1], 6), callback=callback)
        return seen

    assert told(stitched(models, splits)) == told(models[1])


def test_empty_latents_get_the_channels_and_frames_of_the_model() -> None:
    """With what newer hosts note beside an empty latent too, and hosts that know nothing of it."""
    video = gaussian_model(latent_format=comfy.latent_formats.Wan21())
    latent = {"samples": torch.zeros(2, 4, 6, 5), "downscale_ratio_spacial": 8}
    expected = (2, 16, 1, 6, 5)
    assert samples_for(video, {"samples": latent["samples"]}).shape == samples_for(video, latent).shape == expected


def test_what_newer_hosts_note_beside_an_empty_latent_reaches_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(model: Any, latent_image: Tensor, downscale_ratio_spacial: int | None = None) -> tuple[Any, ...]:
        return model, latent_image, downscale_ratio_spacial

    monkeypatch.setattr(comfy.sample, "fix_empty_latent_channels", fit)
    samples = torch.zeros(1)
    assert samples_for("model", {"samples": samples}) == ("model", samples, None)
    noted = {"samples": samples, "downscale_ratio_spacial": 16, "downscale_ratio_temporal": 4, "batch_index": [0]}
    assert samples_for("model", noted) == ("model", samples, 16)
