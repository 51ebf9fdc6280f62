"""Seconds of one call of large models at lower resolutions: real widths and token counts, random weights.

SDXL's U-Net at 1024 and at 2048 pixels, Flux-like and Wan-like transformers; what is cut of their depth is said in the
title. Networks run in bfloat16. Writes `results/tokens.json`.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.tools.host import host_nodes
from benchmarks.tools.results import Row, write_results
from benchmarks.tools.timing import Runs, measure, median_ratio, show
from training.device import autocast

SCALES = (1.0, 0.75, 0.5)
ROUNDS = 1


def sdxl() -> Any:
    from benchmarks.gpu.families import sdxl_like
    from tstitch_testing import architectures

    return sdxl_like("SDXL, 1024 x 1024", [architectures.sdxl()], 128, 1.0, 1)


def shallow_sdxl() -> Any:
    from benchmarks.gpu.families import sdxl_like
    from tstitch_testing import architectures

    depth = {"transformer_depth": [0, 0, 1, 1, 2, 2], "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2]}
    shallow = architectures.sdxl_like({**depth, "transformer_depth_middle": 2})
    return sdxl_like("SDXL with a fifth of its transformers, 2048 x 2048", [shallow], 256, 1.0, 1)


def flux() -> Any:
    from benchmarks.gpu.families import flux_like

    return flux_like(3072, ((1, 1),), 128, 512, 1)


def wan() -> Any:
    from benchmarks.gpu.families import wan_like

    return wan_like(((1536, 8960, 1),), (21, 60, 104), 512, 1)


FAMILIES = {
    sdxl: "",
    shallow_sdxl: "",
    flux: ", 1 + 1 of 19 + 38 blocks",
    wan: ", 1 of the 30 blocks of 1.3B",
}


@torch.inference_mode()
def main() -> None:
    node = host_nodes()["TStitchLowResolution"]
    rows: list[Row] = []
    for made, cut in FAMILIES.items():
        family = made()
        network = family.large.model.diffusion_model
        network.forward = autocast()(network.forward)
        models = {scale: node.execute(family.large, scale).result[0] for scale in SCALES}
        runs: Runs = {f"{family.name}{cut}, {scale:g}x": partial(family.sample, models[scale]) for scale in SCALES}
        seconds = measure(runs, ROUNDS, title=family.name)
        whole = next(iter(seconds.values()))
        for title, values in seconds.items():
            rows.append({"run": title, "seconds": round(median(values), 2), "speedup": median_ratio(whole, values)})
        show(rows[-len(SCALES) :])
    write_results("tokens", rows, rounds=ROUNDS)
