"""Load DiT with U-ViT files: the network against diffusers' parts, its two noise schedules, and DiT-S before it."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
from pathlib import Path
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.families.class_labels import class_inputs
from tstitch.families.shared.checkpoint import read_checkpoint
from tstitch.families.transformer import load_transformer
from tstitch.families.uvit.checkpoint import interpret_uvit
from tstitch.families.uvit.network import UViTConfig
from tstitch_testing.checkpoints import dit_config, original_weights, save
from tstitch_testing.sampling import stitched
from tstitch_testing.uvit_files import reference, uvit_config, uvit_weights


def load(path: Path, prediction: str = "auto", heads: int = 2, dtype: torch.dtype | None = torch.float32) -> Any:
    return load_transformer(path, prediction, "auto", dtype, heads)[0]


def raw(model: Any, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
    classes = model.model.model_config.class_set.count
    weights = torch.eye(classes + 1)[labels][:, None, :classes]
    with torch.no_grad():
        return model.model.diffusion_model(x, time, weights)


def batch(config: UViTConfig) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(2, config.channels, config.size, config.size, generator=torch.Generator().manual_seed(3))
    return x, torch.tensor([17.5, 803.0]), torch.tensor([5, config.classes])  # the second is the null class


def sample(model: Any, steps: int = 4, cfg: float = 1.4, **more: Any) -> Tensor:
    inputs = class_inputs(model, "5, 3")
    latent = inputs.latent["samples"]
    noise = comfy.sample.prepare_noise(latent, 0)
    arguments = (steps, cfg, more.pop("sampler", "euler"), "simple", inputs.positive, inputs.negative, latent)
    return comfy.sample.sample(model, noise, *arguments, seed=0, disable_pbar=True, **more)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch": 4, "grid": 8, "final_convolution": False},
        {"patch": 4, "grid": 16, "pairs": 1},
        {"time_mlp": True, "qkv_bias": True, "classes": 10},
    ],
    ids=["patch 2", "no convolution", "latent 64", "time layers"],
)
def test_forward_is_that_of_diffusers_parts(changes: dict[str, Any], tmp_path: Path) -> None:
    config = uvit_config(**changes)
    state = uvit_weights(config)
    model = load(save(state, tmp_path / "uvit.pth"))
    with torch.no_grad():
        expected = reference(state, config, *batch(config))
    torch.testing.assert_close(raw(model, *batch(config)), expected, rtol=1e-5, atol=1e-5)


def test_everything_comes_from_the_shapes(tmp_path: Path) -> None:
    config = uvit_config(pairs=3, width=192, hidden=384, heads=3, patch=4, classes=37, grid=9)
    state = uvit_weights(config)
    weights = interpret_uvit(read_checkpoint(save(state, tmp_path / "x.pth")))
    assert weights.config == config
    assert "7 blocks, 192 wide, 3 heads, patch 4, 37 classes, 36 x 36 latents" in weights.description


@pytest.mark.parametrize(
    ("prediction", "width", "patch", "discrete"),
    [
        ("auto", 128, 2, False),
        ("auto", 1024, 4, False),
        ("auto", 1152, 2, True),
        ("auto", 1152, 4, True),
        ("U-ViT", 1152, 2, False),
        ("U-ViT discrete", 128, 2, True),
    ],
)
def test_the_schedule_goes_by_size_or_choice(
    prediction: str, width: int, patch: int, discrete: bool, tmp_path: Path
) -> None:
    config = uvit_config(width=width, hidden=8, pairs=1, heads=16, patch=patch, classes=2, grid=2)
    weights = interpret_uvit(read_checkpoint(save(uvit_weights(config), tmp_path / "x.pth")), prediction, 16)
    assert weights.discrete == discrete
    assert weights.description.startswith("U-ViT discrete (" if discrete else "U-ViT (")


SMALL = uvit_config(pairs=1, classes=7, grid=4)


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_the_network_is_told_the_time_it_was_trained_with(discrete: bool, tmp_path: Path) -> None:
    """Discrete: n of 1 to 1000 on Stable Diffusion's betas. Continuous: 999 t, sigma² = e^(0.1 t + 9.95 t²) - 1."""
    model = load(save(uvit_weights(SMALL), tmp_path / "x.pth"), "U-ViT discrete" if discrete else "U-ViT")
    seen: list[float] = []
    model.model.diffusion_model.register_forward_pre_hook(lambda module, args: seen.append(float(args[1][0])))
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 5)
    sample(model, steps=5, cfg=1.0)
    for sigma, time in zip(sigmas[:-1].double().tolist(), seen, strict=True):
        if discrete:
            betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
            alpha = float((1 - betas[: round(time)]).prod())
            assert sigma == pytest.approx(math.sqrt((1 - alpha) / alpha), rel=1e-4)
            assert time == round(time)
        else:
            t = time / 999
            assert sigma == pytest.approx(math.sqrt(math.expm1(0.1 * t + 9.95 * t * t)), rel=1e-4)
    assert seen[0] == pytest.approx(1000 if discrete else 999)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=lambda dtype: str(dtype)[6:]
)
def test_small_dtypes_load_and_stay_close(dtype: torch.dtype, tmp_path: Path) -> None:
    state = uvit_weights(SMALL)
    expected = sample(load(save(state, tmp_path / "x.safetensors")))
    stored = save({key: value.to(dtype) for key, value in state.items()}, tmp_path / "small.safetensors")
    for model in (load(stored, dtype=None), load(tmp_path / "x.safetensors", dtype=dtype)):
        error = (sample(model) - expected).norm() / expected.norm()
        assert 0 < error < {1: 0.4, 2: 0.03}[dtype.itemsize]


