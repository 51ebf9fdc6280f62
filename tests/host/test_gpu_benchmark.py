"""The benchmark of the GPU at toy size: every part runs and every cell of it has an answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.gpu.child import run_parts
from benchmarks.gpu.parts import PARTS


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
    assert not [row for row in rows if "error" in str(row) or "left out" in row]
