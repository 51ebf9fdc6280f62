"""Models of this pack's loaders that the host's own nodes save, merged or fine-tuned, load again as what they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from comfy_extras.nodes_model_merging import ModelSave
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.families.bksdm import load_bksdm
from tstitch.families.ldm.model import load_ldm
from tstitch.families.starter import FOLDER, STARTERS, load_starter
from tstitch.families.transformer import load_transformer
from tstitch_testing.checkpoints import (
    bksdm_unet,
    diffusers_dit,
    dit_config,
    original_weights,
    save,
    with_shared_embedders,
)
from tstitch_testing.ldm_files import F4, LDMShape, ldm_weights
from tstitch_testing.uvit_files import uvit_config, uvit_weights

SMALL_DIT = dit_config(depth=2, classes=3, grid=4)
Loaded = tuple[Any, str]  # a MODEL and what it is in words


def transformer(**options: Any) -> Callable[[Path], Loaded]:
    return lambda path: load_transformer(path, dtype=torch.float32, **options)


def ldm(**options: Any) -> Callable[[Path], Loaded]:
    def load(path: Path) -> Loaded:
        loaded = load_ldm(path, dtype=torch.float32, **options)
        return loaded.model, loaded.description

    return load


def bksdm(path: Path) -> Loaded:
    return load_bksdm(path, dtype=torch.float32), ""


def facts_of(content: Any) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(content).encode()), dtype=torch.uint8)


Case = tuple[Callable[[], dict[str, Tensor]], Callable[[Path], Loaded], Callable[[Path], Loaded]]
#: The weights, how they were loaded, and how the saved file is: with nothing chosen.
CASES: dict[str, Case] = {
    **{
        f"DiT as {prediction}": (
            lambda: original_weights(SMALL_DIT),
            transformer(prediction=prediction, heads=4),
            transformer(),
        )
        for prediction in ("DiT", "SiT", "REPA")
    },
    "Shortcut": (
        lambda: original_weights(dit_config(depth=2, classes=3, grid=4, learn_sigma=False, shortcut=True)),
        transformer(heads=4),
        transformer(),
    ),
    "DiT of diffusers": (
        lambda: with_shared_embedders(diffusers_dit(SMALL_DIT)).state_dict(),
        transformer(heads=4),
        transformer(),
    ),
    "DiT trained in diffusers": (lambda: diffusers_dit(SMALL_DIT).state_dict(), transformer(heads=4), transformer()),
    "U-ViT": (lambda: uvit_weights(uvit_config(pairs=1, classes=3, grid=2)), transformer(heads=2), transformer()),
    "U-ViT discrete": (
        lambda: uvit_weights(uvit_config(pairs=1, classes=3, grid=2)),
        transformer(prediction="U-ViT discrete", heads=4),
        transformer(),
    ),
    "LDM f8": (lambda: ldm_weights(LDMShape()), ldm(head_channels=16), ldm()),
    "LDM f4": (lambda: ldm_weights(F4), ldm(), ldm()),
    "BK-SDM base": (lambda: bksdm_unet("base").state_dict(), bksdm, bksdm),
    "BK-SDM tiny": (lambda: bksdm_unet("tiny").state_dict(), bksdm, bksdm),
    "BK-SDM of SD 2": (lambda: bksdm_unet("small", 64, 1024).state_dict(), bksdm, bksdm),
}


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Saves a MODEL as the host's Save node does."""
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))

    def save_model(model: Any) -> Path:
        ModelSave().save(model, "merged")
        return tmp_path / "merged_00001_.safetensors"

    return save_model


def everything_of(model: Any, dtype: bool = True) -> dict[str, Any]:
    """What decides a picture besides the weights."""
    inner = model.model
    left_out = {"attention"} if dtype else {"attention", "dtype"}
    config = {key: value for key, value in inner.model_config.unet_config.items() if key not in left_out}
    return {
        "network": type(inner.diffusion_model),
        "config": config,
        "type": inner.model_type,
        "timestep": inner.process_timestep(torch.tensor([0.25, 817.0])).tolist(),
        "sigmas": inner.model_sampling.sigmas.tolist(),
        "latent": type(inner.latent_format),
        "guided": [vars(function) for function in model.model_options.get("sampler_post_cfg_function", [])],
        "classes": getattr(inner.model_config, "class_set", None),
        "size": getattr(inner.model_config, "latent_size", None),
    }


