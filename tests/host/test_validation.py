"""What no widget offers is refused when a prompt is queued, before anything is loaded, as the stock nodes refuse it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import execution
import pytest

ROOT = Path(__file__).resolve().parents[2]
NODES = json.loads((ROOT / "tests" / "data" / "public_nodes.json").read_text(encoding="utf-8"))
WRONG = "no such choice"


@pytest.fixture(scope="module")
def ours(host_nodes: ModuleType) -> dict[str, Any]:
    return {name: host_nodes.NODE_CLASS_MAPPINGS[name] for name in NODES}


def details(class_type: str, inputs: dict[str, Any]) -> list[str]:
    """What the host says of this node in a prompt, beside what is not connected."""
    prompt = {"1": {"class_type": class_type, "inputs": inputs}}
    _, errors, _ = asyncio.run(execution.validate_inputs("id", prompt, "1", {}))
    return [f"{error['message']} {error['details']}" for error in errors if error["type"] != "required_input_missing"]


def specs(node: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
    groups = node.INPUT_TYPES()
    return {
        name: (kind, options)
        for group in ("required", "optional")
        for name, (kind, options) in groups.get(group, {}).items()
    }


def is_choice(kind: Any) -> bool:
    return isinstance(kind, list) or kind == "COMBO"


def choices_of(kind: Any, options: dict[str, Any]) -> list[Any]:
    return kind if isinstance(kind, list) else options["options"]


def defaults(node: Any) -> dict[str, Any]:
    """Every widget as the page sets it at first; choices of files only where there are files."""
    found = {name: options["default"] for name, (_, options) in specs(node).items() if "default" in options}
    for name, (kind, options) in specs(node).items():
        if is_choice(kind) and name not in found and choices_of(kind, options):
            found[name] = choices_of(kind, options)[0]
    return found


@pytest.mark.parametrize("name", NODES)
def test_a_node_as_it_is_added_is_accepted(ours: dict[str, Any], name: str) -> None:
    assert details(name, defaults(ours[name])) == []


@pytest.mark.parametrize("name", NODES)
def test_every_choice_is_checked(ours: dict[str, Any], name: str) -> None:
    for choice in [name for name, (kind, _) in specs(ours[name]).items() if is_choice(kind)]:
        found = details(name, {**defaults(ours[name]), choice: WRONG})
        assert found
        assert all(WRONG in sentence for sentence in found), choice


@pytest.mark.parametrize("name", NODES)
def test_every_range_is_checked(ours: dict[str, Any], name: str) -> None:
    for number, (_, options) in specs(ours[name]).items():
        for bound, step in (("min", -1), ("max", 1)):
            if bound in options and not is_choice(specs(ours[name])[number][0]):
                assert details(name, {**defaults(ours[name]), number: options[bound] + step}), (number, bound)


@pytest.mark.parametrize("name", NODES)
def test_what_comes_over_a_link_is_not_checked(ours: dict[str, Any], name: str) -> None:
    for number, (kind, _) in specs(ours[name]).items():
        if is_choice(kind) or "FLOAT" in str(kind) or kind == "INT":
            inputs = {**defaults(ours[name]), number: ["2", 0]}
            source = {"class_type": "KSampler", "inputs": {}}
            prompt = {"1": {"class_type": name, "inputs": inputs}, "2": source}
            _, errors, _ = asyncio.run(execution.validate_inputs("id", prompt, "1", {"2": (True, [], "2")}))
            kinds = {error["type"] for error in errors} - {"required_input_missing", "return_type_mismatch"}
            assert not kinds, (number, errors)


def test_the_sentence_names_the_choice(ours: dict[str, Any]) -> None:
    values = defaults(ours["TStitchKSampler"])
    (sentence, *_) = details("TStitchKSampler", {**values, "sampler_name": "dpmpp_2mm"})
    assert sentence.endswith("choose one of them, perhaps dpmpp_2m.")
    (sentence, *_) = details("TStitchModelSchedule", {**defaults(ours["TStitchModelSchedule"]), "memory": "fast"})
    assert sentence.endswith("memory must be one of auto, keep, swap, got fast.")
    (sentence, *_) = details("TStitchKSampler", {**values, "fraction": 20000, "unit": "sigma"})
    assert sentence.endswith("fraction must lie between 0 and 10000, got 20000.")
