"""The host itself is the oracle: equal means bit-equal."""

from __future__ import annotations

import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType

from tstitch_testing.models import calls_of, gaussian_model
from tstitch_testing.sampling import ksample, stitched

SAMPLERS = comfy.samplers.SAMPLER_NAMES


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", [ModelType.EPS, ModelType.FLOW], ids=lambda kind: kind.name)
def test_one_model_in_every_stage_is_the_stock_sampler(sampler: str, kind: ModelType) -> None:
    model = gaussian_model(kind=kind)
    expected = ksample(model, sampler)
    for models, splits in (([model] * 2, "0.4"), ([model.clone(), model, model], "0.3, 0.6")):
        assert torch.equal(ksample(stitched(models, splits), sampler), expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_two_models_of_equal_weights_are_the_stock_sampler(sampler: str) -> None:
    small, large = gaussian_model(), gaussian_model()
    assert torch.equal(ksample(stitched([small, large]), sampler), ksample(gaussian_model(), sampler))
    assert calls_of(small)
    assert calls_of(large)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_fractions_0_and_1_are_one_model_alone(sampler: str) -> None:
    small, large = gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)
    assert torch.equal(ksample(stitched([small, large], "0"), sampler), ksample(large, sampler))
    assert torch.equal(ksample(stitched([small, large], "1"), sampler), ksample(small, sampler))
