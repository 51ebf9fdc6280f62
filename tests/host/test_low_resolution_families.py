"""Low-Resolution Model with the networks of the host's newer families and all that their conditioning may carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.sample
import pytest
import torch
from torch import Tensor

from tstitch.families.class_labels import class_inputs
from tstitch.families.transformer import load_transformer
from tstitch.resolution.model import low_resolution
from tstitch_testing.checkpoints import dit_config, original_weights, save
from tstitch_testing.sampling import stitched
from tstitch_testing.small_networks import SMALL_NETWORKS, SmallNetwork
from tstitch_testing.uvit_files import uvit_config, uvit_weights

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", params=SMALL_NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[SmallNetwork, Any]:
    small = SMALL_NETWORKS[request.param]
    if not small.exists():
        pytest.skip("the host does not know this family")
    try:
        return small, small.model()
    except TypeError as unknown:
        pytest.skip(f"the host knows this family in another form: {unknown}")


def sample(small: SmallNetwork, model: Any, steps: int = 4, shape: tuple[int, ...] | None = None) -> Tensor:
    latent = torch.zeros(small.shape if shape is None else shape)
    mask = None
    if "keyframe_idxs" in small.conditioning(0.0)[0][1]:  # of a frame that is there, and is kept
        latent[:, :, -1] = 0.5
        mask = torch.ones(1, 1, *latent.shape[2:])
        mask[:, :, -1] = 0
    noise = comfy.sample.prepare_noise(latent, 3)
    conds = (small.conditioning(value, tuple(latent.shape)) for value in (0.4, -0.2))
    return comfy.sample.sample(
        model, noise, steps, 2.0, "euler", "simple", *conds, latent, noise_mask=mask, disable_pbar=True, seed=3
    )


@pytest.mark.parametrize("scale", [0.5, 0.75])
def test_a_family_is_its_own_small_model(network: tuple[SmallNetwork, Any], scale: float) -> None:
    small, model = network
    reduced = low_resolution(model, scale)
    large, alone = sample(small, model), sample(small, reduced)
    assert large.isfinite().all()
    assert alone.isfinite().all()
    assert alone.shape == large.shape
    assert not torch.allclose(alone, large, rtol=0.01)
    for splits, expected in (("0", large), ("1", alone)):
        assert torch.equal(sample(small, stitched([reduced, model], splits)), expected)
    joined = sample(small, stitched([reduced, model], "0.5"))
    assert joined.isfinite().all()
    assert not torch.equal(joined, large)
    assert not torch.equal(joined, alone)


def test_sizes_that_the_patches_do_not_divide(network: tuple[SmallNetwork, Any]) -> None:
    small, model = network
    shape = (*small.shape[:-2], 10, 14)
    found = sample(small, stitched([low_resolution(model, 0.75), model], "0.5"), shape=shape)
    assert found.shape == shape
    assert found.isfinite().all()


FILES = {
    "DiT": lambda: original_weights(dit_config(depth=1, grid=5, classes=10)),
    "U-ViT": lambda: uvit_weights(uvit_config(pairs=1, classes=10, grid=5)),
}


@pytest.mark.parametrize("kind", FILES)
def test_transformers_of_this_pack_see_whole_patches(kind: str, tmp_path: Path) -> None:
    path = save(FILES[kind](), tmp_path / "x.pt")
    model = load_transformer(path, kind, "auto", torch.float32, 2)[0]
    inputs = class_inputs(model, "7")
    latent = inputs.latent["samples"]
    assert latent.shape[-2:] == (10, 10)

    def run(sampled: Any) -> Tensor:
        return comfy.sample.sample(
            sampled, comfy.sample.prepare_noise(latent, 0), 4, 2.0, "euler", "simple", inputs.positive, inputs.negative,
            latent, disable_pbar=True, seed=0,
        )  # fmt: skip

    assert sizes_seen(model, lambda: run(low_resolution(model, 0.5))) == {(6, 6)}  # 5 would be two patches and a half
    assert run(stitched([low_resolution(model, 0.67), model], "0.5")).isfinite().all()


def sizes_seen(model: Any, run: Callable[[], Any]) -> set[tuple[int, ...]]:
    seen: set[tuple[int, ...]] = set()
    handle = model.model.diffusion_model.register_forward_pre_hook(
        lambda module, args: seen.add(tuple(args[0].shape[-2:]))
    )
    run()
    handle.remove()
    return seen


def test_a_network_is_asked_at_the_smaller_size(network: tuple[SmallNetwork, Any]) -> None:
    small, model = network
    height, width = small.shape[-2:]
    assert sizes_seen(model, lambda: sample(small, low_resolution(model, 0.5))) == {(height // 2, width // 2)}
