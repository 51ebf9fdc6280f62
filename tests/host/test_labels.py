"""Class labels by number and name, and the nodes that take them, in the real host."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import folder_paths
import pytest
import torch

from tstitch.errors import StitchError
from tstitch.families.class_labels import AVATAR_STYLES, ClassSet, class_inputs
from tstitch_testing.checkpoints import bksdm_unet, dit_config, original_weights, save
from tstitch_testing.models import gaussian_model

AVATARS = ClassSet.of(10, AVATAR_STYLES)
IMAGENET = ClassSet.of(1000)
NUMBERED = ClassSet.of(37)


@pytest.mark.parametrize(
    ("classes", "text", "expected"),
    [
        (AVATARS, "all", list(range(10))),
        (AVATARS, "Personas, pixel art,3", [7, 8, 3]),
        (ClassSet.of(2, ("Pixel Art", "Art")), "art", [1]),  # the whole name, though Pixel Art has it as a part
        (AVATARS, "toon; 0\n0", [9, 0, 0]),
        (AVATARS, "1 2  3", [1, 2, 3]),
        (AVATARS, "1 2, pixel", [1, 2, 8]),
        (IMAGENET, "golden retriever, 88", [207, 88]),
        (IMAGENET, "macaw", [88]),
        (IMAGENET, "Volcano", [980]),
        (IMAGENET, "Cardigan, cardigan", [264, 474]),  # a dog and a garment
        (NUMBERED, "36, 0", [36, 0]),
        (NUMBERED, "all", list(range(37))),
    ],
)
def test_labels_are_numbers_or_names(classes: ClassSet, text: str, expected: list[int]) -> None:
    assert classes.parse(text) == expected


@pytest.mark.parametrize(
    ("classes", "text", "finding"),
    [
        (AVATARS, "Hat", 'labels has "Hat", which is no class: use Adventurer, Big Ears'),
        (AVATARS, "10", "labels has 10, but the classes are numbered 0 to 9"),
        (AVATARS, " ", "labels is empty"),
        (AVATARS, "-1", 'labels has "-1", which is no class'),
        (IMAGENET, "1000", "numbered 0 to 999"),
        (IMAGENET, "all", "would be 1000 pictures"),
        (IMAGENET, "spaniel", "which fits Japanese spaniel .152., .* and 1 more: write one of them in full"),
        (IMAGENET, "CARDIGAN", "which fits Cardigan .264., cardigan .474.: write one of them in full"),
        (IMAGENET, "volcanoe", "did you mean volcano .980."),
        (IMAGENET, "xqzzy", "use a number from 0 to 999"),
        (NUMBERED, "dog", "no names for its 37 classes, so use their numbers"),
    ],
)
def test_a_wrong_label_is_named_with_the_remedy(classes: ClassSet, text: str, finding: str) -> None:
    with pytest.raises(StitchError, match=finding):
        classes.parse(text)


def test_other_models_have_no_labels() -> None:
    with pytest.raises(StitchError, match="model does not draw classes"):
        class_inputs(gaussian_model(), "1")


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models/diffusion_models of the host."""
    _, extensions = folder_paths.folder_names_and_paths["diffusion_models"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(tmp_path)], extensions))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def execute(host_nodes: ModuleType, node: str, **inputs: Any) -> tuple[Any, ...]:
    return host_nodes.NODE_CLASS_MAPPINGS[node].execute(**inputs).result


def load_dit(host_nodes: ModuleType, name: str, **more: Any) -> tuple[Any, ...]:
    inputs = {"prediction": "auto", "guidance_channels": "auto", "weight_dtype": "default", "heads": 2, **more}
    return execute(host_nodes, "TStitchLoadDiT", dit_name=name, **inputs)


def test_the_nodes_load_a_dit_and_label_it(host_nodes: ModuleType, model_folder: Path) -> None:
    (model_folder / "sit").mkdir()
    save(original_weights(dit_config()), model_folder / "sit" / "XL-2-256x256.pt")
    model, info = load_dit(host_nodes, "sit/XL-2-256x256.pt")
    assert info.startswith("SiT (from the file's name")
    positive, negative, latent = execute(
        host_nodes, "TStitchClassLabel", model=model, labels="golden retriever, 3", imagenet_class="980 volcano"
    )
    assert positive[0][0].shape == (3, 1, 1000)
    assert positive[0][0].argmax(dim=-1).flatten().tolist() == [207, 3, 980]
    assert torch.equal(negative[0][0], torch.zeros(1, 1, 1000))
    assert latent["samples"].shape == (3, 4, 32, 32)


