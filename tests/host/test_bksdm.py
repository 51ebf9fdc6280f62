"""Load BK-SDM: the published U-Nets, against diffusers, and the LoRAs of Stable Diffusion on them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.sample
import comfy.sd
import pytest
import torch
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.families.bksdm import LEVELS, load_bksdm
from tstitch_testing.checkpoints import bksdm_unet, save
from tstitch_testing.models import conditioning
from tstitch_testing.sampling import stitched

SIZES = ["base", "small", "tiny"]
REAL_WIDTH = 320


def forward(model: Any, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
    with torch.no_grad():
        return model.model.diffusion_model(x, t, context=context)


def inputs(context: int = 768, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, text = torch.randn(2, 4, side, side, generator=generator), torch.randn(2, 5, context, generator=generator)
    return x, torch.tensor([3.0, 801.0]), text


@pytest.mark.parametrize(("context", "width"), [(768, 32), (1024, 64)], ids=["v1", "v2"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_forward_is_that_of_diffusers(size: str, context: int, width: int, ending: str, tmp_path: Path) -> None:
    oracle = bksdm_unet(size, width, context)
    model = load_bksdm(save(oracle.state_dict(), tmp_path / f"unet.{ending}"), dtype=torch.float32)
    x, t, text = inputs(context)
    with torch.no_grad():
        expected = oracle(x, t, text).sample
    torch.testing.assert_close(forward(model, x, t, text), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_forward_is_that_of_diffusers_at_the_real_width(tmp_path: Path) -> None:
    oracle = bksdm_unet("tiny", REAL_WIDTH)
    model = load_bksdm(save(oracle.state_dict(), tmp_path / "unet.safetensors"), dtype=torch.float32)
    x, t, text = inputs()
    with torch.no_grad():
        expected = oracle(x, t, text).sample
    torch.testing.assert_close(forward(model, x, t, text), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_a_lora_of_stable_diffusion_reaches_the_layers_that_were_kept(size: str, tmp_path: Path) -> None:
    """Each key changes the block that the same block of Stable Diffusion became, and no other."""
    oracle = bksdm_unet(size)
    model = load_bksdm(save(oracle.state_dict(), tmp_path / "unet.safetensors"), dtype=torch.float32)
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    own = model.model.state_dict()
    offset = 1 if size == "tiny" else 0
    for level in range(LEVELS):
        for block, kept in ((0, 0), (1, None), (2, 1)):
            name = f"lora_unet_up_blocks_{level}_attentions_{block}_transformer_blocks_0_attn2_to_k"
            target = f"up_blocks.{level - offset}.attentions.{kept}.transformer_blocks.0.attn2.to_k.weight"
            expected = oracle.state_dict().get(target) if level >= offset else None
            if expected is None:
                assert keys.get(name) not in own
            else:
                assert torch.equal(own[keys[name]], expected)
        down = f"lora_unet_down_blocks_{level}_attentions_0_proj_in"
        expected = oracle.state_dict().get(f"down_blocks.{level}.attentions.0.proj_in.weight")
        assert (keys.get(down) in own) == (expected is not None)
    assert (keys["lora_unet_mid_block_attentions_0_proj_in"] in own) == (size == "base")


def test_a_lora_changes_the_picture_and_its_removed_layers_do_no_harm(tmp_path: Path) -> None:
    model = load_bksdm(save(bksdm_unet("tiny").state_dict(), tmp_path / "unet.safetensors"), dtype=torch.float32)
    lora = {}
    for block in ("up_blocks_1_attentions_2", "up_blocks_1_attentions_1", "mid_block_attentions_0"):
        stem = f"lora_unet_{block}_transformer_blocks_0_attn1_to_q"
        lora |= {f"{stem}.lora_up.weight": torch.ones(128, 2), f"{stem}.lora_down.weight": torch.ones(2, 128)}
    changed, _ = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)
    assert len(changed.patches) == 1
    before = forward(model, *inputs())
    changed.patch_model()
    after = forward(changed, *inputs())
    changed.unpatch_model()
    assert not torch.equal(before, after)


@pytest.mark.parametrize("size", SIZES)
def test_a_controlnet_of_stable_diffusion_corrects_what_was_kept(size: str, tmp_path: Path) -> None:
    oracle = bksdm_unet(size)
    model = load_bksdm(save(oracle.state_dict(), tmp_path / "unet.safetensors"), dtype=torch.float32)
    x, t, text = inputs()
    generator = torch.Generator().manual_seed(2)
    widths, sides = [32, 32, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128], [16] * 3 + [8] * 3 + [4] * 3 + [2] * 3
    skips = [torch.randn(2, width, side, side, generator=generator) for width, side in zip(widths, sides, strict=True)]
    middle = torch.randn(2, 128, 2, 2, generator=generator)
    kept = [0, 1, 3, 4, 6, 7] + ([] if size == "tiny" else [9, 10])
    with torch.no_grad():
        expected = oracle(
            x,
            t,
            text,
            down_block_additional_residuals=[skips[number] for number in kept],
            mid_block_additional_residual=middle if size == "base" else torch.zeros(()),
        ).sample
        control = {"input": [], "middle": [middle], "output": list(skips)}
        found = model.model.diffusion_model(x, t, context=text, control=control)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, forward(model, x, t, text))


def test_small_dtypes_are_kept(tmp_path: Path) -> None:
    path = save(bksdm_unet("tiny").state_dict(), tmp_path / "unet.safetensors")
    model = load_bksdm(path, dtype=torch.float16)
    assert {value.dtype for value in model.model.diffusion_model.state_dict().values()} == {torch.float16}
    half = save({key: value.half() for key, value in bksdm_unet("tiny").state_dict().items()}, tmp_path / "half.bin")
    assert torch.isfinite(forward(load_bksdm(half, dtype=torch.float32), *inputs())).all()


def test_two_sizes_are_stitched(tmp_path: Path) -> None:
    tiny, base = (
        load_bksdm(save(bksdm_unet(size).state_dict(), tmp_path / f"{size}.safetensors"), dtype=torch.float32)
        for size in ("tiny", "base")
    )

    def run(model: Any) -> Tensor:
        latent, texts = torch.zeros(1, 4, 16, 16), [conditioning(value, width=768) for value in (0.4, -0.2)]
        noise = comfy.sample.prepare_noise(latent, 1)
        return comfy.sample.sample(model, noise, 4, 3.0, "dpmpp_2m", "karras", *texts, latent, disable_pbar=True)

    assert torch.equal(run(stitched([tiny, base], "0")), run(base))
    assert torch.equal(run(stitched([tiny, base], "1")), run(tiny))
    assert not torch.equal(run(stitched([tiny, base], "0.5")), run(base))


def change(state: dict[str, Tensor], pattern: str, value: Tensor | None) -> dict[str, Tensor]:
    changed = {key: value if re.fullmatch(pattern, key) else old for key, old in state.items()}
    return {key: tensor for key, tensor in changed.items() if tensor is not None}


BAD_FILES = {
    "other layout": (lambda state: {"blocks.0.0.weight": torch.ones(1)}, "no U-Net in the diffusers layout"),
    "own layout": (lambda state: {"input_blocks.0.0.weight": torch.ones(1)}, "load it with Load Checkpoint"),
    "single file": (
        lambda state: {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(1), "cond.weight": torch.ones(1)},
        "load it with Load Checkpoint",
    ),
    "full": (
        lambda state: {**state, "down_blocks.0.resnets.1.conv1.weight": torch.ones(1)},
        "2 blocks each going down",
    ),
    "text width": (
        lambda state: change(state, r"down_blocks\.0\..*attn2\.to_k\.weight", torch.ones(8, 99)),
        "reads text 99 wide",
    ),
    "missing": (lambda state: change(state, r"conv_out\.bias", None), "lacks conv_out.bias"),
    **{
        f"missing {key}": (lambda state, key=key: change(state, re.escape(key), None), f"lacks {key}")
        for key in (
            "down_blocks.1.resnets.0.conv1.weight",
            "down_blocks.1.attentions.0.norm.weight",
            "down_blocks.0.attentions.0.proj_in.weight",
        )
    },
    "scalar": (
        lambda state: change(state, r"conv_in\.weight", torch.ones(())),
        "conv_in.weight has 0 dimensions, not 4",
    ),
    "unknown": (lambda state: {**state, "extra.weight": torch.ones(1)}, "also holds extra.weight"),
    "shape": (lambda state: change(state, r"time_embedding\.linear_1\.bias", torch.ones(3)), "time_embedding.linear_1"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_the_finding(case: str, tmp_path: Path) -> None:
    make, finding = BAD_FILES[case]
    path = save(make(bksdm_unet("tiny").state_dict()), tmp_path / "unet.safetensors")
    with pytest.raises(StitchError, match=re.escape(finding)) as error:
        load_bksdm(path)
    assert "unet.safetensors" in str(error.value)
