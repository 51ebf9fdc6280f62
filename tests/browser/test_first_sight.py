"""What a person sees who opens a shipped workflow: all of it, under nothing, and no blank space in a node."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from scripts.browser import ComfyPage

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
BLANK = 40  # below the bar, in the node's own pixels: margins of the page and of the bar

#: Of the corners of every node: whether what lies on top there belongs to the graph.
CORNERS = """() => {
  const canvas = app.canvas.canvas.getBoundingClientRect();
  const { scale, offset } = app.canvas.ds;
  const isGraph = (x, y) => {
    const element = document.elementFromPoint(x, y);
    return element === app.canvas.canvas || Boolean(element?.closest(".dom-widget, [data-node-id]"));
  };
  return app.graph.nodes.map((node) => {
    const [left, top] = [node.pos[0] + 4, node.pos[1] - 26];
    const [right, bottom] = [node.pos[0] + node.size[0] - 4, node.pos[1] + node.size[1] - 4];
    const corners = [[left, top], [right, top], [left, bottom], [right, bottom]];
    const places = corners.map(([x, y]) => [(x + offset[0]) * scale, (y + offset[1]) * scale]);
    return [node.title, places.every(([x, y]) => isGraph(canvas.left + x, canvas.top + y))];
  });
}"""

#: Pixels of the node between the end of its bar and its own.
BELOW = """id => {
  const node = driver.locate(id);
  const { scale, offset } = app.canvas.ds;
  const canvas = app.canvas.canvas.getBoundingClientRect();
  const element = document.querySelector(`[data-node-id="${node.id}"]`);
  const drawn = canvas.top + (node.pos[1] + node.size[1] + offset[1]) * scale;
  const bottom = element?.getBoundingClientRect().bottom ?? drawn;
  const bar = node.widgets.find((widget) => widget.name === "tstitch_timeline").element.getBoundingClientRect();
  return (bottom - bar.bottom) / scale;
}"""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_opens_in_full_view(page: ComfyPage, path: Path, renderer: str) -> None:
    if renderer == "nodes2":  # frontend 1.32 misplaces any graph by the change of zoom: here there is none
        page.load(path)
    page.load(path)
    page.wait_for(f"() => ({CORNERS})().every(([, isSeen]) => isSeen)")  # the page fits its view in a frame to come


@pytest.mark.parametrize("name", ["starter_tstitch", "starter_three_models", "starter_guiders", "lumina_flux"])
def test_nothing_is_blank_under_the_bar_of_a_shipped_node(page: ComfyPage, name: str) -> None:
    page.load(next(path for path in SHIPPED if path.stem == name))
    page.settle(6)
    (node,) = [
        node
        for node, kind in page.nodes().items()
        if kind in ("TStitchKSampler", "TStitchModelSchedule", "TStitchGuiders")
    ]
    expect(page.page.locator(".tstitch-timeline")).to_be_visible()
    assert 0 <= page.evaluate(BELOW, node) < BLANK
