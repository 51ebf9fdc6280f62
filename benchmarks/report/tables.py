"""Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Column(NamedTuple):
    """A title, and the text of a line."""

    title: str
    text: Callable[..., str]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Without spaces around cells, so that `wc -w` counts words."""
    lines = [header, [":--"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join(f"|{'|'.join(line)}|" for line in lines)


def table_of(columns: Sequence[Column], lines: Sequence[T]) -> str:
    """One row per line, without the columns that are empty in all."""
    texts = [[column.text(line) for line in lines] for column in columns]
    kept = [(column.title, column_texts) for column, column_texts in zip(columns, texts, strict=True)
            if any(column_texts)]  # fmt: skip
    header = [title for title, _ in kept]
    return table(header, [list(row) for row in zip(*(column_texts for _, column_texts in kept), strict=True)])


def signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def count(number: int, word: str) -> str:
    """`3 seeds`, `1 000 pictures`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}".replace(",", " ")
