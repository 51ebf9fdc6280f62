"""Models of different parameterizations in one loop, proved on a Gaussian whose denoiser is known exactly."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_sampling
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor

from tstitch.host.noise_levels import conversion, mixing, same_mixing, warn_once
from tstitch.schedule import parse_pattern
from tstitch.stitch.guider import StitchedGuider
from tstitch.trajectory import FullSchedule
from tstitch_testing.models import calls_of, conditioning, gaussian_model, patcher_of
from tstitch_testing.sampling import stitch_of, stitched

#: Noise to signal: every kind reaches these levels, so nothing is clamped.
RATIOS = (10.0, 5.0, 2.5, 1.2, 0.6, 0.3, 0.1, 0.0)
TOLERANCE = 1e-4


def x0_model(mean: float, std: float) -> Any:
    class X0Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.X0):
        pass

    model = gaussian_model(mean, std).model
    model.model_sampling = X0Sampling(model.model_config)
    return patcher_of(model)


def kind_of(kind: ModelType, **settings: Any) -> Callable[[float, float], Any]:
    return lambda mean, std: gaussian_model(mean, std, kind, **settings)


KINDS: dict[str, Callable[[float, float], Any]] = {
    "eps": kind_of(ModelType.EPS),
    "v": kind_of(ModelType.V_PREDICTION),
    "x0": x0_model,
    "edm": kind_of(ModelType.EDM, sigma_data=0.5),
    "v-edm": kind_of(ModelType.V_PREDICTION_EDM),
    "v-continuous": kind_of(ModelType.V_PREDICTION_CONTINUOUS, sigma_max=500.0),
    "flow": kind_of(ModelType.FLOW, shift=3.0),
    "flux": kind_of(ModelType.FLUX, shift=1.15),
    "cosmos": kind_of(ModelType.FLOW_COSMOS, sigma_max=80.0),
}
FLOWS = ("flow", "flux")
PAIRS = [pytest.param(lead, stage, id=f"{stage} in {lead}") for lead, stage in itertools.product(KINDS, KINDS)]


def sigmas_of(kind: str) -> Tensor:
    return torch.tensor([ratio / (1 + ratio) if kind in FLOWS else ratio for ratio in RATIOS])


def sample(model: Any, sigmas: Tensor, sampler: str = "dpmpp_2m", mask: Tensor | None = None) -> Tensor:
    latent = torch.linspace(-1, 1, 240).reshape(2, 4, 6, 5)
    return comfy.sample.sample_custom(
        model,
        comfy.sample.prepare_noise(latent, 1),
        3.0,
        comfy.samplers.sampler_object(sampler),
        sigmas,
        conditioning(0.4),
        conditioning(-0.2),
        latent,
        noise_mask=mask,
        disable_pbar=True,
        seed=1,
    )


def joined(models: list[Any], pattern: str = "", **options: Any) -> Any:
    """Whose pattern counts the steps of the run, though its levels begin below the noisiest of some kinds."""
    whole = FullSchedule(sum(steps for _, steps in parse_pattern(pattern, len(models)))) if pattern else None
    return stitched(models, pattern=pattern, full_schedule=whole, **options)


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("lead", "stage"), PAIRS)
def test_a_stage_of_another_kind_changes_nothing(lead: str, stage: str) -> None:
    """The large model leads in both runs; the small one is the same Gaussian in its kind, and in the lead's."""
    sigmas = sigmas_of(lead)
    early, late = "1x3 2x4", "2x3 1x4"  # late: at low noise, where the result hangs on the factor of x
    for sampler, pattern in (("dpmpp_2m", early), ("heun", early), ("euler_ancestral", early), ("euler", late)):
        large = KINDS[lead](0.6, 0.9)
        expected = sample(joined([KINDS[lead](0.1, 0.5), large], pattern=pattern), sigmas, sampler)
        small = KINDS[stage](0.1, 0.5)
        found = sample(joined([small, large], pattern=pattern), sigmas, sampler)
        assert relative_difference(found, expected) < TOLERANCE
        assert calls_of(small)


