"""The benchmarks' report is that of their results."""

from __future__ import annotations

from benchmarks.report import REPORT, front, report


def test_the_report_is_that_of_the_results() -> None:
    assert REPORT.read_text(encoding="utf-8") == report()


def test_the_front_is_what_nothing_beats_in_both() -> None:
    rows = [
        {"fid": fid, "calls": {"XL": calls}} for fid, calls in ((0.4, 20), (0.5, 12), (0.6, 14), (0.5, 10), (0.9, 4))
    ]
    assert [(row["fid"], row["calls"]["XL"]) for row in front(rows)] == [(0.4, 20), (0.5, 10), (0.9, 4)]
