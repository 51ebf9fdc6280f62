"""The README's figures are those of the benchmarks."""

from __future__ import annotations

from benchmarks.readme import README, with_numbers


def test_the_numbers_are_those_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_numbers(text) == text
