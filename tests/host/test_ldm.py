"""Load LDM: the published layout, against the independent networks of diffusers."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import comfy.model_patcher
import comfy.sample
import pytest
import torch
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.families.class_labels import class_inputs
from tstitch.families.ldm.checkpoint import null_embedding
from tstitch.families.ldm.model import LoadedLDM, load_ldm
from tstitch_testing.checkpoints import save
from tstitch_testing.ldm_files import (
    F4,
    LDMShape,
    diffusers_unet,
    ldm_weights,
    save_lightning,
    vq_model,
    vq_weights,
)
from tstitch_testing.models import conditioning
from tstitch_testing.sampling import stitched

F8 = LDMShape()


def load(path: Path, first_stage: Path | None = None, **options: Any) -> LoadedLDM:
    return load_ldm(path, first_stage, **{"dtype": torch.float32, **options})


def raw(model: Any, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    classes = model.model.model_config.class_set.count
    with torch.no_grad():
        return model.model.diffusion_model(x, t, torch.eye(classes + 1)[labels][:, None, :classes])


def batch(shape: LDMShape, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(2, shape.channels, side, side, generator=torch.Generator().manual_seed(3))
    return x, torch.tensor([17.0, 803.0]), torch.tensor([5, 8])  # the second is the null class


def sample(model: Any, steps: int = 4, cfg: float = 3.0, **more: Any) -> Tensor:
    inputs = class_inputs(model, "5, 3")
    latent = more.pop("latent", inputs.latent["samples"][..., :8, :8])
    noise = comfy.sample.prepare_noise(latent, 0)
    arguments = (steps, cfg, more.pop("sampler", "euler"), "normal", inputs.positive, inputs.negative, latent)
    return comfy.sample.sample(model, noise, *arguments, seed=0, disable_pbar=True, **more)


@pytest.mark.parametrize("shape", [F8, dataclasses.replace(F8, width=64, context=24), F4], ids=["S", "wider", "f4"])
def test_forward_is_that_of_diffusers(shape: LDMShape, tmp_path: Path) -> None:
    state = ldm_weights(shape)
    model = load(save(state, tmp_path / "ldm.safetensors")).model
    x, t, labels = batch(shape)
    with torch.no_grad():
        context = state["cond_stage_model.embedding.weight"][labels][:, None]
        expected = diffusers_unet(state, shape)(x, t, context).sample
    torch.testing.assert_close(raw(model, x, t, labels), expected, rtol=1e-4, atol=1e-4)


def test_noise_levels_are_those_of_training(tmp_path: Path) -> None:
    """Betas from 0.0015 to 0.0195, linear in their square root (the published configuration); latents unscaled."""
    model = load(save(ldm_weights(F8), tmp_path / "ldm.safetensors")).model
    betas = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2
    alphas = (1 - betas).cumprod(0)
    expected = ((1 - alphas) / alphas).sqrt().float()
    torch.testing.assert_close(model.get_model_object("model_sampling").sigmas, expected)
    x = torch.randn(1, 4, 4, 4)
    assert torch.equal(model.model.process_latent_in(x), x)


@pytest.mark.parametrize("channels", [4, 3], ids=["f8", "f4"])
def test_the_first_stage_is_that_of_diffusers(channels: int, tmp_path: Path) -> None:
    oracle = vq_model(channels)
    state = ldm_weights(F8 if channels == 4 else F4)
    vae = load(save(state, tmp_path / "ldm.safetensors")).vae
    assert vae is not None
    ratio = 8 if channels == 4 else 4
    image = torch.rand(2, 32, 64, 3, generator=torch.Generator().manual_seed(1))
    latent = torch.randn(2, channels, 32 // ratio, 64 // ratio, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        encoded = oracle.encode(image.permute(0, 3, 1, 2) * 2 - 1).latents
        decoded = (oracle.decode(latent).sample.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(vae.encode(image), encoded, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(vae.decode(latent), decoded, rtol=1e-4, atol=1e-4)
        tiled = vae.decode_tiled(latent, tile_x=64 // ratio, tile_y=64 // ratio, overlap=2)
    assert decoded.std() > 0.01
    assert tiled.shape == decoded.shape


def test_the_codebook_comes_along_where_the_host_loads_in_part(tmp_path: Path) -> None:
    """As with --novram: what is cast on the fly stays behind, and so does what cannot be cast."""
    vae, elsewhere = load(save(ldm_weights(F8), tmp_path / "ldm.safetensors")).vae, torch.device("meta")
    decoder, cpu = vae.first_stage_model, torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(decoder, load_device=elsewhere, offload_device=cpu)
    patcher.partially_load(elsewhere, 0.1)
    assert decoder.post_quant_conv.quantize.codebook.weight.device == cpu
    assert decoder.post_quant_conv(torch.zeros(1, 4, 4, 4, device=elsewhere)).device == elsewhere


def test_the_first_stage_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    """vq-f8/model.ckpt holds it without a prefix, with the discriminator of its training."""
    own = {**vq_weights(vq_model()), "loss.discriminator.main.0.weight": torch.ones(3)}
    path = save(own, tmp_path / "vq-f8.ckpt", "state_dict")
    bare = save(ldm_weights(F8, first_stage=False), tmp_path / "ldm.safetensors")
    latent = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = load(save(ldm_weights(F8), tmp_path / "whole.safetensors"))
    ldm = load(bare, path)
    assert torch.equal(ldm.vae.decode(latent), whole.vae.decode(latent))
    assert load(bare).vae is None
    assert load(bare).model.model.model_config.latent_size == 32


def test_averaged_weights_are_taken_unless_raw_ones_are_asked_for(tmp_path: Path) -> None:
    shape = F8
    path = save(ldm_weights(shape, averaged=True), tmp_path / "ema.safetensors")
    averaged, last = load(path), load(path, averaged=False)
    plain = load(save(ldm_weights(shape), tmp_path / "plain.safetensors"))
    assert torch.equal(raw(averaged.model, *batch(shape)), raw(plain.model, *batch(shape)))
    assert {float(value.mean()) for value in last.model.model.diffusion_model.input_blocks.state_dict().values()} == {
        7.0
    }
    assert averaged.description.startswith("LDM (averaged weights): 32 channels times 1, 2, 4, 8 classes 16 wide")
    for other in (last, plain):
        assert other.description.startswith("LDM (raw weights)")


def test_the_file_of_the_original_training_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_lightning(ldm_weights(F8, averaged=True), tmp_path / "model.ckpt", monkeypatch)
    plain = load(save(ldm_weights(F8), tmp_path / "plain.safetensors"))
    assert torch.equal(raw(load(path).model, *batch(F8)), raw(plain.model, *batch(F8)))


def test_a_table_without_a_null_class_gets_the_papers_random_one(tmp_path: Path) -> None:
    """One draw for both widths, as the authors of T-Stitch sample LDM-S (256) and LDM (512)."""
    small, large = null_embedding(256), null_embedding(512)
    assert torch.equal(large[:, ::2], small)
    assert torch.equal(large[:, 1::2], small)
    assert 0 <= small.min() < 0.1 < 0.9 < small.max() <= 1
    ldm = load(save(ldm_weights(dataclasses.replace(F8, rows=1000)), tmp_path / "ldm.safetensors"))
    table = ldm.model.model.diffusion_model.class_embedding.embedding_table.weight
    assert torch.equal(table[1000:], null_embedding(16))
    assert ldm.model.model.model_config.class_set.count == 1000
    assert "random" in ldm.description
    whole = load(save(ldm_weights(dataclasses.replace(F8, rows=1001)), tmp_path / "null.safetensors"))
    assert whole.model.model.model_config.class_set.count == 1000
    assert "random" not in whole.description


def test_several_classes_are_several_tokens(tmp_path: Path) -> None:
    """Conditioning (Concat) of two labels lets the network attend to both; a repeated one changes nothing."""
    model = load(save(ldm_weights(F8), tmp_path / "ldm.safetensors")).model
    x, t, _ = batch(F8)
    one, other = torch.eye(8)[[2, 2]][:, None], torch.eye(8)[[5, 5]][:, None]
    with torch.no_grad():
        network = model.model.diffusion_model
        single, twice, both = (
            network(x, t, each) for each in (one, torch.cat([one, one], 1), torch.cat([one, other], 1))
        )
    torch.testing.assert_close(single, twice, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(single, both, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=lambda dtype: str(dtype)[6:]
)
def test_small_dtypes_load_and_stay_close(dtype: torch.dtype, tmp_path: Path) -> None:
    path = save(ldm_weights(F8, first_stage=False), tmp_path / "ldm.safetensors")
    expected = sample(load(path).model, steps=2, cfg=1.0)
    model = load(path, dtype=dtype).model
    error = (sample(model, steps=2, cfg=1.0) - expected).norm() / expected.norm()
    assert 0 < error < {1: 0.4, 2: 0.03}[dtype.itemsize]
    assert model.model.get_dtype() == dtype


def test_a_low_vram_load_gives_the_same_picture(tmp_path: Path) -> None:
    path = save(ldm_weights(F8, first_stage=False), tmp_path / "ldm.safetensors")
    expected = sample(load(path).model, steps=2)
    part = load(path).model
    part.load(torch.device("cpu"), lowvram_model_memory=1)
    assert torch.equal(sample(part, steps=2), expected)


def test_ldm_s_and_ldm_are_stitched(tmp_path: Path) -> None:
    small = load(save(ldm_weights(F8, first_stage=False), tmp_path / "ldm_s.safetensors")).model
    wide = dataclasses.replace(F8, width=64, context=24)
    large = load(save(ldm_weights(wide, 1, first_stage=False), tmp_path / "ldm.safetensors")).model
    pair, options = [small, large], {"steps": 5, "sampler": "dpmpp_2m"}
    alone = sample(large, **options)
    assert torch.equal(sample(stitched(pair, "0"), **options), alone)
    assert torch.equal(sample(stitched(pair, "1"), **options), sample(small, **options))
    middle = sample(stitched(pair, "0.4"), **options)
    assert torch.isfinite(middle).all()
    assert not torch.equal(middle, alone)


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name != key}


UNET = "model.diffusion_model."
BAD_FILES = {
    "not an LDM": (lambda state: {"conv_in.weight": torch.ones(1)}, "begins with conv_in.weight"),
    "no classes": (
        lambda state: without(state, "cond_stage_model.embedding.weight"),
        "lacks cond_stage_model.embedding.weight",
    ),
    "other width": (
        lambda state: {**state, "cond_stage_model.embedding.weight": torch.ones(9, 12)},
        "its class embedding is 12 wide, but its U-Net reads 16",
    ),
    "missing": (lambda state: without(state, f"{UNET}out.2.bias"), "lacks out.2.bias"),
    "no first layer": (
        lambda state: without(state, f"{UNET}output_blocks.7.0.in_layers.0.weight"),
        "blocks of its U-Net are missing",
    ),
    "unknown": (lambda state: {**state, f"{UNET}extra.weight": torch.ones(1)}, "also holds extra.weight"),
    "shape": (lambda state: {**state, f"{UNET}out.0.bias": torch.ones(3)}, "out.0.bias has the shape (3,)"),
    "no attention": (
        lambda state: {key: value for key, value in state.items() if ".transformer_blocks." not in key},
        "reads no classes",
    ),
    "averages": (
        lambda state: {**state, "model_ema.diffusion_modelout0bias": torch.ones(32)},
        "set weights to raw",
    ),
    "codebook": (
        lambda state: without(state, "first_stage_model.quantize.embedding.weight"),
        "lacks quantize.embedding",
    ),
    "decoder": (
        lambda state: without(state, "first_stage_model.decoder.mid.attn_1.q.bias"),
        "lacks decoder.mid.attn_1.q.bias",
    ),
    "encoder shape": (
        lambda state: {**state, "first_stage_model.encoder.norm_out.bias": torch.ones(3)},
        "encoder.norm_out.bias has the shape (3,)",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_the_finding(case: str, tmp_path: Path) -> None:
    make, finding = BAD_FILES[case]
    path = save(make(ldm_weights(F8)), tmp_path / "ldm.safetensors")
    with pytest.raises(StitchError, match=re.escape(finding)) as error:
        load(path)
    assert "The file ldm.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_file_with_code_or_cut_short_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": ldm_weights(F8), "hyper_parameters": Payload(tmp_path / "ran")}, path)
    with pytest.raises(StitchError, match=r"The file model.ckpt holds code \(\w+.mkdir\)"):
        load(path)
    assert not (tmp_path / "ran").exists()
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(StitchError, match=r"The file model.ckpt is damaged or incomplete"):
        load(path)


def test_a_first_stage_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = save(ldm_weights(F8), tmp_path / "ldm.safetensors")
    with pytest.raises(StitchError, match=r"in f4.ckpt has latents of 3 channels, but .* ldm.safetensors works on 4"):
        load(path, save(vq_weights(vq_model(3)), tmp_path / "f4.ckpt"))
    with pytest.raises(StitchError, match=r"The file other.ckpt holds no VQ first stage"):
        load(path, save({"conv_in.weight": torch.ones(1)}, tmp_path / "other.ckpt"))


def test_heads_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = save(ldm_weights(F8, first_stage=False), tmp_path / "ldm.safetensors")
    with pytest.raises(StitchError, match="attends over 32 channels, which heads of 48 cannot share"):
        load(path, head_channels=48)
    assert not torch.equal(raw(load(path, head_channels=16).model, *batch(F8)), raw(load(path).model, *batch(F8)))


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = load(save(ldm_weights(F8, first_stage=False), tmp_path / "ldm.safetensors")).model
    with pytest.raises(StitchError, match="this model takes 4 x H x W"):
        sample(model, latent=torch.ones(2, 16, 8, 8))
    latent = torch.zeros(1, 4, 8, 8)
    with pytest.raises(StitchError, match="takes weights of its 8 classes"):
        comfy.sample.sample(model, latent, 2, 1.0, "euler", "normal", conditioning(), conditioning(), latent)
