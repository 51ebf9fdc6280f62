"""Multi-Model Sigmas on the real host: boundaries, densities and shifts, against the host's own schedules."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType

from tstitch.errors import StitchError
from tstitch.own_steps import OwnSteps, shifted
from tstitch.trajectory import sigma_of_timestep, timesteps_of
from tstitch_testing.host import run_node
from tstitch_testing.models import gaussian_model
from tstitch_testing.sampling import stitched

FINE = 1000
KINDS = {"eps": ModelType.EPS, "flow": ModelType.FLOW, "v": ModelType.V_PREDICTION}


def sampling_of(kind: str, **settings: Any) -> Any:
    return gaussian_model(kind=KINDS[kind], **settings).get_model_object("model_sampling")


def sigmas(steps: str, splits: str = "", unit: str = "timestep", scheduler: str = "simple", shifts: str = "") -> Any:
    return OwnSteps.parse(steps, splits, unit, scheduler, shifts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheduler", comfy.samplers.KSampler.SCHEDULERS)
def test_one_stage_is_the_scheduler_itself(kind: str, scheduler: str) -> None:
    """Up to the resolution in which the curve is read."""
    sampling = sampling_of(kind)
    found = sigmas("12", scheduler=scheduler).sigmas(sampling)
    expected = comfy.samplers.calculate_sigmas(sampling, scheduler, 12)
    assert len(found) == 13
    if len(expected) == 13 and scheduler not in ("ddim_uniform", "beta", "linear_quadratic"):  # these count otherwise
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02 * float(expected[0]) / FINE * 12)


@pytest.mark.parametrize("scheduler", ["simple", "normal", "sgm_uniform", "karras", "beta"])
@pytest.mark.parametrize(("unit", "split"), [("timestep", 0.875), ("sigma", 0.6), ("noise", 0.86), ("steps", 0.25)])
def test_the_stages_meet_at_the_boundary(scheduler: str, unit: str, split: float) -> None:
    sampling = sampling_of("flow", shift=3.0)
    own = sigmas("3, 5", str(split), unit, scheduler)
    found = own.sigmas(sampling)
    assert own.pattern == "1x3 2x5"
    assert len(found) == 9
    assert found[-1] == 0
    assert (found[:-1] > found[1:]).all()
    expected = {"timestep": 0.875, "sigma": 0.6, "noise": 0.86}.get(unit)  # of a flow model they are the same
    if expected is not None:
        assert float(found[3]) == pytest.approx(expected, abs=1e-7)
    else:
        whole = comfy.samplers.calculate_sigmas(sampling, scheduler, 400)  # in few steps, a ramp is 1 / steps off
        assert float(found[3]) == pytest.approx(float(whole[100]), rel=0.02)


def test_a_stage_may_be_denser_than_the_others() -> None:
    """3 steps of a schedule of 24, then 3 and 4 of one of 8."""
    sampling = sampling_of("flow", shift=5.0)
    found = sigmas("3, 3, 4", "0.125, 0.5", "steps").sigmas(sampling)
    of_24, of_8 = (comfy.samplers.calculate_sigmas(sampling, "simple", steps) for steps in (24, 8))
    torch.testing.assert_close(found[:4], of_24[:4], rtol=0, atol=1e-3)
    torch.testing.assert_close(found[3:], of_8[1:], rtol=0, atol=1e-3)


def test_each_stage_may_have_its_own_shift() -> None:
    sampling = sampling_of("flow", shift=1.0)
    plain, moved = (sigmas("4, 4", "0.5", "sigma", "simple", shifts).sigmas(sampling) for shifts in ("", "1, 8"))
    torch.testing.assert_close(plain[:5], moved[:5])
    assert (moved[5:8] > plain[5:8]).all()
    whole = comfy.samplers.calculate_sigmas(shifted(sampling, 8.0), "simple", FINE)
    part = [float((whole > level).sum()) for level in moved[4:]]
    assert [later - earlier for earlier, later in pairwise(part)] == pytest.approx(
        [(part[-1] - part[0]) / 4] * 4, abs=2
    )


@pytest.mark.parametrize(("kind", "shift"), [("eps", None), ("v", None), ("flow", None), ("flow", 8.0)])
def test_a_timestep_becomes_the_sigma_that_has_it(kind: str, shift: float | None) -> None:
    sampling = sampling_of(kind, **({} if shift is None else {"shift": shift}))
    for t in (0.2, 0.5, 0.875):
        assert timesteps_of([sigma_of_timestep(t, sampling)], sampling)[0] == pytest.approx(t, abs=2e-3)


def test_the_node_takes_the_joined_model_too(host_nodes: ModuleType) -> None:
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchSigmas"]
    models = gaussian_model(kind=ModelType.FLOW), gaussian_model(kind=ModelType.FLOW)
    texts = {"steps": "2, 6", "splits": "0.875", "unit": "timestep", "scheduler": "simple", "shifts": ""}
    joined, alone = (run_node(node, model=model, **texts) for model in (stitched(models, pattern="1x2 2x6"), models[1]))
    assert torch.equal(joined[0], alone[0])
    assert joined[1] == "1x2 2x6"
    assert node.validate_inputs("2, 6", "0.875, 0.5", "timestep", "").startswith("2 models need 1 split")
    assert node.validate_inputs(steps="2, 6", splits=None, unit="timestep", shifts="") is True


@pytest.mark.parametrize(("splits", "unit"), [("0.875", "timestep"), ("0.6", "sigma"), ("0.86", "noise")])
def test_splits_of_the_joined_model_count_where_none_are_written(
    host_nodes: ModuleType, splits: str, unit: str
) -> None:
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchSigmas"]
    models = [gaussian_model(kind=ModelType.FLOW, shift=5.0) for _ in range(2)]
    texts = {"steps": "2, 6", "scheduler": "simple", "shifts": ""}
    (joined,) = run_node(
        host_nodes.NODE_CLASS_MAPPINGS["TStitchModelSchedule"], final_model=models[1], model_1=models[0],
        splits=splits, unit=unit, pattern="", memory="auto",
    )  # fmt: skip
    found = run_node(node, model=joined.clone(), splits="", unit="steps", **texts)
    expected = run_node(node, model=models[1], splits=splits, unit=unit, **texts)
    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1]
    assert node.validate_inputs(**texts, splits="", unit="steps") is True


@pytest.mark.parametrize(
    ("joined", "sentence"),
    [
        ({"pattern": "1x2 2x6"}, "has a pattern in place of splits"),
        ({"splits": "2", "unit": "step"}, "is split in unit step, which own numbers of steps would move"),
        (None, "2 models need 1 split, got 0"),
    ],
    ids=["pattern", "step", "not joined"],
)
def test_splits_that_cannot_be_read_from_the_model_say_so(
    joined: dict[str, str] | None, sentence: str, host_nodes: ModuleType
) -> None:
    models = [gaussian_model(kind=ModelType.FLOW) for _ in range(2)]
    model = models[1] if joined is None else stitched(models, **joined)
    texts = {"steps": "2, 6", "splits": "", "unit": "timestep", "scheduler": "simple", "shifts": ""}
    with pytest.raises(Exception, match=sentence):
        run_node(host_nodes.NODE_CLASS_MAPPINGS["TStitchSigmas"], model=model, **texts)


@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_a_list_of_timesteps_is_the_sigmas_of_a_flow_model(host_nodes: ModuleType, shift: float) -> None:
    """Those of a four-step LoRA of Wan: whatever the shift, they are the noise levels themselves."""
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchSigmas"]
    texts = {"steps": "", "unit": "timestep", "scheduler": "simple", "shifts": ""}
    listed = {**texts, "splits": "0.875", "timesteps": "1000, 937.5, 833.3, 625"}
    found, pattern = run_node(node, model=gaussian_model(kind=ModelType.FLOW, shift=shift), **listed)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.9375, 0.8333, 0.625, 0.0]), rtol=0, atol=1e-6)
    assert pattern == "1x2 2x2"
    assert node.validate_inputs(**listed) is True


def test_the_timesteps_of_a_discrete_model_are_its_own(host_nodes: ModuleType) -> None:
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchSigmas"]
    model = gaussian_model()
    found, pattern = run_node(
        node,
        model=model,
        steps="",
        splits="",
        unit="timestep",
        scheduler="simple",
        shifts="",
        timesteps="999 749 499 249",
    )
    sigmas = model.get_model_object("model_sampling").sigmas
    torch.testing.assert_close(found[:-1], sigmas[[999, 749, 499, 249]].float(), rtol=1e-3, atol=0)
    assert pattern == "1x4"


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ({"timesteps": "1000, x"}, 'timesteps must be numbers above 0 such as "1000, 937.5, 833.3, 625"'),
        ({"timesteps": "500, 600"}, "timesteps must fall, as the noise does: 500 comes before 600."),
        ({"timesteps": "1200, 600"}, "timesteps go down from 1000 for this model, got 1200"),
        ({"timesteps": "1000, 900"}, "None of the 2 timesteps belongs to stage 2"),
        ({"timesteps": "1000, 500", "shifts": "5, 8"}, "shifts do not apply to a list of timesteps"),
    ],
    ids=str,
)
def test_a_bad_list_of_timesteps_is_one_sentence(texts: dict[str, str], sentence: str, host_nodes: ModuleType) -> None:
    given = {"steps": "", "splits": "0.875", "unit": "timestep", "scheduler": "simple", "shifts": "", **texts}
    with pytest.raises(Exception, match=sentence):
        run_node(host_nodes.NODE_CLASS_MAPPINGS["TStitchSigmas"], model=gaussian_model(kind=ModelType.FLOW), **given)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (("", "", "sigma"), 'steps must be whole numbers such as "3, 3, 4"'),
        (("3, 0", "0.5", "sigma"), "Each stage takes 1 step or more"),
        (("3, 3", "", "sigma"), "2 models need 1 split, got 0"),
        (("3, 3", "1.5", "sigma"), "Stage 1 has 3 steps, but no noise between its boundaries (sigma 1 to 1.5)"),
        (("3, 3, 3", "0.5, 0.8", "timestep"), "must fall, as the noise does"),
        (("3, 3, 3", "0.5, 0.5", "timestep"), "Stage 2 has 3 steps, but no noise between its boundaries"),
        (("3, 3", "0", "sigma"), "Stage 1 has 3 steps, but no noise between its boundaries"),
        (("3, 3", "0.5", "step"), "unit must be one of steps, timestep, sigma, noise, got step."),
        (("3, 3", "0.5", "sigma", "fast"), "scheduler must be one of"),
        (("3, 3", "0.5", "sigma", "simple", "5"), "2 stages need 2 shifts, or none, got 1."),
        (("3, 3", "0.5", "sigma", "simple", "5, x"), 'shifts must be numbers above 0 such as "5, 8"'),
        (("3, 3", "1e-30", "sigma", "simple"), "closer than the scheduler can tell apart"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence(texts: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(StitchError) as raised:
        sigmas(*texts).sigmas(sampling_of("flow"))
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_without_a_shift_says_so() -> None:
    with pytest.raises(StitchError, match="has no shift of its own"):
        sigmas("3, 3", "2", "sigma", shifts="5, 8").sigmas(sampling_of("eps"))
