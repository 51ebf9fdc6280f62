"""The numbered sockets: as many as are needed, on every path that makes or changes a node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.browser import ComfyPage
from scripts.workflow import Json

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
MODEL = 0  # output slot of the loaders


def numbered(page: ComfyPage, node: str) -> dict[str, bool]:
    """Whether it is linked, by socket, from model_2 on."""
    return {name: linked for name, linked in page.inputs(node).items() if name[-1].isdigit() and name[-2:] != "_1"}


def schedule_with(page: ComfyPage, models: int) -> tuple[str, str]:
    """A schedule node with model_1 ... model_<models> linked, and the loader they come from."""
    loader = page.add("TStitchLoadStarter", (20, 60))
    schedule = page.add("TStitchModelSchedule", (500, 60))
    page.connect(loader, MODEL, schedule, "final_model")
    for number in range(1, models + 1):
        page.connect(loader, MODEL, schedule, f"model_{number}")
    page.settle()
    return schedule, loader


@pytest.mark.parametrize(
    ("kind", "first"), [("TStitchModelSchedule", "model_2"), ("TStitchGuiders", "guider_2"), ("TStitchKSampler", None)]
)
def test_a_new_node_shows_one_free_socket(page: ComfyPage, kind: str, first: str | None) -> None:
    assert list(numbered(page, page.add(kind))) == ([first] if first else [])


def test_sockets_come_and_go_with_the_links(page: ComfyPage) -> None:
    schedule, loader = schedule_with(page, 3)
    assert numbered(page, schedule) == {"model_2": True, "model_3": True, "model_4": False}
    page.disconnect(schedule, "model_3")
    page.settle()
    assert numbered(page, schedule) == {"model_2": True, "model_3": False}
    for number in range(3, 8):
        page.connect(loader, MODEL, schedule, f"model_{number}")
        page.settle()
    assert numbered(page, schedule) == {f"model_{number}": True for number in range(2, 8)}
    page.remove(loader)
    page.settle()
    assert numbered(page, schedule) == {"model_2": False}


def test_a_hole_is_the_next_free_socket(page: ComfyPage) -> None:
    schedule, loader = schedule_with(page, 3)
    page.disconnect(schedule, "model_2")
    page.settle()
    assert numbered(page, schedule) == {"model_2": False, "model_3": True}
    page.connect(loader, MODEL, schedule, "model_2")
    page.settle()
    assert numbered(page, schedule) == {"model_2": True, "model_3": True, "model_4": False}


def test_a_linked_socket_can_take_another_link(page: ComfyPage) -> None:
    schedule, _ = schedule_with(page, 3)
    other = page.add("TStitchLoadStarter", (20, 400))
    page.disconnect(schedule, "model_2")
    page.settle()
    page.connect(other, MODEL, schedule, "model_3")
    page.settle()
    assert page.prompt()[schedule]["inputs"]["model_3"] == [other, MODEL]


def test_a_saved_workflow_opens_as_it_was(page: ComfyPage) -> None:
    schedule, loader = schedule_with(page, 4)
    before, sent = numbered(page, schedule), page.prompt()
    page.load(page.workflow())
    page.settle()
    assert numbered(page, schedule) == before
    assert page.prompt() == sent
    assert sent[schedule]["inputs"]["model_4"] == [loader, MODEL]


def with_all_sockets(saved: Json, kind: str) -> Json:
    """As a page without this extension saves it: every socket there, in the order of the node's definition."""
    node = next(node for node in saved["nodes"] if node["type"] == kind)
    inputs = {slot["name"]: slot for slot in node["inputs"]}
    numbers = [f"model_{number}" for number in range(1, 8)]
    widgets = [name for name in inputs if not name.endswith("model") and name not in numbers]
    empty = {"type": "MODEL", "link": None}
    order = ["final_model", *numbers, *widgets]
    node["inputs"] = [{**empty, "name": name, **inputs.get(name, {})} for name in order]
    slots = {slot["link"]: index for index, slot in enumerate(node["inputs"]) if slot.get("link") is not None}
    for link in saved["links"]:
        if link[0] in slots:
            link[4] = slots[link[0]]
    return saved


def test_a_workflow_with_every_socket_opens_with_the_same_links(page: ComfyPage) -> None:
    page.load(WORKFLOWS / "starter_three_models.json")
    sent = page.prompt()
    old = with_all_sockets(page.workflow(), "TStitchModelSchedule")
    page.clear()
    page.load(old)
    page.settle()
    assert numbered(page, page.node_of_type("TStitchModelSchedule")) == {"model_2": True, "model_3": False}
    assert page.prompt() == sent


