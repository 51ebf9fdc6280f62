"""What every example workflow has for people who open it, and for the page that lists it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
FILES = sorted(FOLDER.glob("*.json"))
WEIGHTS = re.compile(r"\.(safetensors|ckpt|pt|pth|bin)$")
DIRECTORIES = {"checkpoints", "diffusion_models", "text_encoders", "vae", "loras", "controlnet"}
KILOBYTE = 1024


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def model_names(node: dict[str, Any]) -> set[str]:
    texts = [value for value in node.get("widgets_values") or [] if isinstance(value, str)]
    return {text for text in texts if WEIGHTS.search(text)}


def test_there_is_one_for_every_surface_and_pair() -> None:
    surfaces = {"tstitch", "three_models", "schedule", "guiders", "img2img", "inpaint", "pattern", "shortcut"}
    surfaces |= {"auto", "budget_plan", "joint_plan"}
    pairs = {"dit_s_dit_xl", "dit_s_b_xl", "dit_s_u_vit", "ldm_s_ldm", "bk_sdm_sd14", "stylised_sd15", "ssd_1b_sdxl"}
    pairs |= {"ssd_1b_sdxl_canny", "ssd_1b_sdxl_lcm", "ssd_1b_sdxl_refiner", "shortcut_4_steps"}
    pairs |= {"wan21_video", "wan22_video", "wan22_own_steps", "lumina_flux"}
    assert {f"starter_{name}" for name in surfaces} | pairs <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_note_says_what_to_expect_and_which_files_it_needs(path: Path) -> None:
    workflow = read(path)
    notes = [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] in ("MarkdownNote", "Note")]
    assert notes
    assert notes[0].startswith("# ")
    assert len(notes[0].split()) > 30
    needed = set().union(*(model_names(node) for node in workflow["nodes"]))
    assert all(name in "\n".join(notes) for name in needed)
    if not needed:
        assert "download" in "\n".join(notes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_model_file_is_named_with_its_source(path: Path) -> None:
    """The page's dialog for missing models reads the property `models` of the node that loads them."""
    for node in read(path)["nodes"]:
        named = {model["name"]: model for model in node["properties"].get("models", [])}
        assert set(named) == model_names(node), node["type"]
        for model in named.values():
            assert set(model) == {"name", "url", "directory"}
            assert model["url"].startswith("https://")
            assert model["directory"] in DIRECTORIES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_links_of_a_file_agree(path: Path) -> None:
    """Each link is known to both of its ends, and fits their types."""
    workflow = read(path)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, origin, slot, target, socket, kind in workflow["links"]:
        assert number in nodes[origin]["outputs"][slot]["links"]
        assert nodes[origin]["outputs"][slot]["type"] == kind
        assert nodes[target]["inputs"][socket]["link"] == number
    used = [item["link"] for node in nodes.values() for item in node.get("inputs", []) if item.get("link") is not None]
    assert sorted(used) == sorted(link[0] for link in workflow["links"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_picture_lies_beside_it(path: Path) -> None:
    picture = Image.open(path.with_suffix(".jpg"))
    assert picture.format == "JPEG"
    assert 400 <= picture.width <= 500
    assert path.with_suffix(".jpg").stat().st_size < 60 * KILOBYTE


def test_no_picture_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.jpg")} == {path.stem for path in FILES}
