"""The generated tables of `models/README.md`: of the files themselves, and of what was measured of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure.groups import GROUPS
from benchmarks.report.lines import Line, lines_of
from benchmarks.report.tables import table
from benchmarks.tools.results import ROOT, Row, read_rows
from benchmarks.tools.settings import XL, S, stitched
from benchmarks.tools.starter import checksum, metadata, weights_path

CARD = ROOT / "models" / "README.md"
NAMES = ("vae", "S", "S-eps", "B", "XL", "Shortcut")
UNKNOWN = "Not measured yet: `python dev.py bench {}`."


def quality_table() -> str:
    """Real pictures, each model alone, and S before XL."""
    references = [row for row in read_rows("models") if "reference" in row]
    lines = lines_of([*GROUPS["models"].settings(), *(stitched((S, XL), share) for share in (0.2, 0.4, 0.6))])
    if not references and not lines:
        return UNKNOWN.format("models")
    rows = [[row["reference"], "", "", *figures(row), str(row["samples"]), ""] for row in references]
    rows += [[*names(line), *of_line(line), str(line.samples), str(line.seeds)] for line in lines]
    header = ["", "steps", "cfg", "FID", "FID to reconstructions", "style accuracy", "attribute confidence"]
    return table([*header, "precision", "recall", "pictures", "seeds"], rows)


def names(line: Line) -> list[str]:
    return [line.setting.models, line.setting.pattern, f"{line.setting.cfg:g}"]


def figures(row: Row) -> list[str]:
    fids = [f"{row[key]:.2f}" for key in ("fid", "fid_vae")]
    return [*fids, *(f"{row[key]:.3f}" for key in ("accuracy", "confidence")), f"{row['precision']:.2f}",
            f"{row['recall']:.2f}"]  # fmt: skip


def of_line(line: Line) -> list[str]:
    """Means over seeds; FID with the distance between the smallest and the largest."""
    keys = ("fid", "fid_vae", "accuracy", "confidence", "precision", "recall")
    fid, *others = figures({key: line.mean(key) for key in keys})
    spread = line.spread("fid")
    return [fid if spread is None else f"{fid} (spread {spread:.2f})", *others]


def few_steps_table() -> str:
    """Shortcut beside B at each number of steps; "" before the first row."""
    lines = lines_of(GROUPS["shortcut"].settings())
    known = {(line.setting.models, line.setting.steps): line for line in lines}
    models, keys = ("Shortcut", "B"), {"FID": ("fid", 1), "style accuracy": ("accuracy", 3)}
    rows = []
    for steps in dict.fromkeys(line.setting.steps for line in lines):
        pair = [known.get((model, steps)) for model in models]
        rows.append(
            [str(steps), *(f"{line.mean(key):.{n}f}" if line else "" for key, n in keys.values() for line in pair)]
        )
    header = ["steps", *(f"{words}, {model}" for words in keys for model in models)]
    samples = " and ".join(sorted({f"{line.samples}" for line in lines}))
    return f"{samples} pictures per row, one seed.\n\n{table(header, rows)}" if rows else ""


def cost_table() -> str:
    costs = [row for row in read_rows("models") if "model" in row]
    if not costs:
        return UNKNOWN.format("models")
    rows = []
    for cost in costs:
        path = weights_path(cost["model"])
        training = json.loads(metadata(path)["tstitch.training"]) if path.is_file() else {"images": 0, "seconds": 0}
        rows.append(
            [
                cost["model"],
                f"{cost['parameters'] / 1e6:.2f} M",
                f"{cost['flops_per_guided_step'] / 1e6:.0f} M",
                f"{cost['ms_per_guided_step']:.1f}",
                f"{training['images'] / 1e6:.2f} M",
                f"{training['seconds'] / 60:.0f}",
            ]
        )
    header = ["", "parameters", "FLOPs per step", "ms per step", "training pictures seen", "minutes of training"]
    return table(header, rows)


def file_table() -> str:
    paths = [path for path in map(weights_path, NAMES) if path.is_file()]
    return table(["file", "size", "sha256"], [[path.name, megabytes(path), f"`{checksum(path)}`"] for path in paths])


def megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"


TABLES: dict[str, Callable[[], str]] = {
    "quality": quality_table,
    "few steps": lambda: few_steps_table() or UNKNOWN.format("shortcut"),
    "cost": cost_table,
    "files": file_table,
}


def with_tables(text: str) -> str:
    """The card's text with the part between each pair of table marks made anew."""
    for name, make in TABLES.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not mark or not end:
            raise ValueError(f"{CARD} has no <!-- {name} --> ... <!-- end --> pair")
        text = f"{before}{mark}{make()}\n{end}{after}"
    return text


def main() -> None:
    CARD.write_text(with_tables(CARD.read_text(encoding="utf-8")), encoding="utf-8")
