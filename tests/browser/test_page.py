"""The pack in the page: loaded without a complaint, drawn, and run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from scripts.browser import ComfyPage

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS, HELP = ROOT / "workflows", ROOT / "js" / "docs"


def test_the_page_loads_the_pack_without_an_error(tab: ComfyPage) -> None:
    assert tab.errors_of_loading == []


@pytest.mark.parametrize("name", ["starter_tstitch", "starter_three_models"])
def test_a_shipped_workflow_runs_from_the_page(page: ComfyPage, renderer: str, name: str) -> None:
    page.load(WORKFLOWS / f"{name}.json")
    sampler = next(node for node, kind in page.nodes().items() if kind in ("TStitchKSampler", "KSampler"))
    page.set_widget(sampler, "steps", 4)
    page.set_widget(sampler, "seed", 7 if renderer == "classic" else 8)  # an equal prompt is cached
    before = len(page.events("executed"))
    page.run()
    outputs = [event["detail"]["output"] for event in page.events("executed")[before:]]
    assert [len(output["images"]) for output in outputs] == [10]


def test_nodes_are_drawn_by_the_renderer_under_test(page: ComfyPage, renderer: str) -> None:
    page.add("TStitchKSampler")
    page.settle()
    drawn_by_vue = page.evaluate("() => document.querySelectorAll('[data-node-id]').length")
    assert (drawn_by_vue > 0) == (renderer == "nodes2")


@pytest.fixture
def told_of_missing_models(page: ComfyPage) -> Iterator[ComfyPage]:
    change = "value => app.extensionManager.setting.set('Comfy.Workflow.ShowMissingModelsWarning', value)"
    page.evaluate(change, True)
    yield page
    page.evaluate(change, False)


def test_files_that_are_missing_are_named_with_their_sources(
    told_of_missing_models: ComfyPage, shot: Callable[[str], None]
) -> None:
    path = WORKFLOWS / "dit_s_dit_xl.json"
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    files = [file for node in nodes for file in node["properties"].get("models", [])]
    assert len(files) == 3
    told_of_missing_models.load(path)
    page = told_of_missing_models.page
    dialog, details = page.get_by_role("dialog"), page.get_by_role("button", name="View details")
    expect(dialog.or_(details).first).to_be_visible()
    if details.count():  # newer pages tell it in a panel at the side
        details.first.click()
        for file in files:
            expect(page.get_by_title(file["name"], exact=True).first).to_be_visible()
        shot("missing-models")
        page.get_by_role("button", name="Toggle properties panel").click()
        return
    for file in files:
        expect(dialog).to_contain_text(f"{file['directory']} / {file['name']}")
        expect(dialog.get_by_title(file["url"], exact=True).first).to_be_visible()
    shot("missing-models")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


@pytest.mark.parametrize("kind", ["TStitchKSampler", "TStitchModelSchedule"])
def test_the_help_of_a_node_opens_with_its_picture(page: ComfyPage, shot: Callable[[str], None], kind: str) -> None:
    node = page.add(kind)
    page.show(node)
    page.evaluate("id => app.canvas.selectNode(driver.locate(id))", node)
    page.page.locator("[data-testid=info-button], .help-button").click()
    heading, _, _ = (HELP / f"{kind}.md").read_text(encoding="utf-8").removeprefix("# ").partition("\n")
    expect(page.page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
    picture = page.page.locator(f"img[src$='/docs/{kind}.png']")
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("naturalWidth", Image.open(HELP / f"{kind}.png").width)
    shot(f"help-{kind}")
    page.page.keyboard.press("n")  # closes the panel it is in


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("TStitchKSampler", "fraction", 0.4063),
        ("TStitchPlan", "budget", 0.02),
        ("TStitchCalibrate", "tolerance", 0.0125),
        ("TStitchGuidance", "start_percent", 0.0625),
        ("TStitchLowResolution", "scale", 0.3333),
        ("TStitchTrainingInterval", "end", 0.4375),
    ],
)
def test_a_number_that_is_typed_keeps_its_decimals(page: ComfyPage, kind: str, name: str, value: float) -> None:
    """The page hands what is typed to the widget's callback, which rounds it."""
    node = page.add(kind)
    page.evaluate(
        "([id, name, value]) => driver.locate(id).widgets.find((widget) => widget.name === name).callback(value)",
        [node, name, value],
    )
    assert page.widgets(node)[name] == value
