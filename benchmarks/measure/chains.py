"""One loop against what people do without this pack, on the same inputs in one process.

Seconds of S to XL at 0.4, and for some samplers how far the pictures of a chain of two samplers are from those of one
loop. Writes `results/chains.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.tools.host import host_nodes
from benchmarks.tools.results import Row, write_results
from benchmarks.tools.starter import load_denoiser, sample
from benchmarks.tools.timing import measure, median_ratio

STEPS, SPLIT, CFG, SEED, ROUNDS = 20, 8, 1.5, 7, 15
SAMPLERS = ("euler", "ddim", "heun", "lms", "uni_pc", "dpmpp_2m", "euler_ancestral", "dpmpp_2m_sde", "lcm")
WIDGETS: dict[str, Any] = {"steps": STEPS, "cfg": CFG, "scheduler": "simple"}


class Contest:
    """The same ten pictures by every way there is to use two models."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.nodes = nodes
        load = nodes["TStitchLoadStarter"].execute
        self.large, _, positive, negative, self.latent = load("XL", "all").result
        self.small = load("S", "all").result[0]
        self.conds = {"positive": positive, "negative": negative}

    def large_alone(self, sampler: str) -> Tensor:
        node, inputs = self.nodes["KSampler"](), {**WIDGETS, **self.conds, "sampler_name": sampler}
        return node.sample(self.large, SEED, latent_image=self.latent, denoise=1.0, **inputs)[0]["samples"]

    def one_loop(self, sampler: str) -> Tensor:
        inputs = {**WIDGETS, **self.conds, "sampler_name": sampler, "latent_image": self.latent, "denoise": 1.0}
        node = self.nodes["TStitchKSampler"]
        return node.execute(self.large, self.small, SEED, fraction=SPLIT / STEPS, **inputs).result[0]["samples"]

    def advanced_chain(self, sampler: str) -> Tensor:
        """Two KSampler (Advanced) nodes, correctly set."""
        node, inputs = self.nodes["KSamplerAdvanced"](), {**WIDGETS, **self.conds, "sampler_name": sampler}
        (latent,) = node.sample(
            self.small, "enable", SEED, latent_image=self.latent, start_at_step=0, end_at_step=SPLIT,
            return_with_leftover_noise="enable", **inputs,
        )  # fmt: skip
        (latent,) = node.sample(
            self.large, "disable", SEED, latent_image=latent, start_at_step=SPLIT, end_at_step=STEPS,
            return_with_leftover_noise="disable", **inputs,
        )  # fmt: skip
        return latent["samples"]

    def boundary_chain(self, sampler: str) -> Tensor:
        """Two full runs over the two parts of the noise levels, as samplers for Wan 2.2's pair of experts make them."""
        import comfy.sample
        import comfy.samplers

        sigmas = comfy.samplers.calculate_sigmas(self.large.get_model_object("model_sampling"), "simple", STEPS)
        noise = comfy.sample.prepare_noise(self.latent["samples"], SEED)
        x = self.latent["samples"]
        parts = [(self.small, sigmas[: SPLIT + 1], noise), (self.large, sigmas[SPLIT:], torch.zeros_like(noise))]
        for model, levels, added in parts:
            solver = comfy.samplers.sampler_object(sampler)
            conds = (self.conds["positive"], self.conds["negative"])
            x = comfy.sample.sample_custom(model, added, CFG, solver, levels, *conds, x, disable_pbar=True, seed=SEED)
        return x


def bare_loop(contest: Contest) -> Callable[[], Tensor]:
    """Euler written out over the two networks, with no host at all but its noise: the floor."""
    import comfy.sample

    small, large = load_denoiser("S"), load_denoiser("XL")
    noise, weights = comfy.sample.prepare_noise(contest.latent["samples"], SEED), torch.eye(10)
    return lambda: sample([small] * SPLIT + [large] * (STEPS - SPLIT), noise, weights, CFG)


def relative_difference(a: Tensor, b: Tensor) -> float:
    """To three digits."""
    return float(f"{((a - b).norm() / b.norm()).item():.3g}")


def differences(contest: Contest) -> list[Row]:
    """For each sampler, the chain's distance from the one-loop result as a part of its norm."""
    rows = []
    for sampler in tqdm(SAMPLERS, desc="samplers"):
        difference = relative_difference(contest.advanced_chain(sampler), contest.one_loop(sampler))
        rows.append({"sampler": sampler, "difference": difference})
    return sorted(rows, key=lambda row: row["difference"])


def main() -> None:
    with torch.inference_mode():
        contest = Contest(host_nodes())
        runs: dict[str, Callable[[], Tensor]] = {
            "XL alone": lambda: contest.large_alone("euler"),
            "one loop": lambda: contest.one_loop("euler"),
            "two KSampler (Advanced)": lambda: contest.advanced_chain("euler"),
            "two runs at a noise boundary": lambda: contest.boundary_chain("euler"),
            "bare loop": bare_loop(contest),
        }
        results_of = {title: run() for title, run in runs.items()}
        seconds = measure(runs, ROUNDS, title="chains")
        rows: list[Row] = [
            {
                "run": title,
                "seconds": round(median(values), 4),
                "over_one_loop": median_ratio(values, seconds["one loop"]),
                "difference": relative_difference(results_of[title], results_of["one loop"]),
            }
            for title, values in seconds.items()
        ]
        rows += differences(contest)
    write_results("chains", rows, steps=STEPS, split=SPLIT, cfg=CFG, batch=10, rounds=ROUNDS)
