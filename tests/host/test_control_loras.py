"""LoRAs that widen an input layer (Flux's Canny and Depth): set-up reads the channels off the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import comfy.lora
import comfy.model_base
import comfy.model_management as mm
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.supported_models
import pytest
import torch
from torch import Tensor

from tstitch_testing.architectures import flux
from tstitch_testing.sampling import stitched
from tstitch_testing.unets import randomise

LAYER = "diffusion_model.img_in"
WIDTH = 128  # of the hidden layers; the layer reads 64 channels, and 128 with a control picture


def small_flux(seed: int) -> Any:
    config = comfy.supported_models.Flux({**flux(WIDTH, 1, 1).config, "image_model": "flux", "dtype": torch.float32})
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.Flux(config)
    randomise(model.diffusion_model, seed)
    return comfy.model_patcher.ModelPatcher(model, mm.get_torch_device(), torch.device("cpu"))


@pytest.fixture
def models() -> Iterator[tuple[Any, Any]]:
    with torch.inference_mode():
        yield small_flux(1), small_flux(2)
    mm.unload_all_models()


def with_control_lora(model: Any, form: str) -> Any:
    """In the two forms in which they are published: whole weights that pad, and low ranks that tell the new shape."""
    generator = torch.Generator().manual_seed(3)
    patched = model.clone()
    if form == "diff":
        patches = {
            f"{LAYER}.weight": ("diff", (0.05 * torch.randn(WIDTH, 128, generator=generator), {"pad_weight": True}))
        }
    else:
        low_rank = {
            f"{LAYER}.lora_up.weight": 0.1 * torch.randn(WIDTH, 4, generator=generator),
            f"{LAYER}.lora_down.weight": 0.1 * torch.randn(4, 128, generator=generator),
            f"{LAYER}.reshape_weight": torch.tensor([WIDTH, 128]),
        }
        patches = comfy.lora.load_lora(low_rank, {LAYER: f"{LAYER}.weight"})
    assert patched.add_patches(patches)
    return patched


def draw(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    latent = torch.zeros(1, 16, 8, 8)
    control = {"concat_latent_image": torch.randn(1, 16, 8, 8, generator=generator)}
    pooled = {"pooled_output": torch.randn(1, 768, generator=generator)}
    cond = [[torch.randn(1, 4, 4096, generator=generator), {**pooled, **control}]]
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(cond, cond)
    guider.set_cfg(1.0)
    sigmas = comfy.samplers.KSampler(model, 4, model.load_device, "euler", "simple").sigmas
    noise = comfy.sample.prepare_noise(latent, 1)
    return guider.sample(noise, latent, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=1)


@pytest.mark.parametrize("form", ["diff", "low rank"])
def test_a_control_lora_works_in_a_stage_that_is_loaded_late(models: tuple[Any, Any], form: str) -> None:
    base, other = models
    control = with_control_lora(base, form)
    kept = draw(stitched([control, other], "0.5", memory="keep"))
    mm.unload_all_models()
    assert torch.equal(draw(stitched([control, other], "0.5", memory="swap")), kept)


@pytest.mark.parametrize("form", ["diff", "low rank"])
def test_a_model_goes_with_its_own_control_lora(models: tuple[Any, Any], form: str) -> None:
    """They share their weights, so each is loaded again at its turn."""
    base, _ = models
    control = with_control_lora(base, form)
    assert not torch.equal(draw(control), draw(base))
    mm.unload_all_models()
    drawn = draw(stitched([control, base], "0.5"))
    mm.unload_all_models()
    assert torch.equal(draw(stitched([control, base], "0.5")), drawn)
    assert torch.equal(draw(stitched([control, control.clone()], "0.5")), draw(control))


def test_what_another_run_has_widened_is_not_read(models: tuple[Any, Any]) -> None:
    base, other = models
    fresh = draw(stitched([other, base], "0.5", memory="swap"))
    draw(with_control_lora(base, "diff"))
    assert torch.equal(draw(stitched([other, base], "0.5", memory="swap")), fresh)
