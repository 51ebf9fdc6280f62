"""Plans of steps, noise levels, models, sizes and guidance together, by the pack's own nodes.

Calibrate records what every step between 50 levels loses, Profile times a step, Plan chooses for each speed-up.
Writes `results/joint.json`; the group `joint` draws the plans.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch

from benchmarks.measure.groups import PLANNED_SETS, Planned
from benchmarks.tools.results import Row, read_results, write_results
from benchmarks.tools.settings import ALONE, LATENT, STEPS, Part
from benchmarks.tools.starter import checksum, flops
from benchmarks.tools.studio import path_of, studio
from training.data import STYLES

NAME = "joint"
SPEEDS = (1.5, 2.0, 3.0, 4.0, 6.0)  # times as fast as 20 guided steps of XL
SEED, PICTURES = 7, 10


class Planner:
    """Some models, what was measured of them, and plans from that."""

    def __init__(self, planned: Planned) -> None:
        self.nodes, self.gain = studio().nodes, of_a_step(ALONE.parts[0]) / of_a_step(planned.parts[-1])
        *others, last = [studio().model(part) for part in planned.parts]
        self.models = {"final_model": last, **{f"model_{number}": model for number, model in enumerate(others, 1)}}
        labels = ", ".join(str(picture % len(STYLES)) for picture in range(PICTURES))
        no_class = self.nodes["TStitchClassLabel"].GET_SCHEMA().inputs[2].options[0]
        positive, negative, latent = self.nodes["TStitchClassLabel"].execute(last, labels, no_class).result
        self.inputs = {"positive": positive, "negative": negative, "latent_image": latent}
        run: dict[str, Any] = {"seed": SEED, "seeds": 1, "steps": STEPS, "tolerance": 0.1, "record_steps": True}
        run |= {"cfg": planned.cfg, "sampler_name": ALONE.sampler, "scheduler": ALONE.scheduler}
        started = time.perf_counter()
        self.calibration = self.nodes["TStitchCalibrate"].execute(**self.models, **self.inputs, **run).result[0]
        self.seconds = time.perf_counter() - started
        timing: dict[str, Any] = {"cfg": planned.cfg, "repeats": 10, "refresh": True}
        self.profile = self.nodes["TStitchProfile"].execute(**self.models, **self.inputs, **timing).result[0]

    def plan(self, speed: float) -> dict[str, Any]:
        """`speed`: times as fast as 20 guided steps of XL; the nodes count from the last of their own models."""
        started = time.perf_counter()
        found = self.nodes["TStitchPlan"].execute(
            goal="speed-up", budget=max(1.0, speed / self.gain), steps=STEPS, order="free", profile=self.profile,
            calibration=self.calibration, latent_image=self.inputs["latent_image"], method="steps and models",
        )  # fmt: skip
        pattern, _, seconds, table, _, levels = found.result
        return {
            "pattern": pattern,
            "predicted": round(seconds, 4),
            "planning": round(time.perf_counter() - started, 2),
            "levels": [round(level, 6) for level in levels.tolist()],
            "table": table,
        }


def of_a_step(part: Part) -> float:
    """Floating-point operations of a guided step of one picture."""
    weak = part.guide.weak if part.guide is not None else part
    return flops(path_of(part.model), LATENT) + flops(path_of(weak.model), LATENT)


@torch.inference_mode()
def main() -> None:
    import folder_paths

    weights = {name: checksum(path_of(name))[:8] for name in ("S", "XL")}
    known = read_results(NAME)
    if known is not None and known["setting"]["weights"] == weights:
        return
    rows: list[Row] = []
    calibrating = {}
    with tempfile.TemporaryDirectory() as user:
        folder_paths.set_user_directory(user)
        for method, planned in PLANNED_SETS.items():
            studio()
            planner = Planner(planned)
            calibrating[method] = round(planner.seconds, 1)
            for speed in SPEEDS:
                if speed < planner.gain:
                    continue
                row = {"method": method, "speed": speed, **planner.plan(speed)}
                print(*(f"{key} {row[key]}" for key in ("method", "speed", "pattern", "planning")), sep="  ")
                rows.append(row)
    write_results(NAME, rows, steps=STEPS, calibrating_seconds=calibrating, pictures=PICTURES, weights=weights)
