"""A model asked at fewer latent pixels: exact where an exact answer is known, and nothing else of the run changes."""

from __future__ import annotations

import weakref
from typing import Any

import comfy.latent_formats
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tstitch.errors import StitchError
from tstitch.resolution.fitting import by_area, fitted
from tstitch.resolution.model import check_shape, low_resolution
from tstitch.stitch.guider import StitchedGuider
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch_testing.models import conditioning, constant_model, gaussian_model
from tstitch_testing.reference import sigmas_of
from tstitch_testing.sampling import ksample, stitch_of, stitched
from tstitch_testing.unets import controlnet, unet_model, with_control

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("ignore")]

KINDS = [ModelType.EPS, ModelType.V_PREDICTION, ModelType.FLOW, ModelType.EDM]
MEMORY = ("auto", "keep", "swap")


def means(samples: Tensor) -> Tensor:
    return samples.mean(dim=(-2, -1))


SHAPES = {"even": (2, 4, 16, 16), "odd": (1, 4, 17, 23), "narrow": (1, 4, 5, 31)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("scale", [0.25, 0.5, 0.8])
def test_constant_pictures_keep_their_mean(kind: ModelType, shape: tuple[int, ...], scale: float) -> None:
    latent = torch.zeros(shape)
    full = ksample(constant_model(kind=kind), "euler", steps=6, latent=latent)
    small = ksample(low_resolution(constant_model(kind=kind), scale), "euler", steps=6, latent=latent)
    torch.testing.assert_close(means(small), means(full), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun", "lms", "uni_pc", "euler_ancestral", "res_multistep_cfg_pp"])
@pytest.mark.parametrize("place", ["alone", "first", "last", "between"])
def test_constant_pictures_keep_their_mean_in_every_place(sampler: str, place: str) -> None:
    def places(model: Any) -> Any:
        reduced = low_resolution(model, 0.5)
        other = constant_model(0.1, 0.4)
        return {
            "alone": reduced,
            "first": stitched([reduced, other]),
            "last": stitched([other, reduced]),
            "between": stitched([other, reduced, model], pattern="1x2 2x3 3x3"),
        }[place]

    def plain(model: Any) -> Any:
        other = constant_model(0.1, 0.4)
        return {
            "alone": model,
            "first": stitched([model, other]),
            "last": stitched([other, model]),
            "between": stitched([other, model, model], pattern="1x2 2x3 3x3"),
        }[place]

    latent = torch.zeros(1, 4, 10, 13)
    found = ksample(places(constant_model()), sampler, steps=8, latent=latent)
    expected = ksample(plain(constant_model()), sampler, steps=8, latent=latent)
    torch.testing.assert_close(means(found), means(expected), atol=1e-4, rtol=1e-3)


def test_video_is_made_smaller_by_frame() -> None:
    latent, wan = torch.zeros(1, 16, 3, 9, 12), comfy.latent_formats.Wan21()
    full = ksample(constant_model(kind=ModelType.FLOW, latent_format=wan), latent=latent)
    model = constant_model(kind=ModelType.FLOW, latent_format=wan)
    found = ksample(low_resolution(model, 0.5), latent=latent)
    torch.testing.assert_close(means(found), means(full), atol=1e-4, rtol=1e-4)
    assert {tuple(x.shape[2:]) for x in model.model.diffusion_model.inputs} == {(3, 5, 6)}


def test_conditioning_begins_and_ends_at_the_noise_of_the_run() -> None:
    positive = [
        [conditioning(0.9)[0][0], {"start_percent": 0.0, "end_percent": 0.45}],
        [conditioning(-0.7)[0][0], {"start_percent": 0.45, "end_percent": 1.0}],
    ]
    for kind in (ModelType.EPS, ModelType.FLOW):
        full = ksample(constant_model(kind=kind), steps=12, positive=positive)
        found = ksample(low_resolution(constant_model(kind=kind), 0.5), steps=12, positive=positive)
        torch.testing.assert_close(means(found), means(full), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sampler", comfy.samplers.KSampler.SAMPLERS)
def test_full_scale_is_bit_exact(sampler: str) -> None:
    assert torch.equal(
        ksample(low_resolution(gaussian_model(), 1.0), sampler, steps=4), ksample(gaussian_model(), sampler, steps=4)
    )
    # a size that rounds to the whole
    assert torch.equal(
        ksample(low_resolution(gaussian_model(), 0.95), sampler, steps=4), ksample(gaussian_model(), sampler, steps=4)
    )


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m_sde", "euler_cfg_pp"])
def test_fractions_zero_and_one_are_the_models_alone(sampler: str, memory: str) -> None:
    large, latent = unet_model(), torch.zeros(1, 4, 10, 13)
    alone = ksample(large, sampler, steps=4, latent=latent)
    reduced = ksample(low_resolution(large, 0.5), sampler, steps=4, latent=latent)
    assert not torch.equal(alone, reduced)
    for fraction, expected in (("0", alone), ("1", reduced)):
        joined = stitched([low_resolution(large, 0.5), large], fraction, memory=memory)
        assert torch.equal(ksample(joined, sampler, steps=4, latent=latent), expected)
    assert torch.equal(ksample(large, sampler, steps=4, latent=latent), alone)


@pytest.mark.parametrize("sampler", comfy.samplers.KSampler.SAMPLERS)
def test_every_sampler_runs_on_odd_sizes(sampler: str) -> None:
    large = unet_model()
    found = ksample(stitched([low_resolution(large, 0.5), large]), sampler, steps=4, latent=torch.zeros(1, 4, 9, 11))
    assert found.shape == (1, 4, 9, 11)
    assert found.isfinite().all()


def test_stitches_nest_both_ways() -> None:
    latent = torch.zeros(1, 4, 8, 12)
    small, large = constant_model(0.1, 0.4), constant_model()
    expected = means(ksample(stitched([small, large], pattern="1x3 2x5"), "dpmpp_2m", latent=latent))
    inside = low_resolution(stitched([small, large], pattern="1x3 2x5"), 0.5)
    torch.testing.assert_close(means(ksample(inside, "dpmpp_2m", latent=latent)), expected, atol=1e-4, rtol=1e-3)
    outer = stitched([inside, large], pattern="1x6 2x2")
    torch.testing.assert_close(means(ksample(outer, "dpmpp_2m", latent=latent)), expected, atol=1e-4, rtol=1e-3)
    twice = low_resolution(low_resolution(large, 0.5), 0.5)
    plain = means(ksample(large, latent=latent))
    torch.testing.assert_close(means(ksample(twice, latent=latent)), plain, atol=1e-4, rtol=1e-3)


def test_guiders_take_it_as_a_stage() -> None:
    large, latent = constant_model(), torch.zeros(1, 4, 8, 12)

    def run(first: Any) -> Tensor:
        guiders = []
        for model in (first, large):
            guider = comfy.samplers.CFGGuider(model)
            guider.set_conds(conditioning(0.4), conditioning(-0.2))
            guider.set_cfg(3.0)
            guiders.append(guider)
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(1))
        sampler, sigmas = comfy.samplers.sampler_object("euler"), sigmas_of(large, "euler", steps=6)
        joined = StitchedGuider(guiders[1], guiders[:1], stitch_of(2))
        return joined.sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=1)

    torch.testing.assert_close(means(run(low_resolution(large, 0.5))), means(run(large.clone())), atol=1e-4, rtol=1e-3)


def test_the_two_sizes_share_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    large = unet_model()
    key = "diffusion_model.out.2.weight"
    large.add_patches({key: (torch.ones_like(large.model.state_dict()[key]),)}, 0.1)
    patched: list[str] = []
    original = comfy.model_patcher.ModelPatcher.patch_weight_to_device

    def counting(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        patched.append(name)
        return original(self, name, *args, **kwargs)

    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "patch_weight_to_device", counting)
    ksample(stitched([low_resolution(large, 0.5), large]), steps=4, latent=torch.zeros(1, 4, 8, 8))
    assert patched.count(key) <= 1


class LiveBytes(TorchDispatchMode):
    """The most bytes of new tensors that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **kwargs or {})
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, address, size)

    def _freed(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.now -= size


@pytest.mark.parametrize("memory", MEMORY)
def test_the_peak_of_memory_is_that_of_the_large_model_and_two_latents(memory: str) -> None:
    large, latent = unet_model(), torch.zeros(4, 4, 64, 64)

    def peak(model: Any) -> int:
        ksample(model, steps=4, latent=latent)  # what is kept from the first run on
        with LiveBytes() as live:
            ksample(model, steps=4, latent=latent)
        return live.peak

    joined = stitched([low_resolution(large, 0.5), large], memory=memory)
    assert peak(joined) <= peak(large) + 2 * latent.nbytes


def test_controlnets_masks_and_img2img_run() -> None:
    large, latent = unet_model(), torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(2))
    positive = with_control(conditioning(0.4), controlnet())
    mask = torch.zeros(1, 64, 96)
    mask[..., 48:] = 1
    joined = stitched([low_resolution(large, 0.5), large])
    kept = comfy.sample.sample(
        *(joined, torch.randn(latent.shape), 6, 3.0, "euler", "normal"),
        *(positive, conditioning(-0.2), latent),
        noise_mask=mask,
        disable_pbar=True,
        seed=1,
    )
    torch.testing.assert_close(kept[..., :6], latent[..., :6], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(kept[..., 6:], latent[..., 6:])


def test_areas_and_boxes_are_counted_at_the_smaller_size() -> None:
    entry = {"area": (8, 6, 4, 2), "gligen": ("position", None, [("text", 8, 6, 4, 2)])}
    changed = fitted(entry, (16, 12), (8, 6))
    assert changed["area"] == (4, 3, 2, 1)
    assert changed["gligen"] == ("position", None, [("text", 4, 3, 2, 1)])
    assert fitted({"area": ("percentage", 0.5, 0.5, 0, 0)}, (16, 12), (8, 6))["area"][0] == "percentage"
    assert fitted({"area": (3, 8, 6, 1, 4, 2)}, (16, 12), (8, 6))["area"] == (3, 4, 3, 1, 2, 1)
    assert entry["area"] == (8, 6, 4, 2)


def test_a_mask_is_averaged_by_area() -> None:
    mask = torch.zeros(1, 8, 8)
    mask[:, :, 5:] = 1
    assert by_area(mask, (2, 2)).tolist() == [[[0.0, 0.75], [0.0, 0.75]]]


def test_a_run_that_is_stopped_leaves_the_model_as_it_was() -> None:
    large, latent = unet_model(), torch.zeros(1, 4, 8, 12)
    before = ksample(large, steps=4, latent=latent)
    joined = stitched([low_resolution(large, 0.5), large])
    for stop in range(4):

        def callback(step: int, *_: Any, stop: int = stop) -> None:
            if step == stop:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            ksample(joined, steps=4, latent=latent, callback=callback)
        assert torch.equal(ksample(large, steps=4, latent=latent), before)


def test_the_report_tells_the_size() -> None:
    large, stitch = gaussian_model(), stitch_of(2)
    joined = stitch_model(large, [ModelStage(low_resolution(large, 0.5))], stitch)
    ksample(joined, latent=torch.zeros(1, 4, 10, 13))
    first, last = stitch.report.to_dict()["stages"]
    assert first["latent_size"] == [5, 7]
    assert "latent_size" not in last


@pytest.mark.parametrize(
    ("scale", "words"), [(0.1, "scale goes from 0.25 to 1"), (2, "got 2"), (float("nan"), "nan"), ("x", "'x'")]
)
def test_a_scale_outside_the_range_is_refused(scale: Any, words: str) -> None:
    with pytest.raises(StitchError, match=words):
        low_resolution(gaussian_model(), scale)


def test_models_that_cannot_be_made_smaller_are_refused() -> None:
    with pytest.raises(StitchError, match="STABLE_CASCADE"):
        low_resolution(gaussian_model(kind=ModelType.STABLE_CASCADE), 0.5)
    with pytest.raises(StitchError, match="not a MODEL"):
        low_resolution(None, 0.5)


def test_latents_without_height_and_width_are_refused_before_anything_runs() -> None:
    with pytest.raises(StitchError, match="height and width"):
        check_shape(torch.zeros(1, 64, 20), ())
    tiny = gaussian_model()
    with pytest.raises(StitchError, match="less than one value"):
        ksample(stitched([low_resolution(tiny, 0.25), tiny]), latent=torch.zeros(1, 4, 3, 8))


def test_a_fraction_counts_on_the_run_itself_below_a_lower_resolution() -> None:
    small, large, latent = constant_model(0.1, 0.4), constant_model(), torch.zeros(1, 4, 8, 12)
    inside = low_resolution(stitched([small, large], "0.5"), 0.5)
    ksample(inside, steps=8, latent=latent)
    assert (len(small.model.diffusion_model.calls), len(large.model.diffusion_model.calls)) == (4, 4)