def test_a_low_vram_load_gives_the_same_picture(tmp_path: Path) -> None:
    path = save(uvit_weights(SMALL), tmp_path / "x.pth")
    expected = sample(load(path))
    part = load(path)
    part.load(torch.device("cpu"), lowvram_model_memory=1)
    assert torch.equal(sample(part), expected)


def test_other_sizes_interpolate_the_positions_of_patches_only(tmp_path: Path) -> None:
    model = load(save(uvit_weights(SMALL), tmp_path / "x.pth"))
    network = model.model.diffusion_model
    assert torch.equal(network.position(4, 4), network.pos_embed)
    larger = network.position(6, 4)
    assert larger.shape == (1, 2 + 24, 128)
    assert torch.equal(larger[:, :2], network.pos_embed[:, :2])
    assert torch.isfinite(raw(model, torch.zeros(1, 4, 12, 8), torch.ones(1), torch.tensor([1]))).all()


@pytest.mark.parametrize("final", ["U-ViT", "U-ViT discrete", "DiT"])
def test_dit_s_and_u_vit_are_stitched(final: str, tmp_path: Path, caplog: Any) -> None:
    """Both predict noise, on schedules of their own: at one sigma they see the same x. Fraction 0 and 1 are exact."""
    dit = load(save(original_weights(dit_config(width=96, depth=1, classes=7, grid=4)), tmp_path / "DiT-S.pt"))
    uvit = load(save(uvit_weights(SMALL), tmp_path / "x.pth"), "U-ViT discrete" if final == "DiT" else final)
    pair = [uvit, dit] if final == "DiT" else [dit, uvit]
    options = {"steps": 5, "sampler": "dpmpp_2m"}
    with caplog.at_level(logging.WARNING, "tstitch"):
        large = sample(pair[1], **options)
        assert torch.equal(sample(stitched(pair, "0"), **options), large)
        middle = sample(stitched(pair, "0.4"), **options)
    assert torch.isfinite(middle).all()
    assert not torch.equal(middle, large)
    clamped = final == "DiT"  # DiT's schedule starts at sigma 157, which a U-ViT trained up to 14.6 does not know
    assert ("knows noise up to sigma" in caplog.text) == clamped
    if not clamped:
        sigmas = comfy.samplers.calculate_sigmas(uvit.get_model_object("model_sampling"), "simple", 5)
        assert torch.equal(sample(stitched(pair, "1"), **options), sample(dit, **options, sigmas=sigmas))


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name != key}


BAD_FILES = {
    "no classes": (lambda state: without(state, "label_emb.weight"), "lacks label_emb.weight"),
    "text": (lambda state: {**state, "context_embed.weight": torch.ones(4, 4)}, "reads text, not classes"),
    "missing": (lambda state: without(state, "out_blocks.0.skip_linear.bias"), "lacks out_blocks.0.skip_linear.bias"),
    "unknown": (lambda state: {**state, "extra.weight": torch.ones(4)}, "also holds extra.weight"),
    "shape": (lambda state: {**state, "norm.bias": torch.ones(4)}, "norm.bias has the shape (4,)"),
    "position": (lambda state: {**state, "pos_embed": torch.ones(1, 17, 128)}, "pos_embed has the shape (1, 17, 128)"),
    "dimensions": (lambda state: {**state, "label_emb.weight": torch.ones(4)}, "has 1 dimensions, not 2"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_the_finding(case: str, tmp_path: Path) -> None:
    make, finding = BAD_FILES[case]
    path = save(make(uvit_weights(SMALL)), tmp_path / "uvit.pth")
    with pytest.raises(StitchError, match=re.escape(finding)) as error:
        load(path)
    assert "The file uvit.pth" in str(error.value)


@pytest.mark.parametrize(("prediction", "file"), [("SiT", "uvit"), ("U-ViT", "dit")])
def test_a_prediction_of_another_family_is_refused(prediction: str, file: str, tmp_path: Path) -> None:
    state = uvit_weights(SMALL) if file == "uvit" else original_weights(dit_config(classes=3, depth=1))
    with pytest.raises(StitchError, match=f"but prediction is {prediction}: choose auto"):
        load(save(state, tmp_path / "x.pt"), prediction)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = load(save(uvit_weights(SMALL), tmp_path / "x.pth"))
    with pytest.raises(StitchError, match="cuts it into patches of 2 x 2"):
        raw(model, torch.zeros(1, 4, 9, 8), torch.zeros(1), torch.tensor([1]))
    pixels = dataclasses.replace(SMALL, channels=3)
    with pytest.raises(StitchError, match="latents of 3 channels"):
        load(save(uvit_weights(pixels), tmp_path / "pixels.pth"))
