"""Every loader, given what is no model of its own: one sentence that names the file and the finding."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import folder_paths
import pytest
import torch
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.families.shared.checkpoint import read_checkpoint
from tstitch_testing.checkpoints import bksdm_unet, dit_config, original_weights, save
from tstitch_testing.ldm_files import LDMShape, ldm_weights, vq_model, vq_weights
from tstitch_testing.uvit_files import uvit_config, uvit_weights

State = dict[str, Tensor]

FAMILIES: dict[str, Callable[[], State]] = {
    "DiT": lambda: original_weights(dit_config(depth=1, classes=3, grid=2)),
    "U-ViT": lambda: uvit_weights(uvit_config(pairs=1, classes=3, grid=2)),
    "BK-SDM": lambda: bksdm_unet("tiny").state_dict(),
    "LDM": lambda: ldm_weights(LDMShape(), first_stage=False),
    "first stage": lambda: vq_weights(vq_model()),
}
DIT = {"prediction": "auto", "guidance_channels": "auto", "weight_dtype": "default", "heads": 2}
LDM = {"labels": "1", "first_stage": "(in the model's file)", "weights": "averaged", "weight_dtype": "default"}
#: The node, the input that names the file, the others, and the families it reads.
LOADERS: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "Load DiT": ("TStitchLoadDiT", "dit_name", DIT, ("DiT", "U-ViT")),
    "Load BK-SDM": ("TStitchLoadBKSDM", "unet_name", {"weight_dtype": "default"}, ("BK-SDM",)),
    "Load LDM": ("TStitchLoadLDM", "ldm_name", {**LDM, "head_channels": 0}, ("LDM",)),
    "its first_stage": (
        "TStitchLoadLDM",
        "first_stage",
        {**LDM, "ldm_name": "good.pt", "head_channels": 0},
        ("first stage",),
    ),
}


class Payload:
    """Unpickled by an unsafe loader, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def cut(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def with_code(state: State, path: Path) -> Path:
    torch.save({"state_dict": state, "extra": Payload(path.with_name("ran"))}, path)
    return path


def of_text(path: Path) -> Path:
    path.write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    return path


def of_objects(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


DAMAGE: dict[str, tuple[Callable[[State, Path], Path], str]] = {
    "gone": (lambda state, folder: folder / "gone.pt", "The file gone.pt is in neither models/"),
    "empty": (lambda state, folder: save({}, folder / "bad.pt"), "The file bad.pt holds no weights"),
    "a list": (lambda state, folder: of_objects([1, 2], folder / "bad.pt"), "The file bad.pt holds no weights"),
    "cut safetensors": (
        lambda state, folder: cut(save(state, folder / "bad.safetensors")),
        "bad.safetensors is damaged",
    ),
    "cut pickle": (lambda state, folder: cut(save(state, folder / "bad.pt")), "The file bad.pt is damaged"),
    "a pointer": (lambda state, folder: of_text(folder / "bad.safetensors"), "The file bad.safetensors is damaged"),
    "text": (lambda state, folder: of_text(folder / "bad.ckpt"), "The file bad.ckpt is damaged"),
    "code": (lambda state, folder: with_code(state, folder / "bad.ckpt"), "The file bad.ckpt holds code"),
    "scalars": (
        lambda state, folder: save({key: torch.ones(()) for key in state}, folder / "bad.pt"),
        "The file bad.pt is no",
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's only folder of models of each kind."""
    for kind in ("diffusion_models", "checkpoints", "vae"):
        _, extensions = folder_paths.folder_names_and_paths[kind]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(tmp_path)], extensions))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def refusal(host_nodes: ModuleType, loader: str, folder: Path, path: Path) -> str:
    kind, file_input, inputs, _ = LOADERS[loader]
    if file_input == "first_stage":
        save(FAMILIES["LDM"](), folder / "good.pt")
    with pytest.raises(Exception, match=re.escape(path.name)) as error:
        host_nodes.NODE_CLASS_MAPPINGS[kind].execute(**{**inputs, file_input: path.name})
    assert type(error.value).__name__ == "StitchError"
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("loader", LOADERS)
def test_a_damaged_file_is_named_with_the_finding(
    loader: str, damage: str, host_nodes: ModuleType, folder: Path
) -> None:
    make, finding = DAMAGE[damage]
    path = make(FAMILIES[LOADERS[loader][3][0]](), folder)
    assert finding in refusal(host_nodes, loader, folder, path)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("loader", "family"),
    [(loader, family) for loader, (*_, own) in LOADERS.items() for family in FAMILIES if family not in own],
)
def test_a_file_of_another_family_is_named_with_the_finding(
    loader: str, family: str, host_nodes: ModuleType, folder: Path
) -> None:
    path = save(FAMILIES[family](), folder / "other.pt")
    assert re.search(r"is no |holds no |is a Stable Diffusion model ", refusal(host_nodes, loader, folder, path))


def test_labels_out_of_range_are_named(host_nodes: ModuleType, folder: Path) -> None:
    save(FAMILIES["LDM"](), folder / "ldm.pt")
    inputs = {**LDM, "ldm_name": "ldm.pt", "labels": "1, 8", "head_channels": 0}
    with pytest.raises(ValueError, match="labels has 8, but the classes are numbered 0 to 7"):
        host_nodes.NODE_CLASS_MAPPINGS["TStitchLoadLDM"].execute(**inputs)


@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**58, dtype=torch.uint8), lambda: bytearray(2**58)])
def test_too_little_memory_is_not_called_damage(
    allocate: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(FAMILIES["DiT"](), tmp_path / "model.pt")
    monkeypatch.setattr(torch, "load", lambda *_, **__: allocate())
    with pytest.raises(StitchError, match=r"not enough main memory to read the file model\.pt of 0\.0 GiB"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("loader", "choices"),
    [
        ("Load DiT", {"prediction": "flow"}),
        ("Load DiT", {"guidance_channels": "3"}),
        ("Load DiT", {"weight_dtype": "float16"}),
        ("Load BK-SDM", {"weight_dtype": "half"}),
        ("Load LDM", {"weights": "average"}),
        ("Load LDM", {"weight_dtype": "float16"}),
    ],
    ids=str,
)
def test_a_choice_that_no_widget_lists_is_named(
    host_nodes: ModuleType, folder: Path, loader: str, choices: dict[str, str]
) -> None:
    """Some hosts let it pass where it comes over the API."""
    node, file_input, inputs, families = LOADERS[loader]
    save(FAMILIES[families[0]](), folder / "good.pt")
    ((name, value),) = choices.items()
    with pytest.raises(ValueError, match=f"^{name} must be one of .*, got {value}"):
        host_nodes.NODE_CLASS_MAPPINGS[node].execute(**{file_input: "good.pt"}, **{**inputs, **choices})


def test_a_starter_model_that_is_not_listed_is_named(host_nodes: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"^model must be one of .*, got XXL\.$"):
        host_nodes.NODE_CLASS_MAPPINGS["TStitchLoadStarter"].execute("XXL", "0")
