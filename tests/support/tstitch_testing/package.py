"""The pack as users get it: what git tracks, without what .comfyignore names."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def tracked_files(*options: str) -> set[str]:
    command = ["git", "ls-files", "-z", *options]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")) - {""}


@functools.cache
def packed_files() -> tuple[str, ...]:
    return tuple(sorted(tracked_files() - tracked_files("-c", "-i", "--exclude-from=.comfyignore")))


def install_pack(custom_nodes: Path, name: str) -> Path:
    """Copies the packed files to where an installer unpacks them."""
    for file in packed_files():
        target = custom_nodes / name / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, target)
    return custom_nodes / name
