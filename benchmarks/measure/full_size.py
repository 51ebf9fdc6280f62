"""Seconds per step of published models with guidance, and of runs stitched from them: how close T(r) is to the ideal.

DiT-S/2, DiT-B/2 and DiT-XL/2 at 256 x 256 pixels, and BK-SDM-Tiny with Stable Diffusion 1.5 at 512 x 512; the large
ones at lower resolutions too. The weights are random, which costs what trained ones cost, in the published layouts,
written to a temporary folder and read by the pack's loaders and the host's. Writes `results/full_size.json`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.tools.host import host_nodes
from benchmarks.tools.results import Row, write_results
from benchmarks.tools.timing import Networks, Runs, Seconds, measure, median_ratio, show, switching
from tstitch.families.dit.network import DiT, DiTConfig, sincos_position_embedding

SIZES = {"DiT-S/2": (12, 384, 6), "DiT-B/2": (12, 768, 12), "DiT-XL/2": (28, 1152, 16)}
STEPS, SEED = 5, 7
FRACTIONS = (0.2, 0.4, 0.6)  # of the steps, on the smaller DiT
SCALES = (0.75, 0.5)
LABEL = "207"


@dataclass(frozen=True)
class Pair:
    """Two models by name, the first of which draws the first part of the steps."""

    small: str
    large: str
    fraction: float

    @property
    def title(self) -> str:
        return f"{self.small} \N{RIGHTWARDS ARROW} {self.large} at {self.fraction:g}"

    @property
    def steps(self) -> list[str]:
        """The model of every step."""
        first = round(self.fraction * STEPS)
        return [self.small] * first + [self.large] * (STEPS - first)


@dataclass(frozen=True)
class Family:
    """Models that share latents and conditioning, by name, with all other inputs of a sampler."""

    models: dict[str, Any]
    pairs: list[Pair]
    inputs: dict[str, Any]
    rounds: int


def write_dit(path: Path, depth: int, width: int, heads: int) -> None:
    """A DiT for ImageNet at 256 x 256 with random weights, in the published key layout."""
    config = DiTConfig(depth, width, heads, patch=2, channels=4, classes=1000, grid=16, learn_sigma=True)
    model = DiT(config, lambda q, *_: q)
    state = {**model.state_dict(), "pos_embed": sincos_position_embedding(width, 16, 16)}
    save_file({key: value.half().contiguous() for key, value in state.items()}, path)


def dits(nodes: dict[str, Any], folder: Path) -> Family:
    models = {}
    for name, size in SIZES.items():
        path = folder / f"{name.replace('/', '-')}.safetensors"
        write_dit(path, *size)
        models[name] = nodes["TStitchLoadDiT"].execute(path.name, "DiT", "three", "default", 0).result[0]
    no_class = nodes["TStitchClassLabel"].GET_SCHEMA().inputs[2].options[0]
    positive, negative, latent = nodes["TStitchClassLabel"].execute(models["DiT-XL/2"], LABEL, no_class).result
    inputs = {"positive": positive, "negative": negative, "latent_image": latent, "cfg": 4.0}
    models |= at_low_resolution(nodes, models, "DiT-XL/2")
    pairs = [Pair("DiT-S/2", "DiT-XL/2", fraction) for fraction in FRACTIONS]
    pairs += [Pair(small, "DiT-XL/2", 0.4) for small in ("DiT-B/2", "DiT-XL/2 0.5x")]
    return Family(models, pairs, inputs, rounds=3)


def stable_diffusions(nodes: dict[str, Any], folder: Path) -> Family:
    import comfy.sd

    from tstitch_testing.architectures import sd15, shapes_of, write
    from tstitch_testing.checkpoints import bksdm_network

    with torch.device("meta"):
        tiny = shapes_of(bksdm_network("tiny", 320))
    small = nodes["TStitchLoadBKSDM"].execute(
        write(folder / "tiny.safetensors", tiny, 1, torch.float16).name, "default"
    )
    large = comfy.sd.load_diffusion_model(str(write(folder / "sd15.safetensors", sd15().shapes(), 2, torch.float16)))
    generator = torch.Generator().manual_seed(0)
    prompts = [[[torch.randn(1, 77, 768, generator=generator), {}]] for _ in range(2)]
    inputs = {"positive": prompts[0], "negative": prompts[1], "cfg": 7.5}
    inputs["latent_image"] = {"samples": torch.zeros(1, 4, 64, 64)}
    models = {"BK-SDM-Tiny": small.result[0], "SD 1.5": large}
    models |= at_low_resolution(nodes, models, "SD 1.5")
    pairs = [Pair(name, "SD 1.5", 0.4) for name in ("BK-SDM-Tiny", "SD 1.5 0.5x")]
    return Family(models, pairs, inputs, rounds=2)


def at_low_resolution(nodes: dict[str, Any], models: dict[str, Any], name: str) -> dict[str, Any]:
    node = nodes["TStitchLowResolution"]
    return {f"{name} {scale:g}x": node.execute(models[name], scale).result[0] for scale in SCALES}


def build_runs(nodes: dict[str, Any], family: Family, networks: Networks) -> Runs:
    """Every model alone in the stock node, and every pair in ours."""
    for name, model in family.models.items():
        networks.watch(name, model.model.diffusion_model)
    sampler = {"steps": STEPS, "seed": SEED, "sampler_name": "ddim", "scheduler": "normal", "denoise": 1.0}
    inputs = {**family.inputs, **sampler}
    runs: Runs = {
        name: partial(nodes["KSampler"]().sample, model=model, **inputs) for name, model in family.models.items()
    }
    for pair in family.pairs:
        models = {"model": family.models[pair.large], "small_model": family.models[pair.small]}
        runs[pair.title] = partial(nodes["TStitchKSampler"].execute, **models, **inputs, fraction=pair.fraction)
    return runs


def rows_of(family: Family, seconds: Seconds, networks: Networks) -> list[Row]:
    rows, pairs = [], {pair.title: pair for pair in family.pairs}
    for title, values in seconds.items():
        row: Row = {"run": title, "seconds_per_step": round(median(values) / STEPS, 4)}
        row["calls"] = networks.calls[title]
        if title in pairs:
            row["speedup"] = median_ratio(seconds[pairs[title].large], values)
            row |= switching(title, pairs[title].steps, seconds, networks)
        rows.append({**row, "rounds": family.rounds})
    return rows


def main() -> None:
    import folder_paths

    nodes, rows = host_nodes(), []
    for make in (dits, stable_diffusions):
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            folder_paths.add_model_folder_path("diffusion_models", folder)
            family = make(nodes, Path(folder))
            networks = Networks()
            runs = build_runs(nodes, family, networks)
            seconds = measure(runs, family.rounds, title=make.__name__, networks=networks)
            rows += rows_of(family, seconds, networks)
            write_results("full_size", rows, steps=STEPS, sampler="ddim", batch=1)
    show(rows)
