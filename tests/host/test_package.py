"""A host with nothing but the packed pack."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch

from dev import PACK
from scripts.server import Server, free_port, running_server
from tstitch_testing.package import ROOT, install_pack, packed_files

RELEASED = json.loads((ROOT / "tests" / "data" / "public_nodes.json").read_text(encoding="utf-8"))
IMPORT_SECONDS = 0.3
# What the host does when it starts, with the pack's share of the processor's time measured: the time on the clock
# says more about what else the machine does.
MEASURE = """
import asyncio, json, os, sys, time
host, pack = sys.argv[1:]
os.chdir(host)
sys.path.insert(0, host)
sys.argv[1:] = []
from comfy.cli_args import args
args.cpu = True
import nodes
asyncio.run(nodes.init_public_apis())
asyncio.run(nodes.init_builtin_extra_nodes())
before, started = set(sys.modules), time.process_time()
loaded = asyncio.run(nodes.load_custom_node(pack))
seconds = time.process_time() - started
new = [name for name in set(sys.modules) - before if not name.startswith(pack)]
print(json.dumps({"loaded": loaded, "seconds": seconds, "new": sorted(new)}))
"""


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
    ours = [line for line in lines if re.search(r"t-?stitch", line, re.IGNORECASE)]
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


def test_importing_the_pack_costs_little_and_brings_no_library_along(tmp_path: Path) -> None:
    pack = install_pack(tmp_path / "custom_nodes", PACK)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", MEASURE, os.environ["COMFYUI_PATH"], str(pack)]
    output = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    measured = json.loads(output.strip().splitlines()[-1])
    assert measured["loaded"]
    assert measured["seconds"] < IMPORT_SECONDS
    libraries = {name.split(".")[0] for name in measured["new"]} - set(sys.stdlib_module_names)
    assert libraries == set()
