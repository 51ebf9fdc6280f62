"""The pack in the page: loaded without a complaint, drawn, and run."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.browser import ComfyPage

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"


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
