"""The public format: node ids, input names, widget order. Appending is fine, other changes break saved workflows."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASED = json.loads((ROOT / "tests" / "data" / "public_nodes.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ours(host_nodes: ModuleType) -> dict[str, Any]:
    return {name: node for name, node in host_nodes.NODE_CLASS_MAPPINGS.items() if name.startswith("TStitch")}


def test_every_node_is_in_the_released_format(ours: dict[str, Any]) -> None:
    assert sorted(ours) == sorted(RELEASED)


@pytest.mark.parametrize("name", RELEASED)
def test_inputs_and_outputs_are_only_appended_to(ours: dict[str, Any], name: str) -> None:
    info = ours[name].GET_NODE_INFO_V1()
    order = info["input_order"]
    inputs = [[key, list(order[key])] for key in ("required", "optional") if key in order]
    for (group, now), (released_group, released) in zip(inputs, RELEASED[name]["inputs"], strict=True):
        assert group == released_group
        assert now[: len(released)] == released
    released_outputs = RELEASED[name]["outputs"]
    assert [list(pair) for pair in zip(info["output"], info["output_name"], strict=True)][
        : len(released_outputs)
    ] == released_outputs
    assert info["category"] == "sampling/t-stitch"


@pytest.mark.parametrize("name", RELEASED)
def test_execute_takes_the_inputs_of_the_schema(ours: dict[str, Any], name: str) -> None:
    """Numbered sockets by `**models`, `**guiders` or `**steps`, which take no other names."""
    inputs, parameters = ours[name].define_schema().inputs, inspect.signature(ours[name].execute).parameters
    several = [each.name for each in parameters.values() if each.kind is inspect.Parameter.VAR_KEYWORD]
    numbered = [item.id for item in inputs if several and re.fullmatch(rf"{several[0][:-1]}_[1-7]", item.id)]
    assert len(numbered) == (7 if several else 0)
    named = [item for item in inputs if item.id not in numbered]
    assert [*(item.id for item in named), *several] == list(parameters)
    for item in named:
        assert (parameters[item.id].default is not inspect.Parameter.empty) == bool(item.optional)
    if several:
        with pytest.raises(TypeError, match="other_1"):
            sys.modules[ours[name].__module__].connected(several[0][:-1], {"other_1": None})


@pytest.mark.parametrize("name", RELEASED)
def test_every_node_explains_itself(ours: dict[str, Any], name: str) -> None:
    schema = ours[name].define_schema()
    assert schema.description
    for item in schema.inputs:
        assert len(item.tooltip or "") > 20, item.id
    help_page = ROOT / "js" / "docs" / f"{name}.md"
    assert help_page.read_text(encoding="utf-8").startswith("# ")


def test_a_bypassed_node_passes_the_finishing_model_on(ours: dict[str, Any]) -> None:
    """The host's bypass takes the first input of the output's type."""
    for name, finishing in (
        ("TStitchModelSchedule", "final_model"),
        ("TStitchGuiders", "final_guider"),
        ("TStitchGuidance", "model"),
    ):
        schema = ours[name].define_schema()
        kind = schema.outputs[0].io_type
        assert next(item.id for item in schema.inputs if item.io_type == kind) == finishing
