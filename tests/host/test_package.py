"""A fresh host with nothing but what is in the archive for the registry."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.measure.start import start_host
from devtools.project import PACK
from scripts.client import Client
from scripts.server import Server, free_port, running_server
from scripts.workflow import nodes_of_type, to_prompt, with_inputs
from tstitch_testing.package import ROOT, install_pack, packed_files

RELEASED = json.loads((ROOT / "tests" / "data" / "public_nodes.json").read_text(encoding="utf-8"))
STEPS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("base")
    install_pack(base / "custom_nodes", PACK)
    with running_server(Path(os.environ["COMFYUI_PATH"]), base, free_port(), not torch.cuda.is_available()) as it:
        yield it


def get(server: Server, path: str) -> Any:
    async def fetch() -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"http://{server.address}{path}") as answer:
            answer.raise_for_status()
            return await answer.json()

    return asyncio.run(fetch())


def test_every_node_is_there(server: Server) -> None:
    assert sorted(name for name in get(server, "/object_info") if name.startswith("TStitch")) == sorted(RELEASED)


def test_the_log_has_one_line_of_ours_and_no_warning(server: Server) -> None:
    lines = server.log.read_text(encoding="utf-8").splitlines()
    plain = [re.sub(r"^\x1b\[\d+m\[INFO\]\x1b\[0m ", "", line) for line in lines]  # as newer hosts begin a line
    ours = [line for line in plain if re.search(r"t-?stitch", line, re.IGNORECASE)]
    folder = str(server.log.parent)
    about_folders = [
        line for line in ours if folder in line and re.search(r"seconds:|directory:|Setting|loading", line)
    ]
    assert [line for line in ours if line not in about_folders] == [f"T-Stitch: {len(RELEASED)} nodes"]
    assert not [line for line in about_folders if "IMPORT FAILED" in line]


def test_the_page_finds_workflows_texts_and_help(server: Server) -> None:
    shipped = packed_files()
    workflows = [Path(name).stem for name in shipped if re.fullmatch(r"workflows/[^/]+\.json", name)]
    assert sorted(get(server, "/api/workflow_templates")[PACK]) == sorted(workflows)
    for language, texts in get(server, "/api/i18n").items():
        own = f"locales/{language}/nodeDefs.json"
        assert own not in shipped or set(RELEASED) <= set(texts["nodeDefs"])
    scripts = [name.removeprefix("js/") for name in shipped if name.startswith("js/") and name.endswith(".js")]
    served = get(server, "/extensions")
    assert {f"/extensions/{PACK}/{name}" for name in scripts} == {path for path in served if f"/{PACK}/" in path}


def test_the_starter_workflow_of_the_package_runs(server: Server) -> None:
    pack = server.log.parent / "custom_nodes" / PACK
    workflow = json.loads((pack / "workflows" / "starter_tstitch.json").read_text(encoding="utf-8"))

    async def run() -> list[Any]:
        async with Client(server.address) as client:
            prompt = to_prompt(workflow, await client.object_info())
            prompt = with_inputs(prompt, nodes_of_type(prompt, "TStitchKSampler")[0], steps=STEPS)
            record = await client.run(prompt, lambda *_: None)
            return [await client.image(reference) for reference in record.images()]

    pictures = [np.asarray(Image.open(io.BytesIO(data)), dtype=float) for data in asyncio.run(run())]
    assert [picture.shape for picture in pictures] == [(128, 128, 3)] * 10
    assert all(picture.std() > 20 for picture in pictures)


def test_importing_the_pack_brings_no_library_along(tmp_path: Path) -> None:
    """How long it takes is measured by `python dev.py bench start`."""
    start = start_host(install_pack(tmp_path / "custom_nodes", PACK))
    assert start["loaded"]
    libraries = {name.split(".")[0] for name in start["new"]} - set(sys.stdlib_module_names)
    assert libraries == set()
