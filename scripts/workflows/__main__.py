"""`python -m scripts.workflows`: writes workflows/*.json."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from scripts.client import fetch_object_info
from scripts.server import free_port, running_server
from scripts.workflows import GRAPHS

FOLDER = Path(__file__).resolve().parents[2] / "workflows"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tstitch-workflows-") as base:
        host = Path(os.environ["COMFYUI_PATH"])
        with running_server(host, Path(base), free_port(), cpu=True) as server:
            object_info = asyncio.run(fetch_object_info(server.address))
    for build in GRAPHS:
        graph = build()
        text = json.dumps(graph.to_workflow(object_info), indent=1, ensure_ascii=False)
        (FOLDER / f"{graph.name}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(GRAPHS)} workflows are in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
