"""The pack as users get it: the archive for the registry, unpacked to where an installer puts it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
REGISTRY_TOOL = shutil.which("comfy")  # of comfy-cli


def tracked_files(*options: str) -> set[str]:
    command = ["git", "ls-files", "-z", *options]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")) - {""}


@functools.cache
def packed_files() -> tuple[str, ...]:
    """By the rules of `comfy node pack`: what git tracks, without what .comfyignore names."""
    return tuple(sorted(tracked_files() - tracked_files("-c", "-i", "--exclude-from=.comfyignore")))


def pack_by_registry_tool(folder: Path) -> Path:
    """The archive that `comfy node pack` makes of a copy of this repository in `folder`."""
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    with tempfile.TemporaryDirectory() as home:  # where the tool keeps its own settings
        env = {**os.environ, "DO_NOT_TRACK": "1", "HOME": home}
        stage = [["git", "init", "-q"], ["git", "add", "--all", "--force"]]
        for command in (*stage, [str(REGISTRY_TOOL), "--skip-prompt", "node", "pack"]):
            subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
    return folder / "node.zip"


def pack_by_rules(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "node.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in packed_files():
            archive.write(ROOT / name, name)
    return folder / "node.zip"


def install_pack(custom_nodes: Path, name: str) -> Path:
    """Pack this repository, with the registry's own tool where it is installed, and unpack it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = pack_by_registry_tool(Path(folder)) if REGISTRY_TOOL else pack_by_rules(Path(folder))
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(custom_nodes / name)
    return custom_nodes / name