@pytest.mark.parametrize("case", CASES)
def test_a_saved_model_loads_as_what_it_was(case: str, saved: Callable[[Any], Path], tmp_path: Path) -> None:
    weights, load, load_again = CASES[case]
    model, _ = load(save(weights(), tmp_path / "model.pt"))
    patched = model.clone()
    key = next(key for key in model.model.state_dict() if key.endswith("weight") and ".attn" in key)
    patched.add_patches({key: ("diff", (torch.full_like(model.model.state_dict()[key], 0.5),))})
    expected = {name: value.clone() for name, value in model.model.diffusion_model.state_dict().items()}
    expected[key.removeprefix("diffusion_model.")] += 0.5
    again, _ = load_again(saved(patched))
    found = again.model.diffusion_model.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert everything_of(again) == everything_of(model)


def test_what_was_told_is_not_asked_again_but_can_be_chosen(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    model, _ = transformer(prediction="SiT", heads=4)(save(original_weights(SMALL_DIT), tmp_path / "model.pt"))
    path = saved(model)
    assert "SiT (from its metadata" in transformer()(path)[1]
    chosen, description = transformer(prediction="DiT", heads=2)(path)
    assert description.startswith("DiT (chosen")
    assert chosen.model.model_config.dit.heads == 2


@pytest.mark.parametrize("name", STARTERS)
def test_a_saved_starter_is_loaded_by_load_dit(name: str, saved: Callable[[Any], Path]) -> None:
    model = load_starter(name)
    again, description = transformer()(saved(model))
    assert description.startswith("starter model (predicts " + ("noise" if name == "S-eps" else "velocity"))
    found = again.model.diffusion_model.state_dict()
    for key, value in model.model.diffusion_model.state_dict().items():
        assert torch.equal(found[key], value.float()), key
    assert everything_of(again, dtype=False) == everything_of(model, dtype=False)


@pytest.mark.parametrize("chosen", [{"prediction": "DiT"}, {"heads": 2}])
def test_what_a_starter_tells_cannot_be_chosen(chosen: dict[str, Any]) -> None:
    with pytest.raises(StitchError, match=r"starter_s\.safetensors is a starter model.*: choose auto and 0\."):
        transformer(**chosen)(FOLDER / STARTERS["S"])


@pytest.mark.parametrize(
    ("facts", "finding"),
    [
        (torch.tensor([123, 4], dtype=torch.uint8), r"is damaged \(tstitch\.facts is not readable\)"),
        (torch.zeros(2, 2), r"is damaged \(tstitch\.facts is not readable\)"),
        (facts_of({"tstitch.dit": "{}"}), "describes its starter model wrongly"),
        (facts_of({"tstitch.dit": "1", "tstitch.prediction": "flow"}), "describes its starter model wrongly"),
        (facts_of({"tstitch.heads": "7"}), "which 7 attention heads cannot share"),
    ],
)
def test_damaged_facts_are_refused(facts: Tensor, finding: str, tmp_path: Path) -> None:
    path = save({**original_weights(SMALL_DIT), "tstitch.facts": facts}, tmp_path / "model.safetensors")
    with pytest.raises(StitchError, match=r"model\.safetensors .*" + finding):
        transformer()(path)


def test_facts_that_tell_nothing_are_passed_over(tmp_path: Path) -> None:
    for number, facts in enumerate(([], {"tstitch.heads": "-1", "tstitch.grid": "x", "tstitch.variant": 7})):
        path = save({**original_weights(SMALL_DIT), "tstitch.facts": facts_of(facts)}, tmp_path / f"{number}.pt")
        assert "2 heads" in transformer()(path)[1]