def test_the_api_format_opens_with_all_models(page: ComfyPage) -> None:
    """The page links the inputs of a node one after another, at once."""
    page.load(WORKFLOWS / "starter_three_models.json")
    schedule = page.node_of_type("TStitchModelSchedule")
    loader = page.prompt()[schedule]["inputs"]["model_1"][0]
    for number in (3, 4):
        page.connect(loader, MODEL, schedule, f"model_{number}")
        page.settle()
    sent = page.prompt()[schedule]["inputs"]
    assert {"model_2", "model_3", "model_4"} <= set(sent)
    page.evaluate("api => app.loadApiJson(api, 'api')", page.prompt())
    page.settle()
    assert page.prompt()[page.node_of_type("TStitchModelSchedule")]["inputs"] == sent


def test_a_copy_has_the_links_of_the_original(page: ComfyPage) -> None:
    schedule, loader = schedule_with(page, 3)
    page.evaluate(
        """ids => {
          app.canvas.selectItems(ids.map(id => driver.locate(id)));
          app.canvas.copyToClipboard();
          app.canvas.pasteFromClipboard();
        }""",
        [schedule, loader],
    )
    page.settle()
    copies = {kind: node for node, kind in page.nodes().items() if node not in (schedule, loader)}
    copied = page.prompt()[copies["TStitchModelSchedule"]]["inputs"]
    origin = [copies["TStitchLoadStarter"], MODEL]
    assert [copied[name] for name in ("final_model", "model_1", "model_2", "model_3")] == [origin] * 4
    assert numbered(page, copies["TStitchModelSchedule"]) == {"model_2": True, "model_3": True, "model_4": False}


def test_a_subgraph_keeps_the_links_and_more_can_be_added_inside(page: ComfyPage) -> None:
    schedule, loader = schedule_with(page, 3)
    packed = page.evaluate(
        """ids => {
          const { subgraph, node } = app.graph.convertToSubgraph(new Set(ids.map(id => driver.locate(id))));
          return String(node.id);
        }""",
        [schedule],
    )
    page.settle()
    inside = f"{packed}:{page.evaluate('id => driver.locate(id).subgraph.nodes[0].id', packed)}"
    assert numbered(page, inside) == {"model_2": True, "model_3": True, "model_4": False}
    sent = page.prompt()
    inputs = next(node["inputs"] for node in sent.values() if node["class_type"] == "TStitchModelSchedule")
    assert [inputs.get(f"model_{number}") for number in range(1, 5)] == [[loader, MODEL]] * 3 + [None]
    page.load(page.workflow())
    page.settle()
    assert page.prompt() == sent
    assert numbered(page, inside) == {"model_2": True, "model_3": True, "model_4": False}


def test_undo_and_redo_follow_the_sockets(page: ComfyPage) -> None:
    schedule, loader = schedule_with(page, 2)
    page.check_changes()
    before = page.prompt()
    page.connect(loader, MODEL, schedule, "model_3")
    page.settle()
    page.check_changes()
    after = page.prompt()
    page.undo()
    assert numbered(page, schedule) == {"model_2": True, "model_3": False}
    assert page.prompt() == before
    page.redo()
    assert numbered(page, schedule) == {"model_2": True, "model_3": True, "model_4": False}
    assert page.prompt() == after


def test_the_sockets_keep_their_looks(page: ComfyPage) -> None:
    """One that comes back is drawn as one that was there from the start: hollow, as optional sockets are."""
    schedule, _ = schedule_with(page, 2)
    slots = page.evaluate("id => driver.locate(id).inputs.map(({name, shape, type}) => [name, shape, type])", schedule)
    looks = {name: (shape, kind) for name, shape, kind in slots}
    assert looks["model_3"] == looks["model_2"] != looks["model_1"]


def test_the_saved_file_needs_no_javascript(page: ComfyPage) -> None:
    """Every link is found by the name of its socket, as the server and other readers do."""
    schedule, _ = schedule_with(page, 4)
    saved = page.workflow()
    node = next(node for node in saved["nodes"] if str(node["id"]) == schedule)
    targets = {link[0]: link[4] for link in saved["links"]}
    for index, slot in enumerate(node["inputs"]):
        if slot.get("link") is not None:
            assert targets[slot["link"]] == index, json.dumps(slot)
