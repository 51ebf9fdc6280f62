"""What stitching costs in quality: FID and accuracy of the starter models over schedules, orders and step counts.

Every row is measured once and kept in `results/<group>.json` under its setting and its weights' checksums, so that a
long run can be stopped and taken up again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import plan
from benchmarks.classifier import load_classifier
from benchmarks.drawing import Setting, Studio, first_steps, marks
from benchmarks.judge import Judge
from benchmarks.starter import load_vae

RESULTS = Path(__file__).parent / "results"
SAMPLES = 5000
TENTHS = [tenth / 10 for tenth in range(11)]
SAMPLER, STEPS = "dpmpp_2m", 20


def tradeoff() -> list[Setting]:
    """The paper's main figure: the fraction from 0 to 1 for each pair."""
    pairs = [("S", "XL"), ("B", "XL"), ("S", "B")]
    return [first_steps(*pair, fraction, STEPS, SAMPLER) for pair in pairs for fraction in TENTHS]


def order() -> list[Setting]:
    """Half of the steps each, small-first and otherwise (table of section 4 of arXiv 2402.14167)."""
    half = STEPS // 2
    owners: dict[str, tuple[int, ...]] = {
        "small first": (0,) * half + (1,) * half,
        "large first": (1,) * half + (0,) * half,
        "interleaved": (0, 1) * half,
        "large, small, large": (1,) * (half // 2) + (0,) * half + (1,) * (half // 2),
    }
    return [Setting(("S", "XL"), steps, SAMPLER) for steps in owners.values()]


def fewer_steps() -> list[Setting]:
    """The other way to save time: the large model alone with fewer steps."""
    return [Setting(("XL",), (0,) * steps, SAMPLER) for steps in (8, 10, 12, 14, 16)]


def seam() -> list[Setting]:
    """One loop against two chained samplers, where few steps make the lost history of the solver matter most."""
    return [
        first_steps("S", "XL", 0.4, steps, SAMPLER, chained=chained) for steps in (10, 20) for chained in (False, True)
    ]


def spread() -> list[Setting]:
    """More seeds of the rows that claims rest on."""
    return [
        first_steps("S", "XL", fraction, STEPS, SAMPLER, seed=seed) for seed in (1, 2) for fraction in (0.0, 0.3, 0.4)
    ]


GROUPS: dict[str, Callable[[], list[Setting]]] = {
    "tradeoff": tradeoff,
    "order": order,
    "fewer_steps": fewer_steps,
    "seam": seam,
    "spread": spread,
    "planned": plan.settings,
}


def row_key(setting: Setting) -> str:
    return f"{setting.title} samples {SAMPLES} weights {marks(setting.models)}"


def known_rows() -> dict[str, dict[str, Any]]:
    """Every row that any group has measured; they share some."""
    rows: dict[str, dict[str, Any]] = {}
    for name in GROUPS:
        path = RESULTS / f"{name}.json"
        if path.is_file():
            rows |= {row["key"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    return rows


def measure(names: Iterable[str]) -> None:
    studio, judge, rows = Studio(), Judge(load_classifier(), load_vae()), known_rows()
    for name in names:
        kept = []
        for setting in tqdm(GROUPS[name](), desc=name, unit="row"):
            key = row_key(setting)
            if key not in rows:
                pixels, labels, seconds = studio.draw(setting, SAMPLES)
                rows[key] = {
                    "key": key,
                    "models": "\N{RIGHTWARDS ARROW}".join(setting.models),
                    "pattern": setting.pattern,
                    "steps": setting.steps,
                    "seed": setting.seed,
                    "chained": setting.chained,
                    **judge.score(pixels, labels),
                    "seconds": round(seconds, 1),
                }
                tqdm.write(f"{setting.title}: FID {rows[key]['fid']}, to reconstructions {rows[key]['fid_vae']}")
            kept.append(rows[key])
            results = {"sampler": SAMPLER, "samples": SAMPLES, "rows": kept}
            (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
