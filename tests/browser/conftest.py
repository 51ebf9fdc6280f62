"""A real server and a real page, once with the classic canvas and once with Nodes 2.0 (where the page has it).

Tests that share a renderer share one tab, which is emptied before each of them. A test that leaves an error in the
browser's console fails. `SHOTS=folder` keeps a picture of the page at the end of every test.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from scripts.browser import VUE_NODES, ComfyPage, change_setting, running_browser
from scripts.server import Server, free_port, running_server

RENDERERS = {"classic": False, "nodes2": True}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one renderer stay in one process, where they share a tab."""
    for item in items:
        renderer = getattr(item, "callspec", None) and item.callspec.params.get("tab")  # type: ignore[attr-defined]
        if renderer:
            item.add_marker(pytest.mark.xdist_group(renderer))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("base")
    settings = base / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"Comfy.TutorialCompleted": True, "Comfy.Workflow.ShowMissingModelsWarning": False}))
    # Previews on, so that the tests see whether ours leave them alone.
    arguments = ("--preview-method", "latent2rgb")
    host = Path(os.environ["COMFYUI_PATH"])
    with running_server(host, base, free_port(), not torch.cuda.is_available(), *arguments) as it:
        yield it


@pytest.fixture(scope="session", params=list(RENDERERS))
def tab(request: pytest.FixtureRequest, server: Server) -> Iterator[ComfyPage]:
    change_setting(server.address, VUE_NODES, RENDERERS[request.param])
    with running_browser() as browser:
        context = browser.new_context(viewport={"width": 1500, "height": 1000})
        page = ComfyPage(context.new_page(), server.address)
        page.open()
        if RENDERERS[request.param] and not page.has_vue_nodes():
            pytest.skip("this page has no Nodes 2.0")
        yield page


@pytest.fixture
def page(request: pytest.FixtureRequest, tab: ComfyPage) -> Iterator[ComfyPage]:
    """The page with an empty graph."""
    tab.clear()
    tab.errors.clear()
    yield tab
    if os.environ.get("SHOTS"):
        name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
        tab.screenshot(Path(os.environ["SHOTS"]) / f"{name}.png")
    assert tab.errors == []


@pytest.fixture
def renderer(request: pytest.FixtureRequest, tab: ComfyPage) -> str:
    """`classic` or `nodes2`."""
    return request.node.callspec.params["tab"]
