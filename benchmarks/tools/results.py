"""The files of `results/`: one JSON object each, one line per row, so that a diff shows what was measured anew."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"

#: One measurement: texts and numbers by name.
Row = dict[str, Any]


def results_path(name: str) -> Path:
    return RESULTS / f"{name}.json"


def read_results(name: str) -> dict[str, Any] | None:
    """{machine, setting, rows}, or None before the first measurement."""
    path = results_path(name)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def read_rows(name: str) -> list[Row]:
    results = read_results(name)
    return results["rows"] if results else []


def write_results(name: str, rows: Iterable[Row], **setting: Any) -> None:
    """Replace `results/<name>.json`, whole or not at all."""
    from benchmarks.tools.timing import machine

    head = json.dumps({"machine": machine(), "setting": setting}, indent=1, ensure_ascii=False).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    path = results_path(name)
    path.parent.mkdir(exist_ok=True)
    replace_text(path, f'{head},\n "rows": [\n{lines}\n ]\n}}\n')


def replace_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