@pytest.mark.parametrize(("lead", "stage"), PAIRS)
def test_kinds_may_take_turns(lead: str, stage: str) -> None:
    large, pattern = KINDS[lead](0.6, 0.9), "3x1 1x1 2x2 1x1 2x1 3x1"
    alike = [KINDS[lead](0.1, 0.5), KINDS[lead](0.3, 0.7), large]
    mixed = [KINDS[stage](0.1, 0.5), KINDS[lead](0.3, 0.7), large]
    found, expected = (sample(joined(models, pattern=pattern), sigmas_of(lead)) for models in (mixed, alike))
    assert relative_difference(found, expected) < TOLERANCE


@pytest.mark.parametrize(("lead", "stage"), [("flow", "eps"), ("eps", "flow"), ("flux", "cosmos")])
def test_a_noise_mask_is_applied_in_the_coordinates_of_the_lead(lead: str, stage: str) -> None:
    mask = (torch.arange(30) % 3 != 0).float().reshape(1, 1, 6, 5)
    large = KINDS[lead](0.6, 0.9)
    mixed, alike = (
        sample(joined([KINDS[kind](0.1, 0.5), large]), sigmas_of(lead), mask=mask) for kind in (stage, lead)
    )
    assert relative_difference(mixed, alike) < TOLERANCE


@pytest.mark.parametrize(("lead", "stage"), PAIRS)
def test_fraction_1_is_the_small_model_alone_at_the_same_noise(lead: str, stage: str) -> None:
    found = sample(joined([KINDS[stage](0.1, 0.5), KINDS[lead](0.6, 0.9)], pattern="1x7"), sigmas_of(lead))
    expected = sample(KINDS[stage](0.1, 0.5), sigmas_of(stage))
    assert relative_difference(found, expected) < TOLERANCE


@pytest.mark.parametrize(("lead", "stage"), PAIRS)
def test_the_stage_sees_its_own_levels(lead: str, stage: str) -> None:
    """All of the run; in the first call of a later stage, those from there on, for caches that begin with a run."""
    small, large = KINDS[stage](0.1, 0.5), KINDS[lead](0.6, 0.9)
    sample(joined([small, large], pattern="1x3 2x4"), sigmas_of(lead), "euler")
    levels = sigmas_of(stage)
    assert calls_of(small) == pytest.approx(levels[:3].tolist(), rel=1e-6)
    assert calls_of(large) == sigmas_of(lead)[3:-1].tolist()
    for seen in small.model.diffusion_model.sample_sigmas:
        assert torch.allclose(seen, levels, rtol=1e-6)
    first, *others = large.model.diffusion_model.sample_sigmas
    assert torch.equal(first[:5], sigmas_of(lead)[3:])
    assert len(others) == 3
    for seen in others:
        assert torch.equal(seen, sigmas_of(lead))


class SpyGuider(comfy.samplers.CFGGuider):
    """Notes the storage of what reaches it."""

    def predict_noise(self, x: Tensor, timestep: Tensor, model_options: Any = None, seed: int | None = None) -> Tensor:
        options = (model_options or {})["transformer_options"]
        self.seen.append((x.data_ptr(), timestep.data_ptr(), options["sample_sigmas"].data_ptr()))
        return super().predict_noise(x, timestep, model_options, seed)

    @classmethod
    def of(cls, model: Any, seen: list[Any]) -> SpyGuider:
        guider = cls(model)
        guider.set_conds(conditioning(0.4), conditioning(-0.2))
        guider.seen = seen
        return guider


@pytest.mark.parametrize(
    ("lead", "stage", "alike"),
    [
        *[("eps", kind, True) for kind in ("eps", "v", "x0", "edm", "v-edm", "cosmos")],
        ("flow", "flux", True),
        ("eps", "flow", False),
        ("flow", "eps", False),
    ],
)
def test_the_input_reaches_a_stage_of_equal_parameterization_as_it_is(lead: str, stage: str, alike: bool) -> None:
    """Same storage: no conversion and no copy of the latent, of its level, or of the list of levels."""
    sent: list[int] = []
    seen: list[tuple[int, int, int]] = []

    def euler(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any, callback: Any, disable: bool) -> Tensor:
        levels = [sigma * x.new_ones([x.shape[0]]) for sigma in sigmas]  # kept, so that no storage is used twice
        for level, following in itertools.pairwise(levels):
            sent.append((x.data_ptr(), level.data_ptr(), sigmas.data_ptr()))
            denoised = model(x, level, **extra_args)
            kept.append(x)
            x = denoised + (x - denoised) * (following / level).reshape(-1, 1, 1, 1)
        return x

    kept: list[Tensor] = []
    guiders = [SpyGuider.of(KINDS[kind](0.1, 0.5), seen) for kind in (stage, lead)]
    latent = torch.zeros(2, 4, 6, 5)
    StitchedGuider(guiders[1], guiders[:1], stitch_of(2, pattern="1x3 2x4", full_schedule=FullSchedule(7))).sample(
        comfy.sample.prepare_noise(latent, 1), latent, comfy.samplers.KSAMPLER(euler), sigmas_of(lead), seed=1
    )
    assert len(seen) == len(RATIOS) - 1
    assert seen[3:] == sent[3:], "the leading stage"
    if alike:
        assert seen[:3] == sent[:3]
    else:
        assert all(a != b for got, gave in zip(seen[:3], sent[:3], strict=True) for a, b in zip(got, gave, strict=True))


