"""Predicted against measured seconds of planned schedules on the starter models, and what planning recommends there.

Every few runs are predicted from the profiles made right before and right after them, so that whatever else the
machine does hits both sides; ratios are medians over rounds. Writes `results/plan.json`.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.drawing import Setting, joined
from benchmarks.host import host_nodes
from benchmarks.timing import keep_freed_memory, machine
from tstitch.schedule import Schedule, parse_pattern

RESULTS = Path(__file__).parent / "results" / "plan.json"
STEPS, SEED = 20, 7
TIMED: dict[str, Any] = {"cfg": 2.0, "sampler_name": "euler", "scheduler": "simple"}
JUDGED: dict[str, Any] = {
    "cfg": 1.0,
    "sampler_name": "dpmpp_2m",
    "scheduler": "simple",
}  # as the quality of other schedules is
SEEDS = (0, 1, 2)
SCHEDULES, ROUNDS, WARM_UP = 20, 40, 1
BATCH, REPEATS = 20, 10
TOGETHER = 4  # runs between two profiles
FIXED = 0.4  # the rule of thumb that plans are compared with
LABELS = ", ".join(str(picture % 10) for picture in range(BATCH))


class Starters:
    """S, B and XL on twenty pictures, and the nodes to profile, plan and run them."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.nodes = nodes
        load = nodes["TStitchLoadStarter"].execute
        self.large, _, positive, negative, latent = load("XL", LABELS).result
        self.small, self.middle = (load(name, LABELS).result[0] for name in ("S", "B"))
        calibrate = nodes["TStitchCalibrate"].GET_SCHEMA().inputs
        self.tolerance = next(widget.default for widget in calibrate if widget.id == "tolerance")
        self.prompts = {"positive": positive, "negative": negative, "latent_image": latent}

    def profile(self, *models: Any, cfg: float) -> Any:
        inputs = {**self.inputs(*models), "cfg": cfg, "repeats": REPEATS, "refresh": True}
        return self.nodes["TStitchProfile"].execute(**inputs).result[0]

    def calibration(self, *models: Any) -> Any:
        inputs = {**self.inputs(*models), **JUDGED, "seed": SEED, "seeds": 3, "steps": STEPS}
        inputs["tolerance"] = self.tolerance
        return self.nodes["TStitchCalibrate"].execute(**inputs).result[0]

    def inputs(self, *models: Any) -> dict[str, Any]:
        numbered = {f"model_{number}": model for number, model in enumerate(models, 1)}
        return {"final_model": self.large, **numbered, **self.prompts}

    def plan(self, **inputs: Any) -> tuple[str, float, float]:
        """(pattern, fraction, seconds)."""
        return self.nodes["TStitchPlan"].execute(steps=STEPS, **inputs).result[:3]

    def seconds(self, pattern: str) -> float:
        """Of one sampling of `pattern` in a stock KSampler."""
        model = joined(self.nodes, [self.small, self.middle, self.large], pattern, "auto")
        started = time.perf_counter()
        self.nodes["KSampler"]().sample(model, seed=SEED, steps=STEPS, **TIMED, **self.prompts)
        return time.perf_counter() - started


def random_patterns(count: int, seed: int = 0) -> list[str]:
    """Different schedules of three models: one to four intervals in any order."""
    generator = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        bounds = sorted(generator.sample(range(1, STEPS), generator.randint(0, 3)))
        owners: list[int] = []
        for start, stop in zip([0, *bounds], [*bounds, STEPS], strict=True):
            others = [model for model in range(3) if not owners or model != owners[-1]]
            owners += [generator.choice(others)] * (stop - start)
        found[Schedule(tuple(owners)).pattern] = None
    return list(found)


def predicted(profile: Any, pattern: str) -> float:
    """By the profile: the same sum that Plan minimizes."""
    counts, loads = [0] * len(profile.models), [0] * len(profile.models)
    for model, steps in parse_pattern(pattern, len(profile.models)):
        counts[model] += steps
        loads[model] += 1
    return profile.seconds(counts, loads)


def compare(starters: Starters, patterns: list[str], rounds: int) -> list[dict[str, Any]]:
    """Each schedule's predicted and measured seconds; every round starts with another one."""
    keep_freed_memory()
    pairs: dict[str, list[tuple[float, float]]] = {pattern: [] for pattern in patterns}
    before = starters.profile(starters.small, starters.middle, cfg=TIMED["cfg"])
    for number in tqdm(range(WARM_UP + rounds), desc="plan", unit="round"):
        first = number % len(patterns)
        turns = patterns[first:] + patterns[:first]
        for start in range(0, len(turns), TOGETHER):
            seconds = {pattern: starters.seconds(pattern) for pattern in turns[start : start + TOGETHER]}
            after = starters.profile(starters.small, starters.middle, cfg=TIMED["cfg"])
            for pattern, real in seconds.items():
                pairs[pattern].append((mean([predicted(before, pattern), predicted(after, pattern)]), real))
            before = after
    rows = []
    for pattern, values in pairs.items():
        kept = values[WARM_UP:]
        rows.append(
            {
                "pattern": pattern,
                "predicted": round(median(guess for guess, _ in kept), 4),
                "measured": round(median(real for _, real in kept), 4),
                "ratio": round(median(guess / real for guess, real in kept), 4),
            }
        )
    return rows


