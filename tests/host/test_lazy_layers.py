"""Newer hosts make linear layers and tables without weights, which come with the file (dynamic VRAM)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tstitch.families.bksdm import load_bksdm
from tstitch.families.latent_diffusion import load_ldm
from tstitch.families.transformer import load_transformer
from tstitch_testing.checkpoints import bksdm_unet, dit_config, original_weights, save
from tstitch_testing.ldm_files import LDMShape, ldm_weights
from tstitch_testing.uvit_files import uvit_config, uvit_weights

FAMILIES: dict[str, tuple[Callable[[], Any], Callable[[Path], Any]]] = {
    "DiT": (
        lambda: original_weights(dit_config(depth=1, classes=3, grid=2)),
        lambda path: load_transformer(str(path), path.name, heads=2, dtype=torch.bfloat16)[0],
    ),
    "U-ViT": (
        lambda: uvit_weights(uvit_config(pairs=1, classes=3, grid=2)),
        lambda path: load_transformer(str(path), path.name, heads=2, dtype=torch.bfloat16)[0],
    ),
    "BK-SDM": (lambda: bksdm_unet("tiny").state_dict(), lambda path: load_bksdm(path, dtype=torch.bfloat16)),
    "LDM": (lambda: ldm_weights(LDMShape()), lambda path: load_ldm(str(path), path.name, dtype=torch.bfloat16).model),
}


@pytest.fixture
def lazy_layers(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    memory_management = pytest.importorskip("comfy.memory_management", reason="this host makes all weights at once")
    return lambda: monkeypatch.setattr(memory_management, "aimdo_enabled", True)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_without_weights_take_those_of_the_file(
    family: str, lazy_layers: Callable[[], None], tmp_path: Path
) -> None:
    weights, load = FAMILIES[family]
    path = save(weights(), tmp_path / "model.pt")
    expected = load(path).model.diffusion_model.state_dict()
    lazy_layers()
    found = load(path).model.diffusion_model.state_dict()
    assert set(found) == set(expected)
    for key, value in found.items():
        assert value.dtype == expected[key].dtype
        assert torch.equal(value, expected[key])
