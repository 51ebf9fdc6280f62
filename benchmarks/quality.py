"""What stitching costs in quality: FID and accuracy of the starter models over schedules, orders and step counts.

A row's `calls` says how often a picture went through each model; its time is measured by `wall_time`.

Every row is measured once and kept in `results/<group>.json` under its setting and its weights' checksums, so that a
long run can be stopped and taken up again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import plan
from benchmarks.classifier import load_classifier
from benchmarks.drawing import Setting, Studio, first_steps, marks
from benchmarks.judge import Judge
from benchmarks.starter import load_vae
from benchmarks.timing import machine

RESULTS = Path(__file__).parent / "results"
SAMPLES = 5000
TENTHS = [tenth / 10 for tenth in range(11)]
SAMPLER, STEPS = "dpmpp_2m", 20


def tradeoff(steps: int, sampler: str) -> list[Setting]:
    """The paper's main figure: the fraction from 0 to 1 for each pair."""
    pairs = [("S", "XL"), ("B", "XL"), ("S", "B")]
    return [first_steps(*pair, fraction, steps, sampler) for pair in pairs for fraction in TENTHS]


def simplex(steps: int, sampler: str) -> list[Setting]:
    """S, B and XL, small first, in every division of the steps into tenths (the three-model figure)."""
    tenth, settings = steps // 10, []
    for small in range(11):
        for middle in range(11 - small):
            parts = {"S": small, "B": middle, "XL": 10 - small - middle}
            used = [name for name, tenths in parts.items() if tenths]
            owners = tuple(index for index, name in enumerate(used) for _ in range(parts[name] * tenth))
            settings.append(Setting(tuple(used), owners, sampler))
    return settings


def solvers() -> list[Setting]:
    """XL alone and 40 % on S, by other solvers and step counts."""
    names = ("ddim", "ddpm", "dpmpp_2m", "uni_pc", "euler_ancestral")
    return [
        first_steps("S", "XL", fraction, steps, name)
        for steps in (10, 20, 50)
        for name in names
        for fraction in (0.0, 0.4)
    ]


def complements() -> list[Setting]:
    """With a cache of model calls, and in few steps, alone or after a Shortcut model."""
    half = (0, 0, 1, 1)
    return [
        *(
            first_steps("S", "XL", fraction, STEPS, SAMPLER, cache=cache)
            for fraction in (0.0, 0.4)
            for cache in (0, 0.2)
        ),
        *(Setting((name,), (0,) * 4, "euler") for name in ("XL", "B", "Shortcut")),
        *(Setting((name, "XL"), half, "euler") for name in ("S", "Shortcut")),
    ]


def together() -> list[Setting]:
    """Guided sampling by all that this pack offers at once: a small model at an end, guidance in early steps only.

    XL alone in as few steps, and with as little guidance, shows what each of them brings.
    """
    early = (0,) * 8 + (1,) * 12
    return [
        *(Setting(("XL",), (0,) * steps, SAMPLER, 2.0) for steps in (STEPS, 10, 8, 7, 6, 5)),
        *(Setting(("XL", "S"), (0,) * first + (1,) * 2, SAMPLER, 2.0) for first in (8, 6, 5, 4)),
        Setting(("S", "XL"), (0,) * 2 + (1,) * 8, SAMPLER, 2.0),
        Setting(("XL", "XL", "S"), (0,) * 6 + (1,) * 2 + (2,) * 2, SAMPLER, (2.0, 1.0, 1.0)),
        Setting(("XL", "XL"), early, SAMPLER, (2.0, 1.0)),
        Setting(("XL", "XL"), (0,) * 4 + (1,) * 6, SAMPLER, (2.0, 1.0)),
        Setting(("S", "XL"), early, SAMPLER, 2.0),
        Setting(("S", "XL"), early, SAMPLER, (2.0, 1.0)),
        Setting(("S", "B", "XL"), (0,) * 4 + (1,) * 4 + (2,) * 12, SAMPLER, (2.0, 2.0, 1.0)),
        Setting(("B", "XL"), early, SAMPLER, (2.0, 1.0)),
        Setting(("XL", "XL", "S"), (0,) * 8 + (1,) * 4 + (2,) * 8, SAMPLER, (2.0, 1.0, 1.0)),
        Setting(("XL", "XL", "S"), (0,) * 4 + (1,) * 2 + (2,) * 4, SAMPLER, (2.0, 1.0, 1.0)),
    ]