def zero_terminal_snr(mean: float, std: float) -> Any:
    return gaussian_model(mean, std, zsnr=True)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], Sequence[str]]:
    warn_once.cache_clear()
    caplog.set_level(logging.WARNING, "tstitch")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "tstitch"]


def test_levels_beyond_a_stage_are_clamped_and_said_once(warnings: Callable[[], Sequence[str]]) -> None:
    small, large = gaussian_model(0.1, 0.5), zero_terminal_snr(0.6, 0.9)
    top, sigmas = float(small.model.model_sampling.sigma_max), torch.tensor([4000.0, 40.0, 8.0, 2.0, 0.5, 0.0])
    for _ in range(2):
        sample(joined([small, large], pattern="1x3 2x2"), sigmas, "euler")
        assert calls_of(small) == pytest.approx([top, top, 8.0])
        calls_of(small).clear()
    assert torch.allclose(small.model.diffusion_model.sample_sigmas[0], torch.tensor([top, top, 8.0, 2.0, 0.5, 0.0]))
    assert calls_of(large) == [2.0, 0.5] * 2
    (warning,) = warnings()
    assert warning == (
        f"model_1 knows noise up to sigma {top:g} only, the schedule starts at 4000: its first steps run at its own"
        " maximum."
    )


@pytest.mark.parametrize(
    ("final", "levels", "own"),
    [
        ("zsnr", [4000.0, 400.0, 40.0, 2.0, 0.5, 0.0], [4000.0, 400.0, 40.0, 2.0, 0.5, 0.0]),
        ("flow", [1.0, 0.99, 0.98, 0.7, 0.4, 0.0], [990.0, 99.0, 49.0, 7 / 3, 2 / 3, 0.0]),
    ],
)
def test_a_solver_is_given_no_step_of_no_length(final: str, levels: list[float], own: list[float]) -> None:
    """Two and more levels beyond the only model in use: clamped to one, they made dpmpp_2m divide by zero."""
    small = gaussian_model(0.1, 0.5)
    large = zero_terminal_snr(0.6, 0.9) if final == "zsnr" else KINDS["flow"](0.6, 0.9)
    found = sample(joined([small, large], pattern="1x5"), torch.tensor(levels))
    assert relative_difference(found, sample(small, torch.tensor(own))) < 1e-4


def test_the_noise_keeps_its_scale_where_a_level_is_clamped() -> None:
    """At sigma 4000 the latent is 4000 noise; the stage gets it as noise of its own maximum."""
    stage, lead = gaussian_model(0.1, 0.5).model, zero_terminal_snr(0.6, 0.9).model
    change = conversion(lead.model_sampling, stage.model_sampling, [4000.0, 1.0, 0.0], "model_1")
    assert change is not None
    top = float(stage.model_sampling.sigma_max)
    assert change(4000.0) == pytest.approx((top, top / 4000))
    assert change(1.0) == pytest.approx((1.0, 1.0))
    assert change(0.0) == (0.0, 1.0)


def test_a_stage_that_reaches_further_than_the_lead_needs_no_change(warnings: Callable[[], Sequence[str]]) -> None:
    narrow, wide = gaussian_model().model.model_sampling, zero_terminal_snr(0.1, 0.5).model.model_sampling
    assert conversion(narrow, wide, [14.6, 1.0, 0.0], "model_1") is None
    assert conversion(wide, narrow, [14.6, 1.0, 0.0], "model_1") is None
    assert not warnings()


