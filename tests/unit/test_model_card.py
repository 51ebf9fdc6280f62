"""The model card names the weight files as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from safetensors import safe_open

from benchmarks.report.model_card import with_tables

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
WEIGHTS = sorted((ROOT / "models").glob("*.safetensors"))


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_the_card_has_the_checksum_of_each_file(path: Path) -> None:
    line = next(line for line in CARD.splitlines() if f"|{path.name}|" in line)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in line


def test_the_tables_are_those_of_the_results() -> None:
    assert with_tables(CARD) == CARD


def test_all_weights_together_fit_in_forty_megabytes() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS) <= 40e6


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_each_file_says_what_it_is(path: Path) -> None:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    keys = {"tstitch.dit", "tstitch.prediction", "tstitch.time_scale", "tstitch.classes", "tstitch.training"}
    if path.stem == "starter_vae":
        keys = {"tstitch.vae", "tstitch.preview", "tstitch.training"}
    assert keys <= set(metadata)
