"""A real server and a real page, once with the classic canvas and once with Nodes 2.0 (where the page has it).

Tests that share a renderer share one tab, which is emptied before each of them. A test that leaves an error in the
browser's console fails. `SHOTS=folder` keeps a picture of the page at the end of every test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import expect

from scripts.browser import VUE_NODES, ComfyPage, change_setting, running_browser, write_settings
from scripts.server import Server, free_port, page_scripts, running_server

#: Workflows of others are opened too: their models and packs are not there.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Workflow.ShowMissingNodesWarning": False,
}

expect.set_options(timeout=120_000)  # milliseconds: the machine may be busy


def page_has_vue_nodes() -> bool:
    """Whether the page's own scripts know Nodes 2.0: a page is not opened in vain."""
    return "COMFYUI_PATH" in os.environ and any(
        b"vueNodesMode" in script.read_bytes() for script in page_scripts().glob("assets/*.js")
    )


def renderers() -> list[Any]:
    """Each with its name as a marker, so that `-m classic` and `-m nodes2` run side by side."""
    skipped = [] if page_has_vue_nodes() else [pytest.mark.skip(reason="this page has no Nodes 2.0")]
    return [
        pytest.param("classic", marks=pytest.mark.classic),
        pytest.param("nodes2", marks=[pytest.mark.nodes2, *skipped]),
    ]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("base")
    write_settings(base, SETTINGS)
    # Previews on, so that the tests see whether ours leave them alone.
    arguments = ("--preview-method", "latent2rgb")
    host = Path(os.environ["COMFYUI_PATH"])
    with running_server(host, base, free_port(), not torch.cuda.is_available(), *arguments) as it:
        yield it


@pytest.fixture(scope="session", params=renderers())
def tab(request: pytest.FixtureRequest, server: Server) -> Iterator[ComfyPage]:
    with_vue_nodes = request.param == "nodes2"
    change_setting(server.address, VUE_NODES, with_vue_nodes)
    with running_browser() as browser:
        context = browser.new_context(viewport={"width": 1500, "height": 1000})
        page = ComfyPage(context.new_page(), server.address)
        page.open()
        assert page.has_vue_nodes() == with_vue_nodes
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
def shot(page: ComfyPage, renderer: str) -> Callable[[str], None]:
    """Keep a picture of the page as it is now, where SHOTS names a folder."""

    def take(name: str) -> None:
        if os.environ.get("SHOTS"):
            page.screenshot(Path(os.environ["SHOTS"]) / f"{name}-{renderer}.png")

    return take


@pytest.fixture
def renderer(request: pytest.FixtureRequest, tab: ComfyPage) -> str:
    """`classic` or `nodes2`."""
    return request.node.callspec.params["tab"]
