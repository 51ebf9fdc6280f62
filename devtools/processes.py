"""Runs programs, several at a time where asked, with a host in reach."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .hosts import main_host
from .packages import venv_python
from .project import ROOT

LOOK_SECONDS = 0.05


def environment(host: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "COMFYUI_PATH": str(host), **more}


def call(command: list[str], env: dict[str, str] | None = None) -> int:
    return run_all([lambda: subprocess.Popen(command, cwd=ROOT, env=env)])[0]


def run_all(
    starts: Sequence[Callable[[], subprocess.Popen[bytes]]],
    at_once: int = 1,
    ended: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Run programs in order, at most `at_once` at a time, and return their exit statuses.

    `ended` is called with the number and the status of each program that ends. A stop (SIGTERM, Ctrl-C) reaches the
    programs that run, which get the time to clean up; where others are left, it is then raised as KeyboardInterrupt.
    """
    running: dict[int, subprocess.Popen[bytes]] = {}
    statuses: dict[int, int] = {}
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        for process in running.values():
            process.terminate()

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        while running or (len(statuses) < len(starts) and not stopped):
            try:
                while not stopped and len(running) < at_once and len(running) + len(statuses) < len(starts):
                    number = len(running) + len(statuses)
                    running[number] = starts[number]()
                for number, status in [(number, process.poll()) for number, process in running.items()]:
                    if status is not None:
                        del running[number]
                        statuses[number] = status
                        if ended is not None:
                            ended(number, status)
                time.sleep(LOOK_SECONDS)
            except KeyboardInterrupt:  # the terminal has sent it to the programs too
                stopped = True
    finally:
        signal.signal(signal.SIGTERM, previous)
    if len(statuses) < len(starts):
        raise KeyboardInterrupt
    return [statuses[number] for number in range(len(starts))]


# `python -m NAME`, but without the current folder, whose nodes/ would hide the host's nodes.py
RUN_MODULE = (
    "import runpy, sys; sys.path = [*filter(None, sys.path)]; runpy.run_module(sys.argv.pop(1), None, '__main__', True)"
)


def run_module(name: str, arguments: list[str]) -> int:
    """Run a module of this repository as a program."""
    host = main_host()
    env = environment(host, PYTHONPATH=os.pathsep.join(map(str, [host, ROOT, ROOT / "tests" / "support"])))
    return call([str(venv_python()), "-c", RUN_MODULE, name, *arguments], env)
