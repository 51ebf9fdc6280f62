"""Puts the real ComfyUI of COMFYUI_PATH under the tests that need it; unit tests run without."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUPPORT = Path(__file__).resolve().parent / "support"
HOST = os.environ.get("COMFYUI_PATH")

sys.path.insert(0, str(SUPPORT))
if HOST:
    # Before the root of this repository: its `nodes` package must not hide the host's module of that name.
    sys.path.insert(0, HOST)
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = Path(item.fspath).parent.name
        if folder in ("host", "browser", "packs"):
            item.add_marker(getattr(pytest.mark, folder))
            if not HOST:
                item.add_marker(pytest.mark.skip(reason="COMFYUI_PATH names no ComfyUI"))


@pytest.fixture(scope="session")
def host_nodes() -> ModuleType:
    """The host's `nodes` module after it has loaded this pack as it loads any other."""
    import nodes

    asyncio.run(nodes.init_public_apis())
    assert asyncio.run(nodes.load_custom_node(str(ROOT))), "the host could not load the pack"
    return nodes
