"""Few-step quality of the starter Shortcut model against the flow model of its size, B.

Both were trained with the same number of floating-point operations. Writes `results/shortcut.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.classifier import load_classifier
from benchmarks.evaluate import RESULTS as STARTERS
from benchmarks.evaluate import Run, generate
from benchmarks.judge import Judge
from benchmarks.model_card import write_tables
from benchmarks.starter import checksum, load_denoiser, load_vae, weights_path

RESULTS = Path(__file__).parent / "results" / "shortcut.json"
STEPS = (1, 2, 4, 8, 32, 128)
NAMES = ("Shortcut", "B")
SAMPLES = 5000


def row_key(name: str, steps: int) -> str:
    """What a row depends on, with the start of the weight file's checksum."""
    return f"{name} steps {steps} samples {SAMPLES} {checksum(weights_path(name))[:12]}"


@torch.no_grad()
def measure() -> None:
    vae, denoisers = load_vae(), {name: load_denoiser(name) for name in NAMES}
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"] if RESULTS.is_file() else []
    rows = {row["key"]: row for row in known}
    judge = Judge(load_classifier(), vae)
    kept: list[dict[str, Any]] = []
    for steps in tqdm(STEPS, desc="shortcut", unit="step count"):
        for name in NAMES:
            key = row_key(name, steps)
            if key not in rows:
                pixels, labels, seconds = generate(Run((name,), 1.0, 1.0), denoisers, vae, SAMPLES, steps)
                score = judge.score(pixels, labels)
                rows[key] = {"key": key, "run": name, "steps": steps, **score, "seconds": round(seconds, 1)}
                tqdm.write(f"{name} {steps}: {score}")
            kept.append(rows[key])
            RESULTS.write_text(json.dumps({"runs": kept}, indent=1) + "\n", encoding="utf-8")
    write_tables(json.loads(STARTERS.read_text(encoding="utf-8")))
