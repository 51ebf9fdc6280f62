"""The figures of the README, between its marks: what the rows of `main` gain, and one plot."""

from __future__ import annotations

from statistics import mean

from benchmarks.measure.groups import SUMMARY
from benchmarks.report import figures
from benchmarks.report.lines import Line, is_lossless, lines_of, timed
from benchmarks.report.quality import spread_sentence
from benchmarks.report.tables import count, signed, table
from benchmarks.tools.results import ROOT

README = ROOT / "README.md"
MARK, END = "<!-- numbers -->\n", "<!-- end -->"


def summary() -> str:
    """Each row beside 20 guided steps of XL alone from the same noise; those that were measured."""
    found = {words: line for words, setting in SUMMARY.items() for line in lines_of([setting])}
    compared = {words: line for words, line in found.items() if line.reference}
    if not compared:
        return "Not measured yet with these weights: run `python dev.py bench main`."
    lines = list(compared.values())
    header = ["20 guided steps of XL become", "operations", "time", "FID", "style accuracy", "loss"]
    rows = [[words, *gained(line)] for words, line in compared.items()]
    pictures = " and ".join(count(number, "picture") for number in sorted({line.samples for line in lines}))
    fid, accuracy = (mean(row[key] for row in lines[0].alone.values()) for key in ("fid", "accuracy"))
    own = f"XL alone has an FID of {fid:.2f} and a style accuracy of {accuracy:.3f}."
    kept = [column for column in range(len(header)) if any(row[column] for row in rows)]
    shown = table([header[column] for column in kept], [[row[column] for column in kept] for row in rows])
    seeds = " to ".join(str(number) for number in sorted({line.seeds for line in lines}))
    return f"{pictures} and {seeds} seeds per row. {own} {spread_sentence(lines)}\n\n{shown}"


def gained(line: Line) -> list[str]:
    time, operations, fid, style = timed(line), line.by_operations, line.added("fid"), line.added("accuracy")
    assert operations is not None
    assert fid is not None
    assert style is not None
    loss = {True: "none", False: "yes", None: ""}[is_lossless(line)]
    clock = f"{time:.2f}x" if time else ""
    return [f"{operations:.2f}x", clock, signed(fid, 2), signed(style, 3), loss]


def numbers() -> str:
    """The README's section between the marks."""
    plot = "![FID over speed-up](benchmarks/results/tradeoff.png)" if figures.is_drawn("tradeoff") else ""
    return "\n\n".join(filter(None, [summary(), plot]))


def with_numbers(text: str) -> str:
    """The README with its figures made anew."""
    before, mark, rest = text.partition(MARK)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{README} has no {MARK.strip()} ... {END} pair")
    return f"{before}{mark}{numbers()}\n{end}{after}"


def main() -> None:
    README.write_text(with_numbers(README.read_text(encoding="utf-8")), encoding="utf-8")
