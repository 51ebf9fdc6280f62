"""What the pack adds to the start of ComfyUI, in fresh processes. Printed only: another machine has other figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.tools.results import ROOT

STARTS = 3
LIMIT = 0.3  # seconds
# What the host does when it starts, with the pack's share measured on the clock and on the processor.
START = """
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
before = set(sys.modules)
started, worked = time.perf_counter(), time.process_time()
loaded = asyncio.run(nodes.load_custom_node(pack))
seconds, processor = time.perf_counter() - started, time.process_time() - worked
new = [name for name in set(sys.modules) - before if not name.startswith(pack)]
print(json.dumps({"loaded": loaded, "seconds": seconds, "processor": processor, "new": sorted(new)}))
"""


def start_host(pack: Path, **env: str) -> dict[str, Any]:
    """Start the host's imports in a new process and load `pack` last: {loaded, seconds, processor, new modules}."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", START, os.environ["COMFYUI_PATH"], str(pack)]
    output = subprocess.run(command, env={**inherited, **env}, check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        found = [start_host(ROOT, PYTHONPYCACHEPREFIX=cache) for _ in range(STARTS + 1)]
    first, *later = ([each["seconds"], each["processor"]] for each in found)
    print(f"The pack's import beyond ComfyUI's own, which should stay below {LIMIT} s:")
    for name, (seconds, processor) in (
        ("first start, not compiled yet", first),
        (f"later starts, median of {STARTS}", [median(column) for column in zip(*later, strict=True)]),
    ):
        print(f"  {name}: {seconds:.3f} s, {processor:.3f} s of the processor")
