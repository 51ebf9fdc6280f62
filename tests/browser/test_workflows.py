"""Every example workflow opened in the real page, and the picture of the README dragged into it."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scripts.browser import ComfyPage
from scripts.locales import TRANSLATIONS, read_locale
from scripts.server import Server
from scripts.workflow import to_prompt

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "workflows").glob("*.json"))
FROZEN = sorted((ROOT / "tests" / "data" / "workflows").glob("*/*.json"))
TITLE = 30  # height of a node's title, which lies above its position
NOTES = ("MarkdownNote", "Note")


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def object_info(server: Server) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{server.address}/object_info", timeout=60) as answer:
        return json.load(answer)


def skip_without_stock_nodes(workflow: dict[str, Any], object_info: dict[str, Any]) -> None:
    stock = {node["type"] for node in workflow["nodes"]} - set(object_info) - set(NOTES)
    if lacking := sorted(name for name in stock if not name.startswith("TStitch")):
        pytest.skip(f"this ComfyUI has no {', '.join(lacking)}")


def values(workflow: dict[str, Any]) -> dict[str, Any]:
    return {str(node["id"]): [node["type"], node.get("widgets_values") or []] for node in workflow["nodes"]}


def links(workflow: dict[str, Any]) -> set[tuple[str, ...]]:
    """By the names of the sockets: their numbers change when the page hides those that are not in use."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    return {
        (str(origin), nodes[origin]["outputs"][slot]["name"], str(target), nodes[target]["inputs"][socket]["name"])
        for _, origin, slot, target, socket, _ in workflow["links"]
    }


def names_a_file(workflow: dict[str, Any]) -> set[str]:
    """Ids of the nodes that name a file: newer pages mark them all, as none of the files is here."""
    nodes = workflow["nodes"]
    return {str(node["id"]) for node in nodes if node["properties"].get("models") or node["type"] == "LoadImage"}


def what_runs(prompt: dict[str, Any]) -> dict[str, Any]:
    return {number: [node["class_type"], node["inputs"]] for number, node in prompt.items()}


@pytest.mark.parametrize("path", [*SHIPPED, *FROZEN], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_workflow_opens_as_it_was_saved(page: ComfyPage, path: Path, object_info: dict[str, Any]) -> None:
    workflow = read(path)
    skip_without_stock_nodes(workflow, object_info)
    page.load(workflow)
    red = page.evaluate("() => app.graph.nodes.filter(node => node.has_errors).map(node => String(node.id))")
    assert set(red) in (set(), names_a_file(workflow))
    unknown = "() => app.graph.nodes.map(node => node.type).filter(type => !(type in LiteGraph.registered_node_types))"
    assert page.evaluate(unknown) == []
    titles = dict(page.evaluate("() => app.graph.nodes.map(node => [String(node.id), node.title])"))
    assert all(titles[str(node["id"])] == node["title"] for node in workflow["nodes"] if node.get("title"))
    saved = page.workflow()
    assert values(saved) == values(workflow)
    assert links(saved) == links(workflow)
    sent = what_runs(page.prompt())
    expected = what_runs(to_prompt(workflow, object_info))
    assert {number: kind for number, (kind, _) in sent.items()} == {
        number: kind for number, (kind, _) in expected.items()
    }
    for number, (_, inputs) in expected.items():  # the page adds widgets of its own, such as a preview
        assert {name: sent[number][1].get(name) for name in inputs} == inputs
    if path in SHIPPED:
        page.load(workflow)  # Nodes 2.0 of frontend 1.32 places nodes by the zoom that it comes from: now by its own
        assert overlapping(page) == []


def overlapping(page: ComfyPage) -> list[tuple[str, str]]:
    """The titles of nodes that lie on one another."""
    nodes = page.evaluate("() => app.graph.nodes.map(node => [node.title, ...node.pos, ...node.size])")
    boxes = [(title, x, y - TITLE, x + width, y + height) for title, x, y, width, height in nodes]
    return [
        (one[0], other[0])
        for one, other in combinations(boxes, 2)
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]


def test_the_picture_of_the_readme_can_be_dragged_in(page: ComfyPage) -> None:
    picture = ROOT / "docs" / "demo.png"
    carried = json.loads(Image.open(picture).text["workflow"])
    page.evaluate(
        """async data => {
            const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
            await app.handleFile(new File([bytes], "demo.png", { type: "image/png" }));
        }""",
        base64.b64encode(picture.read_bytes()).decode(),
    )
    page.wait_for("app.graph.nodes.length > 0")
    assert links(page.workflow()) == links(carried)
    prompt = json.loads(Image.open(picture).text["prompt"])
    assert what_runs(page.prompt()) == what_runs(prompt)


def set_language(page: ComfyPage, language: str) -> None:
    """As a person does in the settings; the page then reads the nodes anew, at times before it has all texts."""
    page.evaluate("language => app.extensionManager.setting.set('Comfy.Locale', language)", language)
    page.wait_for(
        """async foreign => {
            await app.extensionManager.command.execute("Comfy.RefreshNodeDefinitions");
            return foreign === (LiteGraph.registered_node_types.LoadImage.title !== "Load Image");
        }""",
        60,
        language != "en",
    )


@pytest.fixture(params=TRANSLATIONS)
def language(request: pytest.FixtureRequest, page: ComfyPage) -> Iterator[str]:
    set_language(page, request.param)
    page.clear()
    yield request.param
    set_language(page, "en")


def test_the_page_speaks_other_languages(language: str, page: ComfyPage) -> None:
    texts = read_locale(language)["TStitchModelSchedule"]
    node = page.add("TStitchModelSchedule")
    title = page.evaluate("id => driver.locate(id).title", node)
    labels = page.evaluate("id => driver.locate(id).widgets.map(widget => widget.label ?? widget.name)", node)
    served = page.evaluate("() => app.api.fetchApi('/i18n').then(answer => answer.json())")
    assert served[language]["nodeDefs"]["TStitchModelSchedule"] == texts
    if title == "Multi-Model Schedule":
        pytest.skip("this page puts the texts of its own language over those of packs, as 1.32.9 does")
    assert title == texts["display_name"]
    assert {texts["inputs"][name]["name"] for name in ("splits", "unit", "memory")} <= set(labels)
