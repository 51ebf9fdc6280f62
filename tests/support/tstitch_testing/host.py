"""The host's own nodes, called the same way whichever schema version they are written in."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest


def run_node(node: Any, **inputs: Any) -> tuple[Any, ...]:
    """The outputs of a node class of either schema version."""
    if hasattr(node, "define_schema"):
        return node.execute(**inputs).result
    return getattr(node(), node.FUNCTION)(**inputs)


def extra_nodes(name: str) -> ModuleType:
    """A module of the host's extra nodes; the test is skipped where the host lacks it."""
    module = f"comfy_extras.{name}"
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"the host has no {module}")
    return importlib.import_module(module)
