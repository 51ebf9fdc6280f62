"""Peak resident memory by memory policy, measured by the kernel in a child process.

What runs there is the program that the tests check the policies with. Writes `results/memory.json`; needs Linux.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.tools.results import ROOT, Row, write_results

PROGRAM = ROOT / "tests" / "support" / "tstitch_testing" / "peak_memory.py"


def measure() -> dict[str, dict[str, int]]:
    """Bytes resident before each run and at its peak, by policy."""
    import comfyui_version

    host = Path(comfyui_version.__file__).parent
    paths = [str(host), str(ROOT), str(PROGRAM.parents[1]), os.environ.get("PYTHONPATH", "")]
    env = {"COMFYUI_PATH": str(host), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    env |= {"MALLOC_MMAP_THRESHOLD_": str(2**20), "LD_PRELOAD": ""}  # glibc gives freed blocks back at once
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), folder],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    figures = measure()
    taken = {run: figure["peak"] - figure["before"] for run, figure in figures.items()}
    alone = taken["large alone"]
    rows: list[Row] = [{"run": run, "bytes": size, "over_large": round(size / alone, 3)} for run, size in taken.items()]
    write_results("memory", rows)
    for row in rows:
        print(f"{row['run']:24}{row['bytes'] / 2**20:8.1f} MiB  {row['over_large']:.3f}")
