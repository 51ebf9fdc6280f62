"""Seconds of stitched runs on the starter models, paired with the stock KSampler on each model alone.

Writes `results/speed.json`.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.measure.groups import HALF, RULE, THREE_QUARTERS, WEAK_S
from benchmarks.tools.host import host_nodes
from benchmarks.tools.results import Row, write_results
from benchmarks.tools.settings import STEPS, XL, B, Part, S, Setting, stitched
from benchmarks.tools.studio import joined
from benchmarks.tools.timing import Networks, Runs, Seconds, measure, median_ratio, show, switching

SEED, CFG, PICTURES, ROUNDS = 7, 1.5, 10, 20
ALONE = [S, B, XL, HALF, THREE_QUARTERS]
STITCHED = [
    *(stitched((S, XL), share) for share in (0.2, 0.4, 0.6)),
    stitched((B, XL), RULE),
    stitched((HALF, XL), RULE),
    stitched((S, B, XL), 0.2, 0.2),
]
GUIDED = Setting((XL,), guide=WEAK_S)


def title_of(setting: Setting) -> str:
    return f"{setting.models} {setting.pattern}"


def build_runs(nodes: dict[str, Any], networks: Networks) -> Runs:
    """Each run by its title, ten pictures per run: every model in the stock node, then the stitched ones."""
    loaded = {name: nodes["TStitchLoadStarter"].execute(name, "all").result for name in ("S", "B", "XL")}
    for name, result in loaded.items():
        networks.watch(name, result[0].model.diffusion_model)
    _, _, positive, negative, latent = loaded["XL"]
    inputs = {"positive": positive, "negative": negative, "latent_image": latent, "seed": SEED, "steps": STEPS}
    inputs |= {"cfg": CFG, "sampler_name": "euler", "scheduler": "simple"}

    def model(part: Part) -> Any:
        whole = loaded[part.model][0]
        return nodes["TStitchLowResolution"].execute(whole, part.scale).result[0] if part.scale != 1 else whole

    models = {part.title: model(part) for part in ALONE}
    for setting in STITCHED:
        parts = [model(part) for part in setting.parts]
        models[title_of(setting)] = joined(nodes, parts, setting.pattern, "auto")
    guided = nodes["TStitchGuidance"].execute(model(XL), model(S), WEAK_S.mode, 0.0, 1.0, "auto").result[0]
    models[f"XL, {GUIDED.guidance}"] = guided
    sample = nodes["KSampler"]().sample
    return {title: partial(sample, model=joint, **inputs) for title, joint in models.items()}


def rows_of(seconds: Seconds, networks: Networks) -> list[Row]:
    """Per run its median seconds, its median speed-up over XL alone, its model calls, and what switching costs it."""
    settings, rows = {title_of(setting): setting for setting in STITCHED}, []
    for title, values in seconds.items():
        row: Row = {"run": title, "seconds": round(median(values), 4)}
        row["speedup"] = median_ratio(seconds["XL"], values)
        row["calls"] = networks.calls[title]
        if title in settings:
            setting = settings[title]
            row |= switching(title, [setting.parts[owner].title for owner in setting.owners], seconds, networks)
        rows.append(row)
    return rows


def main() -> None:
    networks = Networks()
    with torch.inference_mode():
        seconds = measure(build_runs(host_nodes(), networks), ROUNDS, title="speed", networks=networks)
    rows = rows_of(seconds, networks)
    write_results("speed", rows, steps=STEPS, cfg=CFG, sampler="euler", batch=PICTURES, rounds=ROUNDS)
    show(rows)
