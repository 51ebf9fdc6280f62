"""A part that fails, hangs or takes its process with it costs its own rest and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.page import write_page
from benchmarks.gpu.parts import PARTS as REAL_PARTS
from benchmarks.gpu.parts import TOTAL, Job, Part
from benchmarks.gpu.runner import Runner
from benchmarks.tools.results import replace_text

#: What a child does by the name of the part. It writes as the real one.
CHILD = """
import json, sys, time
path, *names = sys.argv[1:]
def write(line):
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\\n")
write({"machine": {"device": "toy"}})
for name in names:
    write({"part": name, "event": "begun"})
    write({"part": name, "row": {"number": 1}})
    if name == "hangs":
        time.sleep(60)
    if name == "crashes":
        sys.exit(7)
    if name == "spoils":
        write({"part": name, "event": "failed", "error": "an illegal access", "seconds": 0.1})
        sys.exit(1)
    write({"part": name, "event": "failed" if name == "fails" else "done", "seconds": 0.1})
"""
PARTS = {name: Part(name, name, 1.0) for name in ("first", "hangs", "crashes", "fails", "spoils", "last")}


def start(path: Path, names: Sequence[str], program: str = CHILD) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, str(path), *names])


@pytest.fixture
def told() -> list[dict[str, Any]]:
    return []


def runner(folder: Path, told: list[dict[str, Any]], **options: Any) -> Runner:
    given: dict[str, Any] = {"start": start, "grace": 0.5, "total": 60.0, **options}
    return Runner(folder, True, on_change=told.append, parts=PARTS, **given)


def test_other_parts_run_whatever_happens_in_one(tmp_path: Path, told: list[dict[str, Any]]) -> None:
    results = runner(tmp_path, told).run(list(PARTS))
    found = {name: part["status"] for name, part in results["parts"].items()}
    assert found == {
        "first": "done",
        "hangs": "out of time",
        "crashes": "crashed",
        "fails": "failed",
        "spoils": "failed",
        "last": "done",
    }
    assert all(part["rows"] == [{"number": 1}] for part in results["parts"].values())
    assert results["machine"] == {"device": "toy"}
    assert results["parts"]["crashes"]["error"] == "its process ended with status 7"


def test_results_are_told_while_it_runs(tmp_path: Path, told: list[dict[str, Any]]) -> None:
    runner(tmp_path, told).run(["first", "hangs", "last"])
    states = [[part["status"] for part in results["parts"].values()] for results in told]
    assert ["done", "running", "not run"] in states
    assert states[-1] == ["done", "out of time", "done"]


def test_the_whole_has_a_limit_too(tmp_path: Path, told: list[dict[str, Any]]) -> None:
    results = runner(tmp_path, told, total=0.6).run(["hangs", "last"])
    assert [part["status"] for part in results["parts"].values()] == ["out of time", "not run"]


def test_a_process_that_never_begins_is_not_started_for_ever(tmp_path: Path, told: list[dict[str, Any]]) -> None:
    broken = partial(start, program="raise SystemExit(3)")
    results = runner(tmp_path, told, start=broken).run(["first", "last"])
    assert [part["status"] for part in results["parts"].values()] == ["crashed", "crashed"]


def test_cells_that_fail_or_have_no_time_are_named() -> None:
    def fail() -> dict[str, Any]:
        raise ValueError("no\nroom")

    cells = [({"run": "a"}, lambda: {"seconds": 1}), ({"run": "b"}, fail)]
    assert list(Job(True, 1e12).cells(cells)) == [
        {"run": "a", "seconds": 1},
        {"run": "b", "error": "ValueError: no room"},
    ]
    assert list(Job(True, 0.0).cells(cells)) == [{"left out": ["a", "b"]}]


def test_results_are_replaced_in_one_step(tmp_path: Path) -> None:
    for text in ('{"a": 1}', '{"a": 2}'):
        replace_text(tmp_path / "gpu.json", text)
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]
    assert json.loads((tmp_path / "gpu.json").read_text()) == {"a": 2}


def test_the_parts_fit_into_the_whole() -> None:
    assert sum(part.limit for part in REAL_PARTS.values()) < TOTAL


def test_the_page_tells_what_went_wrong(tmp_path: Path) -> None:
    part = {"status": "crashed", "seconds": 3.0, "error": "its process ended with status 7", "limit": 9.0, "rows": []}
    memory = {**part, "rows": [{"room": "ample", "run": "swap", "error": "OutOfMemoryError: no room"}]}
    overhead = {**part, "status": "done", "error": "", "rows": [{"left out": ["wan"]}]}
    write_page(tmp_path, {"machine": {}, "dry": False, "parts": {"memory": memory, "overhead": overhead}})
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "Crashed, 3 of at most 9 s." in page
    assert "its process ended with status 7" in page
    assert "- ample swap: OutOfMemoryError: no room" in page
    assert "- no time was left for wan" in page
