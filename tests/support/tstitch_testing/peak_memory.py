"""Run as a program: the peak resident memory of sampling runs by memory policy, as JSON, measured by the kernel.

Without an accelerator the host's loading moves nothing, so here the models lie on the disk (mapped, never touched) and
what the host loads to the device is read into memory of its own, which it gives back when the host unloads it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    from comfy.cli_args import args

    args.cpu = True

import comfy.model_management as mm
import comfy.ops
import comfy.sample
import comfy.samplers
import numpy as np
import torch
from torch import Tensor, nn

import nodes
from tstitch_testing.device import Device
from tstitch_testing.models import GaussianDenoiser, conditioning
from tstitch_testing.sampling import ksample, stitched

WIDTH = 2048
BLOCK = 4 * WIDTH**2  # bytes
SMALL, LARGE = 6, 12  # blocks: 96 and 192 MiB
AMPLE, SCARCE = 100 * BLOCK, (LARGE + 4) * BLOCK
RUNS = {"large alone": AMPLE, "swap": AMPLE, "keep": AMPLE, "auto": AMPLE, "auto, too little room": SCARCE}
RUNS |= {"samplers": AMPLE, "samplers, too little room": SCARCE, "boundary": AMPLE, "boundary, too little room": SCARCE}
RUNS["bare loop"] = AMPLE
INTERVAL, STEPS = 2, 8
PATTERN = " ".join(f"{1 + turn % 2}x{INTERVAL}" for turn in range(STEPS // INTERVAL))


class OnDisk(comfy.ops.disable_weight_init.Linear):
    """A layer whose weights are in memory only while they are on the device."""

    def __init__(self, path: Path) -> None:
        super().__init__(1, 1, bias=False)
        self.path = path
        self.home = torch.from_file(str(path), size=WIDTH**2).reshape(WIDTH, WIDTH)
        self.weight = nn.Parameter(self.home, requires_grad=False)

    def _apply(self, fn: Any, recurse: bool = True) -> OnDisk:
        probe = torch.empty(1)
        if fn(probe) is probe:  # it stays on the CPU, so this is the way home
            self.weight.data = self.home
        elif not self.is_loaded():
            self.weight.data = torch.from_numpy(np.fromfile(self.path, np.float32)).reshape(WIDTH, WIDTH)
        return self

    def is_loaded(self) -> bool:
        return self.weight.data_ptr() != self.home.data_ptr()


class DiskDenoiser(GaussianDenoiser):
    """The analytic denoiser with layers that have a small part in its answer."""

    def __init__(self, *args: Any, folder: Path, blocks: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layers = nn.ModuleList(OnDisk(folder / str(number)) for number in range(blocks))
        self.watch: Any

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        assert all(layer.is_loaded() for layer in self.layers)
        features = torch.full((1, WIDTH), float(x.std()))
        for layer in self.layers:
            features = torch.tanh(layer(features))
        return super().forward(x, *args, **kwargs) + 0.01 * features.mean()


def write_blocks(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(LARGE):
        (generator.standard_normal(WIDTH**2, np.float32) / WIDTH**0.5).tofile(folder / str(number))


def resident(what: str) -> int:
    """VmRSS, or VmHWM, the highest it has been, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def measure(device: Device, folder: Path, run: str) -> dict[str, Any]:
    device.limit = RUNS[run]
    small = device.model("small", DiskDenoiser, SMALL, 0.1, 0.5, folder=folder)
    large = device.model("large", DiskDenoiser, LARGE, 0.4, 0.9, folder=folder)
    policy = run.split(",")[0]
    if policy in CHAINS:
        draw = partial(CHAINS[policy], small, large)
    else:
        model = large if policy == "large alone" else stitched([small, large], pattern=PATTERN, memory=policy)
        draw = partial(ksample, model, "dpmpp_2m", steps=STEPS)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    samples = draw()
    peak = resident("VmHWM")
    mm.unload_all_models()
    return {"before": before, "peak": peak, "result": float(samples.double().sum())}


def chain(small: Any, large: Any) -> Tensor:
    """What people do without this pack: one KSampler (Advanced) an interval."""
    latent = {"samples": torch.zeros(2, 4, 6, 5)}
    for start in range(0, STEPS, INTERVAL):
        (latent,) = nodes.KSamplerAdvanced().sample(
            (small, large)[start // INTERVAL % 2],
            add_noise="enable" if start == 0 else "disable",
            noise_seed=1,
            steps=STEPS,
            cfg=3.0,
            sampler_name="dpmpp_2m",
            scheduler="normal",
            positive=conditioning(0.4),
            negative=conditioning(-0.2),
            latent_image=latent,
            start_at_step=start,
            end_at_step=start + INTERVAL,
            return_with_leftover_noise="disable" if start + INTERVAL == STEPS else "enable",
        )
    return latent["samples"]


def boundary_chain(small: Any, large: Any) -> Tensor:
    """What samplers for pairs of experts do: a whole run over the noise levels of each interval."""
    sigmas = comfy.samplers.calculate_sigmas(large.get_model_object("model_sampling"), "normal", STEPS)
    x = torch.zeros(2, 4, 6, 5)
    for start in range(0, STEPS, INTERVAL):
        noise = comfy.sample.prepare_noise(x, 1) if start == 0 else torch.zeros_like(x)
        conds = (conditioning(0.4), conditioning(-0.2))
        model, solver = (small, large)[start // INTERVAL % 2], comfy.samplers.sampler_object("dpmpp_2m")
        levels = sigmas[start : start + INTERVAL + 1]
        x = comfy.sample.sample_custom(model, noise, 3.0, solver, levels, *conds, x, disable_pbar=True, seed=1)
    return x


def bare_loop(small: Any, large: Any) -> Tensor:
    """Euler with nothing that manages memory: both models are loaded and stay."""
    mm.load_models_gpu([small, large])
    sigmas = comfy.samplers.calculate_sigmas(large.get_model_object("model_sampling"), "normal", STEPS)
    x = sigmas[0] * comfy.sample.prepare_noise(torch.zeros(2, 4, 6, 5), 1)
    text = conditioning(0.4)[0][0].expand(len(x), -1, -1)
    for step in range(STEPS):
        sigma, following = sigmas[step], sigmas[step + 1]
        options = {"sigmas": sigma[None], "sample_sigmas": sigmas}
        model = (small, large)[step // INTERVAL % 2].model
        denoised = model.apply_model(x, sigma.expand(len(x)), c_crossattn=text, transformer_options=options)
        x = denoised + (x - denoised) * following / sigma
    return x


CHAINS = {"samplers": chain, "boundary": boundary_chain, "bare loop": bare_loop}


def main(folder: Path) -> None:
    write_blocks(folder)
    device = Device(BLOCK, AMPLE)
    device.take_over(setattr)
    measure(device, folder, "keep")  # what the first run of a process takes once
    figures = {}
    for run in RUNS:
        gc.collect()
        figures[run] = measure(device, folder, run)
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    with torch.inference_mode():
        main(Path(sys.argv[1]))