def order() -> list[Setting]:
    """Half of the steps each, small-first and otherwise (table of section 4 of arXiv 2402.14167); then 40 %."""
    half, rule = STEPS // 2, round(0.4 * STEPS)
    owners: dict[str, tuple[int, ...]] = {
        "small first": (0,) * half + (1,) * half,
        "large first": (1,) * half + (0,) * half,
        "interleaved": (0, 1) * half,
        "large, small, large": (1,) * (half // 2) + (0,) * half + (1,) * (half // 2),
        "small first, the paper's fraction": (0,) * rule + (1,) * (STEPS - rule),
        "large first, the same": (1,) * (STEPS - rule) + (0,) * rule,
    }
    return [Setting(("S", "XL"), steps, SAMPLER) for steps in owners.values()]


def fewer_steps() -> list[Setting]:
    """The other way to save time, the large model alone with fewer steps; mixtures beside it, and both at once."""
    fewer = [Setting(("XL",), (0,) * steps, SAMPLER) for steps in (5, 6, 7, 8, 9, 10, 12, 14, 16, STEPS)]
    mixtures = [first_steps("S", "XL", fraction, STEPS, SAMPLER) for fraction in (0.6, 0.5, 0.4, 0.3, 0.2)]
    both = [first_steps("S", "XL", fraction, STEPS // 2, SAMPLER) for fraction in (0.5, 0.4, 0.3, 0.2)]
    return [*fewer, *mixtures, *both]


def seam() -> list[Setting]:
    """One loop against two chained samplers, where few steps make the lost history of the solver matter most."""
    return [
        first_steps("S", "XL", 0.4, steps, sampler, chained=chained)
        for sampler in (SAMPLER, "uni_pc", "res_multistep")
        for steps in (10, 20)
        for chained in (False, True)
    ]


def spread() -> list[Setting]:
    """More seeds of the rows that claims rest on."""
    rule = round(0.4 * STEPS)
    return [
        setting
        for seed in (0, 1, 2)
        for setting in (
            *(first_steps("S", "XL", fraction, STEPS, SAMPLER, seed=seed) for fraction in (0.0, 0.2, 0.4)),
            Setting(("S", "XL"), (1,) * (STEPS - rule) + (0,) * rule, SAMPLER, seed=seed),
            first_steps("S", "XL", 0.2, STEPS // 2, SAMPLER, seed=seed),
        )
    ]


def spread_guided() -> list[Setting]:
    """The same with guidance."""
    return [
        Setting(models, owners, SAMPLER, 2.0, seed=seed)
        for seed in (0, 1, 2)
        for models, owners in ((("XL",), (0,) * STEPS), (("XL", "S"), (0,) * 8 + (1,) * 2))
    ]


def spread_ddim() -> list[Setting]:
    """The same by the paper's solver."""
    return [first_steps("S", "XL", part, 50, "ddim", seed=seed) for seed in (0, 1, 2) for part in (0.0, 0.2, 0.4)]


GROUPS: dict[str, Callable[[], list[Setting]]] = {
    "tradeoff": partial(tradeoff, STEPS, SAMPLER),
    "simplex": partial(simplex, STEPS, SAMPLER),
    "ddim_50": partial(tradeoff, 50, "ddim"),
    "ddim_100": partial(tradeoff, 100, "ddim"),
    "simplex_ddim_50": partial(simplex, 50, "ddim"),
    "simplex_ddim_100": partial(simplex, 100, "ddim"),
    "solvers": solvers,
    "complements": complements,
    "together": together,
    "order": order,
    "fewer_steps": fewer_steps,
    "seam": seam,
    "spread": spread,
    "spread_guided": spread_guided,
    "spread_ddim": spread_ddim,
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
        settings = {row_key(setting): setting for setting in GROUPS[name]()}
        write_rows(name, list(settings), rows)
        for key, setting in tqdm(settings.items(), desc=name, unit="row"):
            if key in rows:
                continue
            drawing = studio.draw(setting, SAMPLES)
            rows[key] = {
                "key": key,
                "models": "\N{RIGHTWARDS ARROW}".join(setting.models),
                "pattern": setting.pattern,
                "sampler": setting.sampler,
                "steps": setting.steps,
                "cfg": setting.cfgs,
                "cache": setting.cache,
                "seed": setting.seed,
                "chained": setting.chained,
                **judge.score(drawing.pixels, drawing.labels),
                "calls": drawing.calls,
                "seconds": round(drawing.seconds, 1),
            }
            tqdm.write(f"{setting.title}: FID {rows[key]['fid']}, to reconstructions {rows[key]['fid_vae']}")
            write_rows(name, list(settings), rows)


def write_rows(name: str, keys: list[str], rows: dict[str, dict[str, Any]]) -> None:
    """Those of `keys` that are among `rows` so far."""
    found = [rows[key] for key in keys if key in rows]
    results = {"machine": machine(), "samples": SAMPLES, "settings": len(keys), "rows": found}
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
