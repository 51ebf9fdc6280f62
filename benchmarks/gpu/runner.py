"""Starts the parts in child processes, keeps them to their time, and gathers what they write."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.child import read_rows
from benchmarks.gpu.parts import PARTS, TOTAL, Part
from benchmarks.tools.results import Row

START = 120.0  # seconds until a process must have begun its first part
GRACE = 5.0  # that a part may be over its limit before its process is ended
POLL = 0.2
PROGRAM = "import sys; sys.path = [*filter(None, sys.path)]; from benchmarks.gpu import child; child.main()"

StartChild = Callable[[Path, Sequence[str]], "subprocess.Popen[bytes]"]


def start_child(path: Path, names: Sequence[str], dry: bool) -> subprocess.Popen[bytes]:
    """A process that runs the parts `names` and writes to `path`."""
    env = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    kind = "dry" if dry else "real"
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(path), kind, *names], env={**os.environ, **env})


@dataclass
class Outcome:
    """Of one part."""

    status: str = "not run"  # then running, and done, failed, out of time or crashed
    seconds: float = 0.0
    error: str = ""
    rows: list[Row] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.status not in ("not run", "running")


@dataclass
class Runner:
    """One run of the benchmark."""

    folder: Path
    dry: bool
    start: StartChild
    on_change: Callable[[Row], None]  # is given all results when a part has ended
    parts: Mapping[str, Part] = field(default_factory=lambda: PARTS)
    total: float = TOTAL
    start_limit: float = START
    grace: float = GRACE
    machine: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _lines: int = 0  # of the file of the process at work, that have been read

    def run(self, names: Sequence[str]) -> Row:
        """All results, whatever happened."""
        self.outcomes = {name: Outcome() for name in names}
        ends, number = time.monotonic() + self.total, 0
        while (missing := self._missing()) and time.monotonic() < ends:
            path = self.folder / f"gpu_{number}.jsonl"
            path.unlink(missing_ok=True)
            self._watch(path, missing, ends)
            self.on_change(self.results())
            path.unlink(missing_ok=True)  # all of it is in the results now
            number += 1
        return self.results()

    def results(self) -> Row:
        parts = {name: {**vars(outcome), "limit": self.parts[name].limit} for name, outcome in self.outcomes.items()}
        return {"machine": self.machine, "dry": self.dry, "parts": parts}

    def _missing(self) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if not outcome.is_over]

    def _watch(self, path: Path, names: Sequence[str], ends: float) -> None:
        """Until the process has ended, or is ended because a part, or the whole, is out of time."""
        process, self._lines = self.start(path, names), 0
        current, since, over = "", time.monotonic(), 0
        try:
            while True:
                code = process.poll()  # before the rows are read: none can follow
                self._read(path)
                if (number := len(names) - len(self._missing())) != over:
                    over = number
                    self.on_change(self.results())
                running = next((name for name in names if self.outcomes[name].status == "running"), "")
                if running != current:
                    current, since = running, time.monotonic()
                if code is not None:
                    if current or not over:
                        error = f"its process ended with status {code}"
                        self._end(current or self._first(names), "crashed", error, since)
                    return
                limit = self.parts[current].limit + self.grace if current else self.start_limit
                if time.monotonic() > min(since + limit, ends):
                    self._end(current or self._first(names), "out of time", "", since)
                    return
                time.sleep(POLL)
        finally:
            process.kill()
            process.wait()

    def _first(self, names: Sequence[str]) -> str:
        return next((name for name in names if not self.outcomes[name].is_over), "")

    def _end(self, name: str, status: str, error: str, since: float) -> None:
        if name:
            outcome = self.outcomes[name]
            outcome.status, outcome.error = status, error
            outcome.seconds = round(time.monotonic() - since, 2)

    def _read(self, path: Path) -> None:
        lines = read_rows(path)
        for line in lines[self._lines :]:
            self.note(line)
        self._lines = len(lines)

    def note(self, line: Row) -> None:
        """What a child has written."""
        if "machine" in line:
            self.machine = line["machine"]
        elif "row" in line:
            self.outcomes[line["part"]].rows.append(line["row"])
        else:
            outcome = self.outcomes[line["part"]]
            outcome.status = "running" if line["event"] == "begun" else line["event"]
            outcome.seconds, outcome.error = line.get("seconds", 0.0), line.get("error", "")
