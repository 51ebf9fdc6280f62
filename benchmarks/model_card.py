"""The generated tables of `models/README.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CARD = Path(__file__).parent.parent / "models" / "README.md"
FEW_STEPS = Path(__file__).parent / "results" / "shortcut.json"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, [":--"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figures(score: dict[str, Any]) -> list[str]:
    fids = [f"{score[key]:.3f}" for key in ("fid", "fid_vae")]
    return [*fids, f"{score['accuracy']:.3f}", f"{score['precision']:.2f}", f"{score['recall']:.2f}"]


def quality_table(results: dict[str, Any]) -> str:
    """FID, accuracy, precision and recall of the references and of each run."""
    reference = results["reference"]
    rows = [
        ["held-out real images", "", *figures(reference["real"])],
        ["their reconstruction by the VAE", "", *figures(reference["reconstruction"])],
    ]
    rows += [[run["run"], f"{run['cfg']:g}", *figures(run)] for run in results["runs"]]
    return table(["", "cfg", "FID", "FID to reconstructions", "class accuracy", "precision", "recall"], rows)


def cost_table(results: dict[str, Any]) -> str:
    rows = []
    for name, cost in results["costs"].items():
        training = results["files"][name]["training"]
        rows.append(
            [
                name,
                f"{cost['parameters'] / 1e6:.2f} M",
                f"{cost['flops_per_guided_step'] / 1e6:.0f} M",
                f"{cost['ms_per_guided_step']:.1f}",
                f"{training['images'] / 1e6:.2f} M",
                f"{training['seconds'] / 60:.0f}",
            ]
        )
    header = ["", "parameters", "FLOPs a step", "ms a step", "training images seen", "minutes of training"]
    return table(header, rows)


def file_table(results: dict[str, Any]) -> str:
    rows = [[row["file"], f"{row['bytes'] / 1e6:.2f} MB", f"`{row['sha256']}`"] for row in results["files"].values()]
    return table(["file", "size", "sha256"], rows)


def few_steps_table() -> str:
    """Shortcut beside B at each number of steps."""
    rows = json.loads(FEW_STEPS.read_text(encoding="utf-8"))["runs"]
    steps = dict.fromkeys(row["steps"] for row in rows)
    by_run = {(row["run"], row["steps"]): row for row in rows}
    keys = ("fid", "fid_vae", "accuracy")
    lines = [
        [str(count), *(f"{by_run[name, count][key]:.3f}" for key in keys for name in ("Shortcut", "B"))]
        for count in steps
    ]
    header = ["FID", "FID to reconstructions", "class accuracy"]
    return table(["steps", *(f"{words}, {name}" for words in header for name in ("Shortcut", "B"))], lines)


def with_tables(text: str, results: dict[str, Any]) -> str:
    """The card's text with the part between each pair of table marks made anew."""
    tables = {
        "quality": quality_table(results),
        "few steps": few_steps_table(),
        "cost": cost_table(results),
        "files": file_table(results),
    }
    for name, made in tables.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not mark or not end:
            raise ValueError(f"{CARD} has no <!-- {name} --> ... <!-- end --> pair")
        text = f"{before}{mark}{made}\n{end}{after}"
    return text


def write_tables(results: dict[str, Any]) -> None:
    CARD.write_text(with_tables(CARD.read_text(), results))
