"""The README's figures are those of the benchmarks."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report.readme import README, with_numbers

ROOT = Path(__file__).resolve().parents[2]


def test_the_numbers_are_those_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_numbers(text) == text


def test_every_workflow_is_listed() -> None:
    text = README.read_text(encoding="utf-8")
    names = [path.stem for path in (ROOT / "workflows").glob("*.json")]
    assert [name for name in names if f"`{name}`" not in text] == []
