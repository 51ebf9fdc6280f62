"""The calibration value: exact round trips, interpolation, and one sentence for whatever else a file holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tstitch.errors import StitchError
from tstitch.planning.calibration import Calibration, ModelMark

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
        "frequencies": (0.0, 0.5, 1.0),
        "log_amplitude": (((1.0, 0.5, 0.1),) * 4, ((1.0, 0.5, 0.2),) * 4),
    }
    return Calibration(**{**values, **changes})


@pytest.mark.parametrize("found", [calibration(), calibration(frequencies=(), log_amplitude=())], ids=["full", "bare"])
def test_json_gives_the_same_value_back(found: Calibration) -> None:
    assert Calibration.from_json(found.to_json()) == found


def test_errors_at_the_calibrated_levels_are_the_calibrated_errors() -> None:
    found = calibration()
    assert found.errors_at(found.timesteps) == found.relative_error


def test_errors_between_levels_are_interpolated_and_held_beyond_them() -> None:
    found = calibration(relative_error=((0.0, 1.0, 3.0, 4.0), ZEROS))
    assert found.errors_at([1.0, 0.875, 0.75, 0.625, 0.3125, 0.25, 0.1]) == (
        (0.0, 0.5, 1.0, 2.0, 3.75, 4.0, 4.0),
        (0.0,) * 7,
    )


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
        (with_json(relative_error=[[1, 1, 1, 1], [1, 1, 1, 1]]), "base model must be 0"),
        (with_json(seeds=["7"]), "seeds"),
        (with_json(cfg=None), "cfg"),
        (with_json(sampler=5), "sampler"),
        (with_json(frequencies="high"), "frequencies"),
        (with_json(log_amplitude=[]), "one table a model"),
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
