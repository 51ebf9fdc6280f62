"""Nodes that wrap a model's forward (EasyCache) reach the networks of this pack's loaders."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import comfy.sample
import comfy_extras.nodes_easycache
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from tstitch.families.class_labels import class_inputs
from tstitch.families.transformer import load_transformer
from tstitch_testing.checkpoints import dit_config, original_weights, save
from tstitch_testing.sampling import stitched
from tstitch_testing.uvit_files import uvit_config, uvit_weights

DIT = dit_config(depth=2, grid=4, classes=10)
SHORTCUT = dataclasses.replace(DIT, shortcut=True, learn_sigma=False)
FILES = {
    "DiT": lambda: original_weights(DIT),
    "SiT": lambda: original_weights(DIT),
    "Shortcut": lambda: original_weights(SHORTCUT),
    "U-ViT": lambda: uvit_weights(uvit_config(pairs=1, classes=10, grid=4)),
}


def load(kind: str, folder: Path, name: str = "x") -> Any:
    path = save(FILES[kind](), folder / f"{name}.pt")
    return load_transformer(path, kind, "auto", torch.float32, 2)[0]


def sample(model: Any, steps: int = 8) -> Tensor:
    inputs = class_inputs(model, "7")  # one: EasyCache of ComfyUI 0.3.52 fails on guided batches of more
    latent = inputs.latent["samples"]
    noise = comfy.sample.prepare_noise(latent, 0)
    conds = (inputs.positive, inputs.negative)
    return comfy.sample.sample(
        model, noise, steps, 2.0, "euler", "simple", *conds, latent, seed=0, disable_pbar=True
    )  # fmt: skip


def counted(model: Any) -> list[int]:
    """Grows by the rows of every real pass through the network."""
    rows: list[int] = []
    network = model.model.diffusion_model
    first = network.x_embedder if hasattr(network, "x_embedder") else network.patch_embed
    first.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    return rows


@pytest.mark.parametrize("kind", FILES)
def test_a_wrapper_stands_around_every_call(kind: str, tmp_path: Path) -> None:
    plain = load(kind, tmp_path)
    rows = counted(plain)
    expected = sample(plain)
    calls: list[tuple[tuple[int, ...], float]] = []

    def halve(executor: Any, x: Tensor, timesteps: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        assert args[-1]["sigmas"] is not None  # the options come last, where the host's own wrappers look for them
        calls.append((tuple(x.shape), float(timesteps[0])))
        return executor(x, timesteps, *args, **kwargs) / 2

    wrapped = plain.clone()
    wrapped.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", halve)
    assert not torch.equal(sample(wrapped), expected)
    assert len(calls) == len(rows) // 2  # `rows` saw both runs
    assert torch.equal(sample(plain), expected)


@pytest.mark.parametrize("kind", FILES)
def test_what_a_wrapper_writes_into_its_input_stays_there(kind: str, tmp_path: Path) -> None:
    """EasyCache adds to x in place, which for a flow model in float32 is what the host counts its answer from."""
    plain = load(kind, tmp_path)

    def spoil(executor: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        output = executor(x, *args, **kwargs)
        x.zero_()
        return output

    wrapped = plain.clone()
    wrapped.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", spoil)
    assert torch.equal(sample(wrapped), sample(plain))


@pytest.mark.parametrize("kind", FILES)
def test_easycache_skips_calls(kind: str, tmp_path: Path) -> None:
    model = load(kind, tmp_path)
    rows = counted(model)
    expected = sample(model)
    whole = sum(rows)
    cached = comfy_extras.nodes_easycache.EasyCacheNode.execute(model, 3.0, 0.1, 0.95, False).result[0]
    rows.clear()
    result = sample(cached)
    assert torch.isfinite(result).all()
    assert not torch.equal(result, expected)
    assert 0 < sum(rows) < whole


def test_easycache_on_one_stage_leaves_the_other_alone(tmp_path: Path) -> None:
    models = [load("DiT", tmp_path, name) for name in ("small", "large")]
    small, large = map(counted, models)
    cached = comfy_extras.nodes_easycache.EasyCacheNode.execute(models[1], 3.0, 0.0, 1.0, False).result[0]
    sample(stitched([models[0], cached], pattern="1x4 2x4"))
    assert sum(small) == 4 * 2  # steps, with and without class
    assert 0 < sum(large) < sum(small)
