"""The virtual environment, and the packages of pip and npm."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from .project import LOG, ROOT, VENV, DevError

STAMP = VENV / "setup.json"
NODE_MODULES = ROOT / "node_modules"
NODE_STAMP = NODE_MODULES / "setup.txt"

TORCH = ["torch", "torchvision"]
DEV_TOOLS = [
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff", "mypy"),
    "diffusers",  # an independent implementation that tests compare with
    "soundfile",  # a requirement of ComfyUI 0.3.52 that 0.3.75 has dropped
    "playwright",  # drives Chromium; it brings its own Node.js, but no browser
]


def requirement_lines(path: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def venv_is_ready() -> bool:
    if venv_python().is_symlink() and not venv_python().exists():
        raise DevError(f"The Python that {VENV} was made with is gone: delete that folder and run this again.")
    pattern = "Lib/site-packages/pip/__init__.py" if os.name == "nt" else "lib/*/site-packages/pip/__init__.py"
    return venv_python().exists() and any(VENV.glob(pattern))


def make_venv() -> None:
    if logged([sys.executable, "-m", "venv", VENV]):
        hint = "install the package python3-venv" if "ensurepip" in LOG.read_text() else f"see {LOG}"
        raise DevError(f"Python could not make a virtual environment in {VENV}: {hint}, then run this again.")


def digest(requirements: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(requirements).encode()).hexdigest()


def read_stamps() -> dict[str, str]:
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def write_stamp(group: str, requirements: list[str]) -> None:
    STAMP.write_text(json.dumps({**read_stamps(), group: digest(requirements)}, indent=1))


def pip_install(group: str, requirements: list[str]) -> None:
    pip("install", *requirements)
    write_stamp(group, requirements)


def pip(*arguments: str | Path) -> None:
    """Run pip of .venv with its output in the log; raise one sentence when it fails."""
    start = LOG.stat().st_size if LOG.exists() else 0
    command = [venv_python(), "-m", "pip", *arguments, "--no-input", "--disable-pip-version-check"]
    if logged(command):
        with LOG.open(encoding="utf-8", errors="replace") as log:
            log.seek(start)
            raise DevError(explain_pip(log.read()))


def logged(command: Sequence[str | Path]) -> int:
    VENV.mkdir(exist_ok=True)
    with LOG.open("a", encoding="utf-8") as log:
        log.write("\n$ " + " ".join(map(str, command)) + "\n")
        log.flush()
        return subprocess.run(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, cwd=ROOT).returncode


NETWORK_SIGNS = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProtocolError",
    "ProxyError",
    "SSLError",
    "Max retries exceeded",
    "Read timed out",
)


def explain_pip(output: str) -> str:
    """pip's many words in one sentence; where none fits, the end of its output."""
    missing = re.findall(r"No matching distribution found for (\S+)", output)
    package = ["a package", *re.findall(r"Collecting (\S+)", output), *missing][-1]
    if "DO NOT MATCH THE HASHES" in output:
        return f"The download of {package} is not the file this project was checked with (its hash differs): try again."
    if "No space left" in output:
        return f"The disk is full while installing {package}: free about 8 GB and run this again."
    if any(sign in output for sign in NETWORK_SIGNS):
        return (
            f"pip could not download {package}, because the package index could not be reached:"
            " check the network connection and pip's proxy settings, then run this again."
        )
    if "(from versions: none)" in output:
        python = f"Python {sys.version.split()[0]} on {sys.platform}"
        return (
            f"pip found nothing to download for {package}: either the package index could not be reached (check the"
            f" network connection and pip's settings), or it has none for {python}."
        )
    tail = "\n".join("    " + line for line in output.strip().splitlines()[-12:])
    return f"pip failed at {package}; the whole log is {LOG}, and it ends so:\n{tail}"


def set_up_node() -> None:
    """What package-lock.json names, in node_modules; raise one sentence where npm is missing or fails."""
    locked = digest([(ROOT / "package-lock.json").read_text(encoding="utf-8")])
    if NODE_STAMP.is_file() and NODE_STAMP.read_text() == locked:
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise DevError("Node.js 20 or newer with npm is missing: install it, then run this again.")
    print("Installing the packages of npm ...", flush=True)
    if logged([npm, "ci", "--ignore-scripts"]):
        raise DevError(f"npm could not install its packages: is its registry reachable? The log is {LOG}.")
    NODE_STAMP.write_text(locked)
