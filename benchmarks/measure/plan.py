"""Predicted against measured seconds of planned schedules on the starter models, and what planning recommends there.

Every few runs are predicted from the profiles made right before and right after them, so that whatever else the
machine does hits both sides; ratios are medians over rounds. Writes `results/plan.json`.
"""

from __future__ import annotations

import random
import tempfile
import time
from statistics import mean, median
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.measure.groups import RULE
from benchmarks.tools.host import host_nodes
from benchmarks.tools.results import Row, write_results
from benchmarks.tools.settings import ALONE
from benchmarks.tools.studio import joined
from benchmarks.tools.timing import keep_freed_memory
from tstitch.schedule import Schedule, parse_pattern

STEPS, SEED = 20, 7
WIDGETS: dict[str, Any] = {"cfg": ALONE.cfg, "sampler_name": ALONE.sampler, "scheduler": ALONE.scheduler}
SCHEDULES, ROUNDS, WARM_UP = 8, 12, 1
BATCH, REPEATS = 20, 10
TOGETHER = 4  # runs between two profiles
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

    def profile(self, *models: Any) -> Any:
        inputs = {**self.inputs(*models), "cfg": WIDGETS["cfg"], "repeats": REPEATS, "refresh": True}
        return self.nodes["TStitchProfile"].execute(**inputs).result[0]

    def calibration(self, *models: Any) -> Any:
        inputs = {**self.inputs(*models), **WIDGETS, "seed": SEED, "seeds": 3, "steps": STEPS}
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
        self.nodes["KSampler"]().sample(model, seed=SEED, steps=STEPS, **WIDGETS, **self.prompts)
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


def compare(starters: Starters, patterns: list[str]) -> list[Row]:
    """Each schedule's predicted and measured seconds; every round starts with another one."""
    keep_freed_memory()
    pairs: dict[str, list[tuple[float, float]]] = {pattern: [] for pattern in patterns}
    before = starters.profile(starters.small, starters.middle)
    for number in tqdm(range(WARM_UP + ROUNDS), desc="plan", unit="round"):
        first = number % len(patterns)
        turns = patterns[first:] + patterns[:first]
        for start in range(0, len(turns), TOGETHER):
            seconds = {pattern: starters.seconds(pattern) for pattern in turns[start : start + TOGETHER]}
            after = starters.profile(starters.small, starters.middle)
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


def recommend(starters: Starters) -> list[Row]:
    """The split at the default tolerance, and the plans for the time of the fixed rule."""
    small, middle = starters.small, starters.middle
    pair = {"profile": starters.profile(small), "calibration": starters.calibration(small)}
    both = {"profile": starters.profile(small, middle), "calibration": starters.calibration(small, middle)}
    lossless = starters.plan(goal="no visible loss", budget=starters.tolerance, order="small first", **pair)
    first = round(RULE * STEPS)
    fixed = f"1x{first} 2x{STEPS - first}"
    found: list[tuple[str, tuple[str, ...], dict[str, Any], str]] = [
        ("no visible loss", ("S", "XL"), pair, lossless[0]),
        ("40 %, as a rule", ("S", "XL"), pair, fixed),
    ]
    sets: list[tuple[tuple[str, ...], dict[str, Any]]] = [(("S", "XL"), pair), (("S", "B", "XL"), both)]
    for models, known in sets:
        same_rule = fixed if known is pair else f"1x{first} 3x{STEPS - first}"
        seconds = predicted(known["profile"], same_rule) * 1.0001  # two sums of the same times differ in the last digit
        plan = starters.plan(goal="seconds", budget=seconds, order="free", **known)
        found.append((f"best of {len(models)} models in that time", models, known, plan[0]))
    return [
        {
            "name": name,
            "models": models,
            "pattern": pattern,
            "predicted": round(predicted(known["profile"], pattern), 4),
        }
        for name, models, known, pattern in found
    ]


def main() -> None:
    import folder_paths

    with tempfile.TemporaryDirectory() as user, torch.inference_mode():
        starters = Starters(host_nodes())
        folder_paths.set_user_directory(user)
        plans = recommend(starters)
        rows = compare(starters, random_patterns(SCHEDULES))
    setting = {"steps": STEPS, **WIDGETS, "batch": BATCH, "rounds": ROUNDS, "tolerance": starters.tolerance}
    write_results("plan", rows, **setting, plans=plans)
    for row in (*rows, *plans):
        print(*(f"{key} {value}" for key, value in row.items()), sep="  ")
