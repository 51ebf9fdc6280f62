"""What the rows of quality say about a run: its scores over seeds, beside those of a reference from the same noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from benchmarks.measure.groups import SEEDS
from benchmarks.tools.results import Row, read_rows
from benchmarks.tools.settings import ALONE, Setting


@dataclass(frozen=True)
class Line:
    """One run over the seeds it was drawn with, all with as many pictures."""

    setting: Setting  # with the first seed
    rows: dict[int, Row]  # by seed
    reference: dict[int, Row]  # of the same seeds and number of pictures, where it was drawn
    alone: dict[int, Row]  # 20 guided steps of XL, with as many pictures: what their seeds differ by is chance

    @property
    def samples(self) -> int:
        return next(iter(self.rows.values()))["samples"]

    @property
    def seeds(self) -> int:
        return len(self.rows)

    def mean(self, key: str) -> float:
        return mean(row[key] for row in self.rows.values())

    def spread(self, key: str) -> float | None:
        """Largest less smallest over seeds."""
        return spread_of(self.rows, key)

    def added(self, key: str) -> float | None:
        """What it has more than the reference from the same noise, on average."""
        seeds = [seed for seed in self.rows if seed in self.reference]
        return mean(self.rows[seed][key] - self.reference[seed][key] for seed in seeds) if seeds else None

    @property
    def by_operations(self) -> float | None:
        """The reference's operations over its own."""
        other = next(iter(self.reference.values()), None)
        return other["flops"] / self.mean("flops") if other else None


Reference = Callable[[Setting], Setting]


def spread_of(rows: dict[int, Row], key: str) -> float | None:
    values = [row[key] for row in rows.values()]
    return max(values) - min(values) if len(values) > 1 else None


def xl_alone(setting: Setting) -> Setting:
    """20 guided steps of XL."""
    return replace(ALONE, seed=setting.seed)


def one_loop(setting: Setting) -> Setting:
    return replace(setting, chained=False)


def same_widgets(setting: Setting) -> Setting:
    """XL in all steps, with the same sampler and widgets."""
    finishing = setting.parts[-1]
    parts = (replace(finishing, model="XL", scale=1.0, file=""),)
    return replace(setting, parts=parts, owners=(0,) * setting.steps, chained=False, cache="", lift="")


def stored() -> dict[str, list[Row]]:
    """Rows by title."""
    found: dict[str, list[Row]] = {}
    for row in read_rows("quality"):
        found.setdefault(row["title"], []).append(row)
    return found


def lines_of(settings: Iterable[Setting], reference: Reference = xl_alone) -> list[Line]:
    """One per run that has been drawn, of all its seeds, with the most pictures there are of it."""
    rows, found = stored(), []
    for setting in {setting.run: replace(setting, seed=SEEDS[0]) for setting in settings}.values():
        counts = {row["samples"] for seeded in setting.seeded(*SEEDS) for row in rows.get(seeded.title, [])}
        if counts:
            compared = (setting, reference(setting), ALONE)
            found.append(Line(setting, *(_rows_of(each, max(counts), rows) for each in compared)))
    return found


def _rows_of(setting: Setting, samples: int, rows: dict[str, list[Row]]) -> dict[int, Row]:
    found = {}
    for seeded in setting.seeded(*SEEDS):
        for row in rows.get(seeded.title, []):
            if row["samples"] == samples:
                found[seeded.seed] = row
    return found


def is_lossless(line: Line) -> bool | None:
    """No worse than the reference by more than seeds of XL differ, in FID and in style accuracy; None where unknown."""
    fid, accuracy = line.added("fid"), line.added("accuracy")
    fids, accuracies = spread_of(line.alone, "fid"), spread_of(line.alone, "accuracy")
    if fid is None or accuracy is None or fids is None or accuracies is None:
        return None
    return round(fid - fids, 3) <= 0 and round(-accuracy - accuracies, 4) <= 0


def wall_times() -> dict[str, float]:
    """Speed-ups of wall time by run, over 20 guided steps of XL."""
    return {row["run"]: row["speedup"] for row in read_rows("wall_time")}


def timed(line: Line, reference: Reference = xl_alone) -> float | None:
    """The speed-up of wall time, where both runs have been timed."""
    times = wall_times()
    slow, fast = times.get(reference(line.setting).run), times.get(line.setting.run)
    return fast / slow if slow and fast else None


def speed_of(lines: Sequence[Line], reference: Reference = xl_alone) -> Callable[[Line], float]:
    """The speed-up of any of `lines`: of wall time where all of them have been timed, else of the operations."""
    times = {line.setting.run: timed(line, reference) for line in lines}
    if all(value is not None for value in times.values()):
        return lambda line: times[line.setting.run] or 0.0
    return lambda line: line.by_operations or 0.0


def front(lines: Sequence[Line]) -> list[Line]:
    """Those that no other beats in both speed-up and FID, the slowest first."""
    best: list[Line] = []
    speed = speed_of(lines)
    for line in sorted(lines, key=lambda line: (-speed(line), line.mean("fid"))):
        if not best or line.mean("fid") < best[-1].mean("fid"):
            best.append(line)
    return best[::-1]
