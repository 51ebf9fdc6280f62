"""What stands behind `dev.py`: it runs with any Python that is there, and runs programs a few at a time."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from devtools.checks import Check, closing_line, counts_of, run_checks
from devtools.packages import explain_pip
from devtools.processes import run_all

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "dev.py", *sorted((ROOT / "devtools").glob("*.py"))]


def python(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", code])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_must_be_installed_before(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))  # which is told that it is too old
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    roots = {name.split(".")[0] for name in names}
    assert roots - set(sys.stdlib_module_names) - {"devtools", "_winapi"} == set()


PROGRAM = """
import sys, time
log = open({log!r}, "a")
print("start", file=log, flush=True)
time.sleep(0.3)
print("end", file=log)
sys.exit({status})
"""


def test_programs_run_in_order_and_a_few_at_a_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended: list[tuple[int, int]] = []
    starts = [partial(python, PROGRAM.format(log=str(log), status=number)) for number in range(5)]
    assert run_all(starts, 2, lambda *end: ended.append(end)) == [0, 1, 2, 3, 4]
    assert sorted(ended) == [(number, number) for number in range(5)]
    running = most = 0
    for word in log.read_text().split():
        running += 1 if word == "start" else -1
        most = max(most, running)
    assert most == 2


def test_a_stop_reaches_what_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    ready, clean = tmp_path / "ready", tmp_path / "clean"
    waiting = f"""
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (open({str(clean)!r}, "w"), sys.exit(3)))
open({str(ready)!r}, "w")
time.sleep(600)
"""

    def start() -> subprocess.Popen[bytes]:
        process = python(waiting)
        while not ready.exists():
            time.sleep(0.05)
        threading.Timer(0.1, signal.raise_signal, [signal.SIGTERM]).start()
        return process

    with pytest.raises(KeyboardInterrupt):
        run_all([start, partial(python, f"open({str(tmp_path / 'more')!r}, 'w')")])
    assert clean.exists()
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("at_once", [1, 2])
def test_outcomes_come_in_the_order_of_the_checks(at_once: int, capfd: pytest.CaptureFixture[str]) -> None:
    def check(number: int, seconds: float, status: int) -> Check:
        code = f"import sys, time; time.sleep({seconds}); print('output', {number}); sys.exit({status})"
        return Check(f"check {number}", [sys.executable, "-c", code])

    outcomes = run_checks([check(1, 0.5, 0), check(2, 0, 1)], at_once)
    assert [(outcome.title, outcome.ok) for outcome in outcomes] == [("check 1", True), ("check 2", False)]
    assert "1 errors in" in closing_line(outcomes, 1.0)
    output = capfd.readouterr().out
    assert all(f"=== check {number} ===\noutput {number}" in output for number in (1, 2))


SUITE = '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3" time="4" /></testsuites>'


def test_a_run_of_pytest_tells_how_many_tests_there_were(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert counts_of(report) == {}
    report.write_text(SUITE)
    assert counts_of(report) == {"failed": 2, "passed": 3, "skipped": 3, "errors": 1}
    check = Check("tests", [], is_pytest=True, may_be_empty=True)
    assert [check.outcome(status, report, 1.0).ok for status in (0, 1, 5)] == [True, False, True]


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("Collecting torch\nTHESE PACKAGES DO NOT MATCH THE HASHES", "its hash differs"),
        ("Collecting torch\nOSError: [Errno 28] No space left on device", "free about 8 GB"),
        ("Max retries exceeded with url", "check the network connection"),
        ("ERROR: No matching distribution found for thing", "ends so"),
    ],
)
def test_what_pip_says_becomes_one_sentence(output: str, sentence: str) -> None:
    assert sentence in explain_pip(output)