def test_a_model_of_one_class_is_never_told_it(host_nodes: ModuleType, model_folder: Path) -> None:
    """Its training dropped every label, so the class's own row was never trained: the last one of the table was."""
    save(original_weights(dit_config(classes=1)), model_folder / "DiT-celeba.pt")
    model, _ = load_dit(host_nodes, "DiT-celeba.pt")
    no_class = host_nodes.NODE_CLASS_MAPPINGS["TStitchClassLabel"].GET_SCHEMA().inputs[2].options[0]
    inputs = {"model": model, "labels": "0, 0", "imagenet_class": no_class}
    positive, negative, latent = execute(host_nodes, "TStitchClassLabel", **inputs)
    assert torch.equal(positive[0][0], torch.zeros(2, 1, 1))
    assert torch.equal(negative[0][0], torch.zeros(1, 1, 1))
    assert len(latent["samples"]) == 2


def test_a_class_may_come_from_the_list_alone(host_nodes: ModuleType, model_folder: Path) -> None:
    save(original_weights(dit_config(grid=32)), model_folder / "DiT.safetensors")
    model, _ = load_dit(host_nodes, "DiT.safetensors")
    positive, _, latent = execute(host_nodes, "TStitchClassLabel", model=model, labels="", imagenet_class="980 volcano")
    assert positive[0][0].argmax(dim=-1).flatten().tolist() == [980]
    assert latent["samples"].shape == (1, 4, 64, 64)


@pytest.mark.parametrize(
    ("choice", "patched"), [("auto", True), ("three", True), ("all", False)], ids=["auto", "three", "all"]
)
def test_guidance_channels_are_chosen(choice: str, patched: bool, host_nodes: ModuleType, model_folder: Path) -> None:
    save(original_weights(dit_config(classes=3)), model_folder / "DiT.pt")
    model, _ = load_dit(host_nodes, "DiT.pt", guidance_channels=choice)
    assert ("sampler_post_cfg_function" in model.model_options) == patched


def test_the_starter_loader_and_the_label_node_agree(host_nodes: ModuleType) -> None:
    model, _, *starter = execute(host_nodes, "TStitchLoadStarter", model="S", labels="Micah, 2")
    labelled = execute(host_nodes, "TStitchClassLabel", model=model, labels="micah, 2", imagenet_class="(none)")
    for one, other in zip(starter, labelled, strict=True):
        assert torch.equal(*(item["samples"] if isinstance(item, dict) else item[0][0] for item in (one, other)))
    with pytest.raises(ValueError, match=r'imagenet_class is "980 volcano", .* but this model has 10: choose \(none\)'):
        execute(host_nodes, "TStitchClassLabel", model=model, labels="0", imagenet_class="980 volcano")
    with pytest.raises(ValueError, match=r"imagenet_class must be one of .*, perhaps 980 volcano\."):
        execute(host_nodes, "TStitchClassLabel", model=model, labels="0", imagenet_class="volcano")


def test_the_node_loads_bksdm(host_nodes: ModuleType, model_folder: Path) -> None:
    save(bksdm_unet("tiny").state_dict(), model_folder / "tiny.bin")
    (model,) = execute(host_nodes, "TStitchLoadBKSDM", unet_name="tiny.bin", weight_dtype="fp16")
    assert model.model.get_dtype() == torch.float16


@pytest.mark.parametrize(("node", "file"), [("TStitchLoadDiT", "dit_name"), ("TStitchLoadBKSDM", "unet_name")])
def test_files_of_the_model_folders_are_offered(
    node: str, file: str, host_nodes: ModuleType, model_folder: Path
) -> None:
    for name in ("a.pt", "b.safetensors", "c.txt"):
        (model_folder / name).write_bytes(b"")
    listed = host_nodes.NODE_CLASS_MAPPINGS[node].INPUT_TYPES()["required"][file]
    options = listed[0] if isinstance(listed[0], list) else listed[1]["options"]
    assert {"a.pt", "b.safetensors"} <= set(options)
    assert "c.txt" not in options


def test_public_names_and_their_order(host_nodes: ModuleType) -> None:
    expected = {
        "TStitchLoadDiT": ["dit_name", "prediction", "guidance_channels", "weight_dtype", "heads"],
        "TStitchClassLabel": ["model", "labels", "imagenet_class"],
        "TStitchLoadBKSDM": ["unet_name", "weight_dtype"],
        "TStitchLoadStarter": ["model", "labels"],
    }
    for node, inputs in expected.items():
        schema = host_nodes.NODE_CLASS_MAPPINGS[node].define_schema()
        assert [item.id for item in schema.inputs] == inputs
        assert all(item.tooltip for item in schema.inputs)
