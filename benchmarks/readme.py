"""The generated figures of the README, from the results that the benchmarks wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.model_card import few_steps_table, table

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = Path(__file__).parent / "results"
MARK, END = "<!-- numbers -->\n", "<!-- end -->"


def quality_rows(results: dict[str, Any]) -> list[list[str]]:
    return [
        [run["run"], f"{run['cfg']:g}", f"{run['fid']:.3f}", f"{run['fid_vae']:.3f}", f"{run['accuracy']:.3f}"]
        for run in results["runs"]
        if run["run"] in ("S", "XL") or run["run"].startswith("S\N{RIGHTWARDS ARROW}XL")
    ]


def speed_rows(results: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"fraction {row['run']}" if row["run"] != "KSampler" else "stock KSampler, XL alone",
            f"{row['seconds']:.2f}",
            f"{row['speedup']:.2f}x",
            f"{row['over_ideal']:.3f}" if "over_ideal" in row else "",
        ]
        for row in results["runs"]
    ]


def speed_caption(results: dict[str, Any]) -> str:
    machine, setting = results["machine"], results["setting"]
    return (
        f"Seconds of a run on the starter models (`python dev.py bench speed`): {setting['batch']} pictures,"
        f" {setting['steps']} steps of {setting['sampler']}, cfg {setting['cfg']:g}, {machine['threads']} CPU threads;"
        f" medians of {setting['rounds']} rounds in which all rows take turns. The last column is the time over the"
        " ideal mixture of both models' times: at 1 the switch is free."
    )


def quality_caption(results: dict[str, Any]) -> str:
    return (
        f"Quality (`python dev.py eval`): {results['runs'][0]['samples']} samples, 20 steps, one seed. FID is in the"
        " features of a classifier trained on the same data, so it compares with nothing else. The VAE alone costs"
        f" {results['reference']['reconstruction']['fid']:.3f}; the second column leaves its blur out. The"
        " [model card](models/README.md) has all rows."
    )


FEW_STEPS_CAPTION = (
    "Few steps (`python dev.py bench shortcut`): the starter Shortcut model against B, which has its size and had the"
    " same training; euler, cfg 1, otherwise as above."
)


def numbers() -> str:
    """The README's section between the marks."""
    quality = json.loads((RESULTS / "starter_models.json").read_text(encoding="utf-8"))
    speed = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    parts = [
        speed_caption(speed),
        table(["S\N{RIGHTWARDS ARROW}XL", "seconds", "speed-up", "over ideal"], speed_rows(speed)),
        quality_caption(quality),
        table(["", "cfg", "FID", "FID to reconstructions", "class accuracy"], quality_rows(quality)),
    ]
    parts += [FEW_STEPS_CAPTION, few_steps_table()]
    return "\n\n".join(parts)


def with_numbers(text: str) -> str:
    """The README with its figures made anew."""
    before, mark, rest = text.partition(MARK)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{README} has no {MARK.strip()} ... {END} pair")
    return f"{before}{mark}{numbers()}\n{end}{after}"


def main() -> None:
    README.write_text(with_numbers(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
