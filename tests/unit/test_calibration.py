"""The calibration value: exact round trips, interpolation, and one sentence for whatever else a file holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tstitch.errors import StitchError
from tstitch.planning.calibration.record import Calibration
from tstitch.planning.records import ModelMark

ZEROS, ONES = (0.0,) * 4, (1.0,) * 4


def calibration(**changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "models": (ModelMark("S", "aa"), ModelMark("XL", "bb")),
        "timesteps": (1.0, 0.75, 0.5, 0.25),
        "sigmas": (14.6, 3.0, 1.0, 0.3),
        "relative_error": ((0.01, 0.02, 0.1, 0.3), ZEROS),
        "relative_error_spread": ((0.001, 0.002, 0.01, 0.03), ZEROS),
        "cosine": ((0.999, 0.998, 0.99, 0.9), ONES),
        "cosine_spread": (ZEROS, ZEROS),
        "noise_error": ((0.001, 0.01, 0.1, 1 / 3), ZEROS),
        "seeds": (7, 8),
        "samples": 4,
        "steps": 4,
        "sampler": "euler",
        "scheduler": "normal",
        "cfg": 2.0,
        "small_cfg": 1.0,
        "frequencies": (0.0, 0.5, 1.0),
        "log_amplitude": (((1.0, 0.5, 0.1),) * 4, ((1.0, 0.5, 0.2),) * 4),
    }
    return Calibration(**{**values, **changes})


@pytest.mark.parametrize("found", [calibration(), calibration(frequencies=(), log_amplitude=())], ids=["full", "bare"])
def test_json_gives_the_same_value_back(found: Calibration) -> None:
    assert Calibration.from_json(found.to_json()) == found


def test_a_file_that_tells_no_small_cfg_had_one_cfg_for_all() -> None:
    content = json.loads(calibration().to_json())
    del content["small_cfg"]
    assert Calibration.from_json(json.dumps(content)).small_cfg == 2.0


def test_errors_at_the_calibrated_levels_are_the_calibrated_errors() -> None:
    found = calibration()
    assert found.errors_at(found.timesteps) == found.noise_error


def test_errors_between_levels_are_interpolated_and_held_beyond_them() -> None:
    found = calibration(noise_error=((0.0, 1.0, 3.0, 4.0), ZEROS))
    assert found.errors_at([1.0, 0.875, 0.75, 0.625, 0.3125, 0.25, 0.1]) == (
        (0.0, 0.5, 1.0, 2.0, 3.75, 4.0, 4.0),
        (0.0,) * 7,
    )


@pytest.mark.parametrize(
    ("tolerance", "fraction"),
    [(0.0, 0.0), (0.0009, 0.0), (0.001, 0.25), (0.05, 0.5), (0.1, 0.75), (0.34, 1.0)],
)
def test_the_split_is_where_the_error_leaves_the_tolerance(tolerance: float, fraction: float) -> None:
    assert calibration().fraction_within(tolerance) == fraction
    assert calibration().fraction_within(tolerance, model=1) == 1.0


def test_an_error_that_falls_again_does_not_count() -> None:
    assert calibration(noise_error=((0.1, 0.5, 0.1, 0.1), ZEROS)).fraction_within(0.2) == 0.25


def test_splits_of_several_models_rise() -> None:
    errors = ((0.1, 0.1, 0.5, 0.5), (0.1, 0.5, 0.5, 0.5), (0.1, 0.1, 0.1, 0.5), ZEROS)
    marks = tuple(ModelMark(name, name) for name in "ABCD")
    found = calibration(
        models=marks,
        noise_error=errors,
        **dict.fromkeys(("relative_error", "relative_error_spread", "cosine", "cosine_spread"), errors),
        frequencies=(),
        log_amplitude=(),
    )
    assert found.splits_within(0.2) == (0.5, 0.5, 0.75)


@pytest.mark.parametrize(
    ("errors", "order"),
    [
        ((0.1, 0.2, 0.3, 0.4), "small first"),
        ((0.4, 0.3, 0.2, 0.1), "large first"),
        ((0.4, 0.1, 0.2, 0.4), "large-small-large"),
        ((0.2, 0.2, 0.2, 0.2), "either"),
        (ZEROS, "either"),
    ],
)
def test_the_order_follows_the_part_with_the_least_error(errors: tuple[float, ...], order: str) -> None:
    assert calibration(noise_error=(errors, ZEROS)).order() == order


def test_a_single_step_supports_no_order() -> None:
    one = dict.fromkeys(("relative_error", "relative_error_spread", "cosine", "cosine_spread"), ((0.1,), (0.0,)))
    found = calibration(
        timesteps=(1.0,), sigmas=(14.6,), noise_error=((0.1,), (0.0,)), frequencies=(), log_amplitude=(), **one
    )
    assert found.errors_by_part() == (0.1, 0.1, 0.1)
    assert found.order() == "either"


def with_json(**changes: Any) -> str:
    return json.dumps({**json.loads(calibration().to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1, 2]", "no calibration"),
        ('{"nodes": []}', "no calibration"),
        (with_json(version=99), "version 99"),
        (with_json(models=[]), "2 to 8 models"),
        (with_json(models=7), "damaged"),
        (with_json(models=[{"name": "S"}, {"name": "XL"}]), "damaged"),
        (with_json(models=[{"name": 1, "identity": "a"}, {"name": "b", "identity": "c"}]), "no text"),
        (with_json(timesteps=[]), "timesteps"),
        (with_json(timesteps=[1.0, 0.5, 0.5, 0.2]), "timesteps must fall"),
        (with_json(timesteps=[2.0, 0.5, 0.4, 0.2]), "from 1 to 0"),
        (with_json(sigmas=[1.0]), "sigmas must be 4"),
        (with_json(cosine=[[1, 1, 1, 1]]), "cosine must have 4 numbers"),
        (with_json(cosine=[[1, 1, 1, "1"], [1, 1, 1, 1]]), "cosine must have 4 numbers"),
        (with_json(noise_error=[[1, 1, 1, float("nan")], [1, 1, 1, 1]]), "noise_error"),
        (with_json(noise_error=[[1, 1, 1, 10**400], [0, 0, 0, 0]]), "noise_error"),
        (with_json(noise_error=[[1, -1, 1, 1], [0, 0, 0, 0]]), "noise_error must be 0 or more"),
        (with_json(noise_error=[[1, 1, 1, 1], [0, 0, 0, 1]]), "base model must be 0"),
        (with_json(relative_error=[[1, 1, 1, 1], [1, 1, 1, 1]]), "base model must be 0"),
        (with_json(log_amplitude=[[[1e9] * 3] * 4] * 2), "log_amplitude"),
        (with_json(seeds=["7"]), "seeds"),
        (with_json(cfg=None), "cfg"),
        (with_json(small_cfg="1"), "small_cfg must be numbers"),
        (with_json(sampler=5), "sampler"),
        (with_json(frequencies="high"), "frequencies"),
        (with_json(log_amplitude=[]), "one table per model"),
        (with_json(log_amplitude=[[[1.0]] * 4] * 2), "3 numbers a step"),
        (json.dumps({"format": "tstitch-calibration", "version": 1}), "damaged"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(text: str, part: str) -> None:
    with pytest.raises(StitchError, match=part) as raised:
        Calibration.from_json(text)
    assert str(raised.value).endswith(".")


def test_a_calibration_of_one_model_cannot_be_made() -> None:
    with pytest.raises(StitchError, match="2 to 8 models"):
        replace(calibration(), models=(ModelMark("XL", "bb"),))
