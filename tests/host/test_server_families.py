"""A real server loads stand-ins of the published files from its model folders, stitches them, and survives bad ones."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from scripts.client import Client, RunError, RunRecord
from scripts.server import Server, free_port, running_server
from tstitch_testing.checkpoints import bksdm_unet, dit_config, original_weights, save
from tstitch_testing.ldm_files import LDMShape, ldm_weights
from tstitch_testing.uvit_files import uvit_config, uvit_weights

Prompt = dict[str, dict[str, Any]]
LDM = LDMShape(rows=1001)


def write_models(models: Path) -> None:
    unets, checkpoints = models / "diffusion_models", models / "checkpoints"
    for folder in (unets, checkpoints):
        folder.mkdir(parents=True)
    small, large = {"width": 96, "depth": 1, "heads": 2}, {"width": 144, "depth": 2, "heads": 2}
    save(original_weights(dit_config(**small)), unets / "DiT-S-2-256x256.pt")
    save(original_weights(dit_config(**large), 1), unets / "DiT-XL-2-256x256.pt")
    save(uvit_weights(uvit_config(pairs=1)), unets / "imagenet256_uvit.pth")
    save(original_weights(dit_config(classes=768, depth=1, width=96)), unets / "DiT-768.pt")
    save(bksdm_unet("tiny").state_dict(), unets / "bk-sdm-tiny.bin")
    save(bksdm_unet("base").state_dict(), unets / "bk-sdm-base.safetensors")
    save(ldm_weights(LDM, first_stage=False), checkpoints / "ldm_s.ckpt", "state_dict")
    wide = dataclasses.replace(LDM, width=64, context=24)
    whole = save(ldm_weights(wide, 1, averaged=True), checkpoints / "ldm.ckpt", "state_dict")
    (checkpoints / "broken.ckpt").write_bytes(whole.read_bytes()[:-5000])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("base")
    write_models(base / "models")
    with running_server(Path(os.environ["COMFYUI_PATH"]), base, free_port(), not torch.cuda.is_available()) as it:
        yield it


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def dit(name: str) -> dict[str, Any]:
    more = {"prediction": "auto", "guidance_channels": "auto", "weight_dtype": "default", "heads": 2}
    return node("TStitchLoadDiT", dit_name=name, **more)


def bksdm(name: str) -> dict[str, Any]:
    return node("TStitchLoadBKSDM", unet_name=name, weight_dtype="default")


def ldm(name: str, first_stage: str = "(in the model's file)") -> dict[str, Any]:
    more = {"weights": "averaged", "weight_dtype": "default", "head_channels": 0}
    return node("TStitchLoadLDM", ldm_name=name, labels="207", first_stage=first_stage, **more)


def labels(model: str) -> dict[str, Any]:
    return node("TStitchClassLabel", model=[model, 0], labels="207, 3", imagenet_class="(none)")


def sampler(positive: list[Any], negative: list[Any], latent: list[Any], seed: int = 1) -> dict[str, Any]:
    settings = {"seed": seed, "steps": 2, "cfg": 2.0, "sampler_name": "dpmpp_2m", "scheduler": "normal", "denoise": 1.0}
    conds = {"positive": positive, "negative": negative, "latent_image": latent}
    choices = {"fraction": 0.5, "unit": "steps", "memory": "auto"}
    return node("TStitchKSampler", model=["large", 0], small_model=["small", 0], **settings, **conds, **choices)


def of_classes(small: dict[str, Any], large: dict[str, Any], source: dict[str, Any], seed: int = 1) -> Prompt:
    return {
        "small": small,
        "large": large,
        "source": source,
        "labels": labels("source"),
        "sampler": sampler(["labels", 0], ["labels", 1], ["labels", 2], seed),
        "save": node("SaveLatent", samples=["sampler", 0], filename_prefix="latents/families"),
    }


def of_ldm(small: str, large: str) -> Prompt:
    return {
        "small": ldm(small),
        "large": ldm(large),
        "sampler": sampler(["large", 2], ["large", 3], ["large", 4]),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["large", 1]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix="ldm"),
    }


def run(server: Server, *prompts: Prompt) -> list[RunRecord | str]:
    """Queue each prompt; its record, or what it failed with."""

    async def queue_all() -> list[RunRecord | str]:
        async with Client(server.address) as client:
            results: list[RunRecord | str] = []
            for prompt in prompts:
                try:
                    results.append(await client.run(prompt, lambda *_: None))
                except RunError as error:
                    results.append(str(error))
            return results

    return asyncio.run(queue_all())


def latent_of(server: Server, result: RunRecord | str) -> Tensor:
    assert not isinstance(result, str), result
    (saved,) = result.outputs["save"]["latents"]
    return load_file(server.log.parent / "output" / saved["subfolder"] / saved["filename"])["latent_tensor"]


#: Class Label of a DiT with 768 classes stands in for the text of Stable Diffusion, which is as wide.
PAIRS = {
    "DiT-S, DiT-XL": (dit("DiT-S-2-256x256.pt"), dit("DiT-XL-2-256x256.pt"), dit("DiT-S-2-256x256.pt")),
    "DiT-S, U-ViT": (dit("DiT-S-2-256x256.pt"), dit("imagenet256_uvit.pth"), dit("imagenet256_uvit.pth")),
    "BK-SDM": (bksdm("bk-sdm-tiny.bin"), bksdm("bk-sdm-base.safetensors"), dit("DiT-768.pt")),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_of_published_models_is_stitched(server: Server, pair: str) -> None:
    (result,) = run(server, of_classes(*PAIRS[pair]))
    latent = latent_of(server, result)
    assert latent.shape == (2, 4, 32, 32)
    assert torch.isfinite(latent).all()
    assert latent.std() > 0.1


def test_ldm_s_and_ldm_draw_pictures(server: Server) -> None:
    (result,) = run(server, of_ldm("ldm_s.ckpt", "ldm.ckpt"))
    assert not isinstance(result, str), result
    (image,) = result.images()
    picture = np.asarray(Image.open(server.log.parent / "output" / image["subfolder"] / image["filename"]))
    assert picture.shape == (256, 256, 3)
    assert picture.std() > 1


def test_bad_files_are_one_sentence_and_the_next_run_works(server: Server) -> None:
    no_vae = of_ldm("ldm_s.ckpt", "ldm_s.ckpt")
    other_latents = {**of_ldm("ldm_s.ckpt", "ldm.ckpt"), "small": dit("DiT-S-2-256x256.pt")}
    broken, missing_vae, mixed, after = run(
        server, of_ldm("broken.ckpt", "ldm.ckpt"), no_vae, other_latents, of_classes(*PAIRS["BK-SDM"], seed=2)
    )
    assert isinstance(broken, str)
    assert "The file broken.ckpt is damaged or incomplete" in broken
    assert isinstance(missing_vae, str)
    assert "The file ldm_s.ckpt holds no VAE: choose the file that does in first_stage." in missing_vae
    assert isinstance(mixed, str)
    assert "stitched models must share one latent space" in mixed
    assert torch.isfinite(latent_of(server, after)).all()
