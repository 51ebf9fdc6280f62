"""The parts of the benchmark, and what each may use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.tools.results import Row

Cell = tuple[Mapping[str, Any], Callable[[], Row]]  # labels, and what measures the rest of its row


class Part(NamedTuple):
    """A module of this package whose `rows(job)` yields rows."""

    module: str
    title: str
    limit: float  # seconds


#: By name, in the order in which they run. The limits and two starts of a process add up to eight minutes.
PARTS = {
    "exactness": Part("exactness", "Stitched samples against the stock sampler, bit for bit", 80),
    "overhead": Part("overhead", "What stitching costs beside the stock sampler", 100),
    "stages": Part("stages", "Fractions, lower resolutions, and guidance by the small model", 100),
    "memory": Part("memory", "Memory, switches, and what is left after errors", 75),
    "report": Part("report_seconds", "The report's seconds against the device's clock", 20),
    "compile": Part("compiled", "torch.compile of each stage", 60),
}
TOTAL = 480.0  # seconds of all parts together
PATIENCE = 30.0  # times as long may everything take at toy size, where nothing is measured


def stretched(seconds: float, dry: bool) -> float:
    """A limit, at toy size that of a CPU which may have other work."""
    return seconds * PATIENCE if dry else seconds


@dataclass(frozen=True)
class Job:
    """What a part is given: its size and its time."""

    dry: bool  # toy size, on a CPU
    ends: float  # on time.monotonic
    reserve: float = 4.0  # seconds that are kept for the part's last row

    @property
    def left(self) -> float:
        """Seconds that the part may still begin something in."""
        return self.ends - time.monotonic() - self.reserve

    def cells(self, cells: Sequence[Cell]) -> Iterator[Row]:
        """A row of each cell: its labels, and what it measured or why it failed. When time is up the rest is named."""
        for number, (labels, measure) in enumerate(cells):
            if self.left <= 0:
                yield {"left out": [" ".join(map(str, labels.values())) for labels, _ in cells[number:]]}
                return
            yield {**labels, **attempt(measure)}


def attempt(measure: Callable[[], Row]) -> Row:
    """What `measure` returns, or the error in one line."""
    try:
        return measure()
    except Exception as error:
        return {"error": one_line(error)}


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
