"""A model's mark: the same for the same model wherever it is, another for anything that changes what it computes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.lora
import pytest
import torch
from comfy.model_base import ModelType

from tstitch.families.starter import load_starter
from tstitch.guidance.model import Guidance, guided_model
from tstitch.planning.identity import model_identity, model_name
from tstitch.resolution.model import low_resolution
from tstitch_testing.models import gaussian_model
from tstitch_testing.sampling import ksample, stitched

KEY = "diffusion_model.blocks.0.attn.qkv.weight"


@pytest.fixture(scope="module")
def starter() -> Any:
    return load_starter("S")


def with_lora(model: Any, strength: float, scale: float = 1.0) -> Any:
    size = model.model.state_dict()[KEY].shape
    lora = {"layer.lora_up.weight": torch.ones(size[0], 2) * scale, "layer.lora_down.weight": torch.ones(2, size[1])}
    clone = model.clone()
    assert clone.add_patches(comfy.lora.load_lora(lora, {"layer": KEY}), strength) == [KEY]
    return clone


def with_difference(model: Any, value: float) -> Any:
    clone = model.clone()
    clone.add_patches({KEY: (torch.full_like(model.model.state_dict()[KEY], value),)}, 1.0)
    return clone


def with_attention_patch(model: Any, scale: float) -> Any:
    def patch(q: Any, k: Any, v: Any, _: Any) -> Any:
        return q * scale, k, v

    clone = model.clone()
    clone.set_model_attn1_patch(patch)
    return clone


def with_partial(model: Any, scale: float) -> Any:
    clone = model.clone()
    clone.set_model_sampler_post_cfg_function(partial(lambda args, by: args["denoised"] * by, by=scale))
    return clone


def with_shift(model: Any, shift: float) -> Any:
    clone = model.clone()
    sampling = type(model.model.model_sampling)(model.model.model_config)
    sampling.set_parameters(shift=shift, multiplier=1000.0)
    clone.add_object_patch("model_sampling", sampling)
    return clone


CHANGES: dict[str, Callable[[Any, float], Any]] = {
    "LoRA strength": with_lora,
    "LoRA weights": lambda model, value: with_lora(model, 1.0, value),
    "difference": with_difference,
    "attention patch": with_attention_patch,
    "partial": with_partial,
    "shift": with_shift,
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_another_model_and_the_same_change_the_same(starter: Any, name: str) -> None:
    change = CHANGES[name]
    plain, one, again, two = (
        model_identity(model) for model in (starter, change(starter, 0.5), change(starter, 0.5), change(starter, 0.75))
    )
    assert one == again
    assert len({plain, one, two}) == 3


def test_a_clone_and_a_fresh_load_are_the_same_model(starter: Any) -> None:
    assert model_identity(starter) == model_identity(starter.clone()) == model_identity(load_starter("S"))


def test_the_starter_models_are_four() -> None:
    assert len({model_identity(load_starter(name)) for name in ("XL", "B", "S", "S-eps")}) == 4


def test_another_precision_of_one_file_is_the_same_model(starter: Any) -> None:
    half = load_starter("S")
    half.model.to(torch.bfloat16)
    assert model_identity(half) == model_identity(starter)


def test_one_changed_matrix_is_another_model(starter: Any) -> None:
    other = load_starter("S")
    other.model.state_dict()[KEY].mul_(1.1)
    assert model_identity(other) != model_identity(starter)


def test_a_clone_that_is_loaded_with_a_lora_does_not_disturb_the_others(starter: Any) -> None:
    before = model_identity(starter)
    patched = with_lora(starter, 0.5)
    own = model_identity(patched)
    patched.patch_model(device_to=torch.device("cpu"))
    try:
        assert (model_identity(starter), model_identity(patched)) == (before, own)
    finally:
        patched.unpatch_model()
    assert (model_identity(starter), model_identity(patched)) == (before, own)


def test_sampling_does_not_change_who_a_model_is() -> None:
    model = stitched([gaussian_model(std=0.5), gaussian_model()])
    before = model_identity(model)
    ksample(model)
    assert model_identity(model) == before
    assert model_identity(stitched([gaussian_model(std=0.6), gaussian_model()])) != before


def test_the_kind_of_prediction_counts() -> None:
    assert model_identity(gaussian_model()) != model_identity(gaussian_model(kind=ModelType.V_PREDICTION))


def test_names_tell_family_and_size(starter: Any) -> None:
    assert model_name(starter) == "DiT 331k"
    assert model_name(with_lora(starter, 1.0)) == "DiT 331k patched"
    assert model_name(gaussian_model()) == "Gaussian 1"


def test_quantized_weights_count_as_they_are_stored(starter: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Unpacked, a large model would take minutes, and the host tells of every weight that it has to unpack."""
    quant_ops = pytest.importorskip("comfy.quant_ops")
    quantized, layout = quant_ops.QuantizedTensor, quant_ops.TensorCoreFP8Layout

    def stored(scale: float) -> Any:
        model = load_starter("S")
        layer = model.model.diffusion_model.blocks[0].attn.qkv
        dtype = {"dtype": torch.float8_e4m3fn} if "dtype" in inspect.signature(layout.quantize).parameters else {}
        weight = quantized.from_float(layer.weight.detach() * scale, layout.__name__, scale=None, **dtype)
        layer.weight = torch.nn.Parameter(weight, requires_grad=False)
        return model

    models = [starter, stored(1.0), stored(1.0), stored(2.0)]  # of another scale, the stored values are the same
    with caplog.at_level(logging.INFO):
        plain, one, again, two = map(model_identity, models)
    assert one == again
    assert len({plain, one, two}) == 3
    assert [record.getMessage() for record in caplog.records if "falling back" in record.getMessage()] == []


def test_joined_reduced_and_guided_models_are_told_apart_by_what_they_are_made_of() -> None:
    small, large = gaussian_model(0.1, 0.5), gaussian_model()
    builds = [
        lambda: stitched([small, large], "0.4"),
        lambda: stitched([small, large], "0.5"),
        lambda: low_resolution(large, 0.5),
        lambda: low_resolution(large, 0.25),
        lambda: guided_model(large, small, Guidance()),
        lambda: guided_model(large, small, Guidance("cheap negative")),
        lambda: large,
    ]
    found = [model_identity(build()) for build in builds]
    assert found == [model_identity(build()) for build in builds]
    assert len(set(found)) == len(found)
