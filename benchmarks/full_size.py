"""Seconds a step of the published DiT sizes at 256 x 256 pixels with guidance, and of a run stitched from them.

The weights are random, which costs what trained ones cost: DiT-S/2, DiT-B/2 and DiT-XL/2 in their published layout,
written to a temporary folder and loaded with Load DiT. Writes `results/full_size.json`.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.host import host_nodes
from benchmarks.timing import Runs, ideal, machine, measure, median_ratio
from tstitch.families.dit import DiT, DiTConfig, sincos_position_embedding

RESULTS = Path(__file__).parent / "results" / "full_size.json"
SIZES = {"DiT-S/2": (12, 384, 6), "DiT-B/2": (12, 768, 12), "DiT-XL/2": (28, 1152, 16)}
PAIRS = [("DiT-S/2", "DiT-XL/2"), ("DiT-B/2", "DiT-XL/2")]
STEPS, FRACTIONS, CFG, SEED, ROUNDS = 5, (0.0, 0.4, 1.0), 4.0, 7, 5
LABEL = "207"


def write_weights(path: Path, depth: int, width: int, heads: int) -> None:
    """A DiT for ImageNet at 256 x 256 with random weights, in the published key layout."""
    config = DiTConfig(depth, width, heads, patch=2, channels=4, classes=1000, grid=16, learn_sigma=True)
    model = DiT(config, lambda q, *_: q)
    state = {**model.state_dict(), "pos_embed": sincos_position_embedding(width, 16, 16)}
    save_file({key: value.half().contiguous() for key, value in state.items()}, path)


def build_runs(nodes: dict[str, Any], folder: Path) -> Runs:
    import folder_paths

    folder_paths.add_model_folder_path("diffusion_models", str(folder))
    models = {}
    for name, size in SIZES.items():
        path = folder / f"{name.replace('/', '-')}.safetensors"
        write_weights(path, *size)
        models[name] = nodes["TStitchLoadDiT"].execute(path.name, "DiT", "three", "default", 0).result[0]
    no_class = nodes["TStitchClassLabel"].GET_SCHEMA().inputs[2].options[0]
    positive, negative, latent = nodes["TStitchClassLabel"].execute(models["DiT-XL/2"], LABEL, no_class).result
    inputs = {"positive": positive, "negative": negative, "latent_image": latent, "denoise": 1.0, "cfg": CFG}
    inputs |= {"seed": SEED, "steps": STEPS, "sampler_name": "ddim", "scheduler": "normal"}

    def stock() -> object:
        return nodes["KSampler"]().sample(model=models["DiT-XL/2"], **inputs)

    runs: Runs = {"KSampler": stock}
    for small, large in PAIRS:
        for fraction in FRACTIONS:
            node, pair = nodes["TStitchKSampler"], {"model": models[large], "small_model": models[small]}
            title = f"{small} \N{RIGHTWARDS ARROW} {large} {fraction:g}"
            runs[title] = partial(node.execute, **pair, **inputs, fraction=fraction)
    return runs


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        seconds = measure(build_runs(host_nodes(), Path(folder)), ROUNDS, title="full size")
    rows = []
    for title, values in seconds.items():
        row = {"run": title, "seconds_a_step": round(median(values) / STEPS, 4)}
        row["speedup"] = median_ratio(seconds["KSampler"], values)
        if title != "KSampler":
            pair, fraction = title.rsplit(" ", 1)
            row["over_ideal"] = median_ratio(values, ideal(float(fraction), seconds[f"{pair} 1"], seconds[f"{pair} 0"]))
        rows.append(row)
    setting = {"steps": STEPS, "cfg": CFG, "sampler": "ddim", "pixels": 256, "batch": 1, "rounds": ROUNDS}
    results = {"machine": machine(), "setting": setting, "runs": rows}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