@pytest.mark.parametrize("stage", ["eps", "v", "x0", "edm", "cosmos"])
def test_pure_noise_of_a_flow_is_the_noisiest_level_of_the_stage(stage: str) -> None:
    """t = 1 has no finite ratio of noise to signal."""
    small, large = KINDS[stage](0.1, 0.5), KINDS["flow"](0.6, 0.9)
    sigmas = torch.tensor([1.0, 0.9, 0.7, 0.4, 0.0])
    found = sample(joined([small, large], pattern="1x2 2x2"), sigmas, "euler")
    assert torch.isfinite(found).all()
    top = float(small.model.model_sampling.sigma_max)
    assert calls_of(small) == pytest.approx([top, 9.0], rel=1e-5)

    latent = torch.linspace(-1, 1, 240).reshape(2, 4, 6, 5)
    noise = comfy.sample.prepare_noise(latent, 1)
    level = small.model.diffusion_model.inputs[0].new_tensor([top])
    expected = small.model.model_sampling.calculate_input(level, noise * top)
    assert torch.allclose(small.model.diffusion_model.inputs[0][:2].cpu(), expected.cpu(), rtol=1e-5)


@pytest.mark.parametrize("stage", ["flow", "flux"])
def test_the_noisiest_level_of_a_discrete_model_is_below_t_1(stage: str) -> None:
    small, large = KINDS[stage](0.1, 0.5), KINDS["eps"](0.6, 0.9)
    top = float(large.model.model_sampling.sigma_max)
    sample(joined([small, large], pattern="1x1 2x1"), torch.tensor([top, 1.0, 0.0]), "euler")
    assert calls_of(small) == pytest.approx([top / (1 + top)], rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mixture_is_read_from_the_host(kind: str) -> None:
    """x = a x0 + b noise, by the model's own noise_scaling."""
    sampling = KINDS[kind](0.1, 0.5).model.model_sampling
    for sigma in (0.1, 0.5, 0.9):
        assert mixing(sampling, sigma) == pytest.approx((1 - sigma if kind in FLOWS else 1.0, sigma), rel=1e-12)
        x0, noise = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(0)).unbind()
        a, b = mixing(sampling, sigma)
        mixed = sampling.noise_scaling(torch.tensor([sigma]), noise.clone(), x0.clone())
        assert torch.allclose(a * x0 + b * noise, mixed, atol=1e-6)
    assert same_mixing(sampling, KINDS["flow" if kind in FLOWS else "eps"](0.1, 0.5).model.model_sampling)
    assert not same_mixing(sampling, KINDS["eps" if kind in FLOWS else "flow"](0.1, 0.5).model.model_sampling)


class CosineSampling(comfy.model_sampling.ModelSamplingContinuousEDM, comfy.model_sampling.X0):
    """A mixture that no host class has: x = cos(u) x0 + sin(u) noise with u = sigma, sigma in (0, pi / 2)."""

    def calculate_input(self, sigma: Tensor, noise: Tensor) -> Tensor:
        return noise

    def noise_scaling(self, sigma: Tensor, noise: Tensor, latent_image: Tensor, max_denoise: bool = False) -> Tensor:
        return torch.cos(sigma) * latent_image + torch.sin(sigma) * noise

    def inverse_noise_scaling(self, sigma: Tensor, latent: Tensor) -> Tensor:
        return latent / torch.cos(sigma)


@pytest.mark.parametrize("lead", ["eps", "flow"])
def test_a_mixture_that_nobody_knows_is_inverted_numerically(lead: str) -> None:
    model = gaussian_model(0.1, 0.5, sigma_min=0.001, sigma_max=1.57).model
    model.model_sampling = CosineSampling(model.model_config)
    small, large = patcher_of(model), KINDS[lead](0.6, 0.9)
    found = sample(joined([small, large], pattern="1x3 2x4"), sigmas_of(lead), "euler")
    expected = sample(joined([KINDS[lead](0.1, 0.5), large], pattern="1x3 2x4"), sigmas_of(lead), "euler")
    assert calls_of(small) == pytest.approx(torch.tensor(RATIOS[:3]).atan().tolist(), rel=1e-6)
    assert relative_difference(found, expected) < TOLERANCE
