"""What the command line asks of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.tools.settings import Setting


@dataclass(frozen=True)
class Options:
    samples: int | None = None  # pictures per row; None is each group's own number
    seeds: int = 3  # at most
    rows: str = ""  # only those whose title has this text

    def chosen(self, settings: Iterable[Setting]) -> list[Setting]:
        return [setting for setting in settings if setting.seed < self.seeds and self.rows in setting.title]
