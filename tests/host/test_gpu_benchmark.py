"""The benchmark of the GPU at toy size: every part runs and every cell of it has an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.card import Card
from benchmarks.gpu.child import run_parts
from benchmarks.gpu.page import write_page
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.runner import Outcome, Runner


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with torch.inference_mode():
        assert run_parts(list(PARTS), True, found.append)
    return found


@pytest.mark.parametrize("name", PARTS)
def test_every_part_runs_at_toy_size(name: str, lines: list[dict[str, Any]]) -> None:
    of_part = [line for line in lines if line.get("part") == name]
    assert of_part[-1]["event"] == "done", of_part[-1].get("error")
    rows = [line["row"] for line in of_part if "row" in line]
    assert rows
    assert not [row for row in rows if "error" in row or "left out" in row]


def test_the_page_shows_every_part(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    runner = Runner(tmp_path, True, start=never, on_change=lambda _: None)
    runner.outcomes = {name: Outcome() for name in PARTS}
    for line in lines:
        runner.note(line)
    runner.machine = Card().description()
    write_page(tmp_path, json.loads(json.dumps(runner.results())))
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert all(part.title in page for part in PARTS.values())
    assert page.count("|:--") >= 9
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"gpu_fractions.png", "gpu_scales.png", "gpu_memory.png"}
    assert all(f"]({name})" in page for name in pictures)


def never(*_: Any) -> Any:
    raise AssertionError("no process is started")
