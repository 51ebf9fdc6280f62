"""FID, style accuracy and attribute confidence of the starter models, one row per setting.

All groups share `results/quality.json`. A row is kept while its weights, the VAE and the classifier stay what they
were, so that a long measurement can be stopped and taken up again.
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from benchmarks.measure import interval, joint, models
from benchmarks.measure.groups import GROUPS
from benchmarks.tools.judge import judge_mark
from benchmarks.tools.options import Options
from benchmarks.tools.results import Row, read_rows, write_results
from benchmarks.tools.settings import Setting
from benchmarks.tools.starter import checksum
from benchmarks.tools.studio import judge, path_of, studio, weights_of

NAME = "quality"
#: What some groups measure beside their rows, or need before.
PREPARED = {"interval": interval.train, "models": models.measure, "joint": joint.main}


def measure(name: str, options: Options) -> None:
    """Draw and score what is not known yet of a group."""
    if name in PREPARED:
        PREPARED[name]()
    group = GROUPS[name]
    samples, rows = options.samples or group.samples, valid_rows()
    missing = [setting for setting in options.chosen(group.settings()) if not is_known(setting, samples, rows)]
    for setting in tqdm(missing, desc=name, unit="row"):
        row = measured(setting, samples)
        rows = [known for known in rows if (known["title"], known["samples"]) != (row["title"], samples)] + [row]
        write_results(NAME, rows)
        tqdm.write(f"{setting.title}: FID {row['fid']}, style accuracy {row['accuracy']}")


def is_known(setting: Setting, samples: int, rows: list[Row]) -> bool:
    return any(row["title"] == setting.title and row["samples"] >= samples for row in rows)


def valid_rows() -> list[Row]:
    """Those of the weights that are there now."""
    mark = judge_mark()
    return [row for row in read_rows(NAME) if row["judge"] == mark and marks(list(row["weights"])) == row["weights"]]


def marks(weights: list[str]) -> dict[str, str]:
    """The start of the checksum of each file."""
    return {name: _mark(path_of(name)) for name in weights}


def _mark(path: Path) -> str:
    return checksum(path)[:8] if path.is_file() else ""


def measured(setting: Setting, samples: int) -> Row:
    drawing = studio().draw(setting, samples)
    return {
        "title": setting.title,
        **judge().score(drawing.pixels, drawing.labels),
        "calls": drawing.calls,
        "flops": round(drawing.flops),
        "seconds": round(drawing.seconds, 1),
        "weights": marks(weights_of(setting)),
        "judge": judge_mark(),
    }
