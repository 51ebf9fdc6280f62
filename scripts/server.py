"""A real ComfyUI server as a child process, in a base folder of its own."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devtools.hosts import link_root, own_page, remove_link
from devtools.project import PACK

DEFAULT_PORT = 8188
START_SECONDS = 600
STOP_SECONDS = 15
LOG_LINES = 25  # shown when something went wrong


class ServerError(RuntimeError):
    pass


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.address = f"127.0.0.1:{port}"
        self.log = log

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None:
                raise self.error(f"ComfyUI ended with status {self.process.returncode} while it started")
            if time.monotonic() > deadline:
                raise self.error(f"ComfyUI has not answered within {START_SECONDS} seconds")
            time.sleep(0.25)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/system_stats", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def error(self, sentence: str, marker: str = "") -> ServerError:
        """`sentence`, and below it the server's log: its end, or up to the last line that holds `marker`."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        end = max((i for i, line in enumerate(lines, 1) if marker in line), default=len(lines))
        return ServerError("\n    ".join([f"{sentence}. From its log:", *lines[max(0, end - LOG_LINES) : end]]))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name != "nt":  # on Windows this option would let two programs share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port(wanted: int | None) -> int:
    """`wanted`, or else ComfyUI's usual port, or else any that is free."""
    if wanted is not None:
        if not is_free(wanted):
            raise ServerError(
                f"Port {wanted} is taken: stop what uses it, or leave --port out and a free one is found."
            )
        return wanted
    return DEFAULT_PORT if is_free(DEFAULT_PORT) else free_port()


def free_port() -> int:
    """Any that nothing listens on; other programs that start now look for ComfyUI's usual one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare_base(base: Path) -> bool:
    """What `--base-directory` must hold; the host then reads and writes nothing in its own folder.

    A copy of the pack that lies there already is used as it is; else this repository is linked, and True returned.
    """
    for name in ("custom_nodes", "input", "models", "output", "user"):
        (base / name).mkdir(parents=True, exist_ok=True)
    pack = base / "custom_nodes" / PACK
    if pack.is_dir() and not pack.is_symlink():
        return False
    link_root(pack)
    return True


def page_scripts() -> Path:
    """The folder of the page that a server of `running_server` serves."""
    package = "comfyui_frontend_package"
    own = own_page()
    if own is not None:
        return own / package / "static"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ServerError(f"{package} is not installed: ComfyUI has no page without it.")
    return Path(found.origin).parent / "static"


@contextmanager
def running_server(host: Path, base: Path, port: int, cpu: bool, *arguments: str) -> Iterator[Server]:
    """Boot the ComfyUI in `host` with this pack as its only custom node, and stop it in the end.

    COMFYUI_PAGE may name a folder of packages with another page.
    """
    linked = prepare_base(base)
    host = host.resolve()
    command = [sys.executable, str(host / "main.py"), "--base-directory", str(base), "--port", str(port)]
    command += [
        "--disable-auto-launch",
        "--database-url",
        "sqlite:///:memory:",
        *(["--cpu"] if cpu else []),
        *arguments,
    ]
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    if (page := own_page()) is not None:
        env["PYTHONPATH"] = str(page)
    log = base / "server.log"
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=host, env=env, stdout=output, stderr=subprocess.STDOUT)
        server = Server(process, port, log)
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.stop()
    finally:
        if linked:
            remove_link(base / "custom_nodes" / PACK)