def recommend(starters: Starters) -> dict[str, Any]:
    """The split at the default tolerance, and the plans for the time of the fixed rule."""
    small, middle, cfg = starters.small, starters.middle, JUDGED["cfg"]
    pair = {"profile": starters.profile(small, cfg=cfg), "calibration": starters.calibration(small)}
    both = {"profile": starters.profile(small, middle, cfg=cfg), "calibration": starters.calibration(small, middle)}
    lossless = starters.plan(goal="no visible loss", budget=starters.tolerance, order="small first", **pair)
    first = round(FIXED * STEPS)
    fixed = f"1x{first} 2x{STEPS - first}"
    rows: list[tuple[str, tuple[str, ...], dict[str, Any], str]] = [("recommended", ("S", "XL"), pair, lossless[0])]
    rows.append(("fixed rule", ("S", "XL"), pair, fixed))
    sets: list[tuple[tuple[str, ...], dict[str, Any]]] = [(("S", "XL"), pair), (("S", "B", "XL"), both)]
    for models, known in sets:
        same_rule = fixed if known is pair else f"1x{first} 3x{STEPS - first}"
        seconds = predicted(known["profile"], same_rule) * 1.0001  # two sums of the same times differ in the last digit
        plan = starters.plan(goal="seconds", budget=seconds, order="free", **known)
        rows.append((f"plan of {len(models)} in its time", models, known, plan[0]))
    return {
        "tolerance": starters.tolerance,
        "fraction": lossless[1],
        "plans": [
            {
                "name": name,
                "models": models,
                "pattern": pattern,
                "predicted": round(predicted(known["profile"], pattern), 4),
            }
            for name, models, known, pattern in rows
        ],
    }


def settings() -> list[Setting]:
    """What the recommendation in the results says, and XL alone, in three seeds: for `benchmarks.quality`."""
    plans = json.loads(RESULTS.read_text(encoding="utf-8"))["recommendation"]["plans"]
    rows: list[tuple[tuple[str, ...], tuple[int, ...]]] = [(("XL",), (0,) * STEPS)]
    for plan in plans:
        intervals = parse_pattern(plan["pattern"], len(plan["models"]))
        used = sorted({model for model, _ in intervals})
        owners = tuple(used.index(model) for model, steps in intervals for _ in range(steps))
        rows.append((tuple(plan["models"][model] for model in used), owners))
    sampler, cfg, scheduler = JUDGED["sampler_name"], JUDGED["cfg"], JUDGED["scheduler"]
    unique = dict.fromkeys(rows)
    return [Setting(*row, sampler, cfg, scheduler, seed=seed) for row in unique for seed in SEEDS]


def measure(rounds: int, only_recommend: bool) -> dict[str, Any]:
    import folder_paths

    with tempfile.TemporaryDirectory() as user, torch.inference_mode():
        starters = Starters(host_nodes())
        folder_paths.set_user_directory(user)
        results: dict[str, Any] = {
            "machine": machine(),
            "setting": {"steps": STEPS, "timed": TIMED, "judged": JUDGED, "batch": BATCH, "rounds": rounds},
        }
        if not only_recommend:
            results["schedules"] = compare(starters, random_patterns(SCHEDULES), rounds)
        return {**results, "recommendation": recommend(starters)}


def show(results: dict[str, Any]) -> None:
    for row in results.get("schedules", []):
        print(
            f"{row['predicted']:8.3f} s predicted  {row['measured']:8.3f} s measured  {row['ratio']:.3f}",
            row["pattern"],
        )
    if "schedules" in results:
        worst = max(abs(row["ratio"] - 1) for row in results["schedules"])
        print(f"largest difference: {100 * worst:.1f} %")
    print(f"fraction at tolerance {results['recommendation']['tolerance']}: {results['recommendation']['fraction']:g}")
    for plan in results["recommendation"]["plans"]:
        print(f"{plan['predicted']:8.3f} s  {', '.join(plan['models']):<9} {plan['name']:<26} {plan['pattern']}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.plan", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--recommend", action="store_true", help="only print what planning recommends")
    options = parser.parse_args(arguments or [])
    results = measure(options.rounds, options.recommend)
    show(results)
    if not options.recommend:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
