"""The unit noise: one split for models of any parameterization, and the table that the help shows."""

from __future__ import annotations

import pytest
import torch
from comfy.model_base import ModelType

from scripts.noise_table import PAGE, rows, with_table
from tstitch.host.noise_levels import Conversion
from tstitch.trajectory import noises_of, read_trajectory, sigma_of_noise
from tstitch_testing.models import gaussian_model
from tstitch_testing.sampling import ksample, stitched

KINDS = [ModelType.EPS, ModelType.V_PREDICTION, ModelType.FLOW]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.86])
def test_a_share_becomes_the_sigma_that_has_it(kind: ModelType, share: float) -> None:
    sampling = gaussian_model(kind=kind).get_model_object("model_sampling")
    assert noises_of([sigma_of_noise(share, sampling)], sampling)[0] == pytest.approx(share, abs=1e-6)
    assert sigma_of_noise(1.0, sampling) == float(sampling.sigma_max)


def test_the_same_noise_has_the_same_share_in_every_model() -> None:
    lead, other = (gaussian_model(kind=kind).get_model_object("model_sampling") for kind in KINDS[::2])
    to_other = Conversion(lead, other)
    for sigma in (0.1, 1.0, 6.0):
        assert noises_of([to_other(sigma)[0]], other) == pytest.approx(noises_of([sigma], lead), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_by_noise_is_the_pattern_of_its_steps(kind: ModelType) -> None:
    sampling = gaussian_model(kind=kind).get_model_object("model_sampling")
    import comfy.samplers

    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", 8)
    shares = read_trajectory(sigmas, sampling).noises
    assert shares[0] > 0.9
    assert shares[-1] == 0
    count = sum(share > 0.6 * (1 + 1e-5) for share in shares[:-1])
    models = gaussian_model(std=0.5, kind=kind), gaussian_model(kind=kind)
    by_noise = ksample(stitched(models, splits="0.6", unit="noise"), scheduler="simple")
    by_pattern = ksample(stitched(models, pattern=f"1x{count} 2x{8 - count}"), scheduler="simple")
    assert torch.equal(by_noise, by_pattern)


def test_the_help_shows_the_hosts_own_schedules() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_table(text, rows()) == text
