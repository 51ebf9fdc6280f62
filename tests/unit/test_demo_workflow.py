"""The demo's conversion from a saved workflow to a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.workflow import WorkflowError, nodes_of_type, to_prompt, with_inputs

INFO: dict[str, Any] = {
    "Loader": {"input": {"required": {"name": [["a", "b"], {}]}}},
    "Sampler": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "seed": ["INT", {"control_after_generate": True}],
                "steps": ["INT", {"default": 20}],
            },
            "optional": {"unit": ["COMBO", {"options": ["steps", "sigma"]}], "other": ["STRING", {"forceInput": True}]},
        },
        "input_order": {"required": ["model", "seed", "steps"], "optional": ["unit", "other"]},
    },
    "Patch": {"input": {"required": {"extra": ["LATENT"], "model": ["MODEL"], "strength": ["FLOAT", {}]}}},
}


def node(node_id: int, kind: str, values: Any = (), mode: int = 0, **sockets: int | None) -> dict[str, Any]:
    types = {"model": "MODEL", "extra": "LATENT"}
    inputs = [{"name": name, "type": types.get(name, "*"), "link": link} for name, link in sockets.items()]
    outputs = [{"name": "MODEL", "type": "MODEL"}]
    values = values if isinstance(values, dict) else list(values)
    return {"id": node_id, "type": kind, "mode": mode, "inputs": inputs, "outputs": outputs, "widgets_values": values}


def convert(*nodes: dict[str, Any], links: list[Any]) -> dict[str, Any]:
    return to_prompt({"nodes": list(nodes), "links": links}, INFO)


LOADER = node(1, "Loader", ["b"])


def test_widgets_follow_the_schema_and_skip_the_values_only_the_page_has() -> None:
    prompt = convert(LOADER, node(2, "Sampler", [7, "fixed", 12, "sigma"], model=1), links=[[1, 1, 0, 2, 0, "MODEL"]])
    assert prompt["1"]["inputs"] == {"name": "b"}
    assert prompt["2"]["inputs"] == {"seed": 7, "steps": 12, "unit": "sigma", "model": ["1", 0]}


def test_a_widget_newer_than_the_workflow_gets_its_default() -> None:
    prompt = convert(node(2, "Sampler", [7, "fixed"]), links=[])
    assert prompt["2"]["inputs"] == {"seed": 7, "steps": 20, "unit": "steps"}


def test_widgets_saved_by_name_are_taken_as_they_are() -> None:
    assert convert(node(2, "Sampler", {"seed": 3}), links=[])["2"]["inputs"] == {"seed": 3}


def test_links_of_the_newer_file_format() -> None:
    link = {"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "MODEL"}
    assert convert(LOADER, node(2, "Sampler", model=1), links=[link])["2"]["inputs"]["model"] == ["1", 0]


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(node(3, "Reroute", model=1), id="a reroute"),
        pytest.param(node(3, "Patch", [1.0], mode=4, extra=None, model=1), id="a bypassed node"),
    ],
)
def test_what_passes_a_model_on_is_left_out(between: dict[str, Any]) -> None:
    links = [[1, 1, 0, 3, 0, "MODEL"], [2, 3, 0, 2, 0, "MODEL"]]
    prompt = convert(LOADER, between, node(2, "Sampler", model=2), links=links)
    assert "3" not in prompt
    assert prompt["2"]["inputs"]["model"] == ["1", 0]


def test_muted_nodes_and_notes_are_left_out() -> None:
    muted = node(1, "Loader", ["a"], mode=2)
    prompt = convert(muted, node(4, "Note", ["hi"]), node(2, "Sampler", model=1), links=[[1, 1, 0, 2, 0, "MODEL"]])
    assert list(prompt) == ["2"]
    assert "model" not in prompt["2"]["inputs"]


def test_an_unknown_node_is_named() -> None:
    with pytest.raises(WorkflowError, match=r"node Mystery \(id 9\)"):
        convert(node(9, "Mystery"), links=[])


def test_subgraphs_are_refused() -> None:
    with pytest.raises(WorkflowError, match="subgraphs"):
        to_prompt({"nodes": [], "links": [], "definitions": {"subgraphs": [{}]}}, INFO)


def test_with_inputs_leaves_the_original_alone() -> None:
    prompt = convert(node(2, "Sampler", [7, "fixed", 12]), links=[])
    changed = with_inputs(prompt, *nodes_of_type(prompt, "Sampler"), steps=5)
    assert (prompt["2"]["inputs"]["steps"], changed["2"]["inputs"]["steps"]) == (12, 5)
