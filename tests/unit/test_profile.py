"""The file that remembers a profile: exact, and ignored with one warning when it is anything else."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tstitch.planning.profile.record import VERSION, ModelTiming, Profile, cache_path, read_timing, write_timing
from tstitch.planning.records import ModelMark

KEY = {"model": "abc", "latent": [1, 4, 8, 8]}
TIMING = ModelTiming(0.0123456789012345, 0.0125, 1e-4, 2e-3, 0.5, 123456, 10)


def test_what_was_written_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_timing(tmp_path, KEY) is None
    for timing in (TIMING, replace(TIMING, peak_bytes=None)):
        write_timing(tmp_path / "new", KEY, timing)
        assert read_timing(tmp_path / "new", KEY) == timing
    assert read_timing(tmp_path / "new", {**KEY, "latent": [2, 4, 8, 8]}) is None
    assert [path.suffix for path in (tmp_path / "new").iterdir()] == [".json"]
    assert not caplog.records


def content(**changes: object) -> str:
    whole = {"format": "tstitch-profile", "version": VERSION, "key": KEY, "timing": dict(vars(TIMING))}
    return json.dumps({**whole, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[1]",
        content(format="other"),
        content(version=VERSION + 1),
        content(key={"model": "other"}),
        content(timing=None),
        content(timing={"step": 1.0}),
        content(timing={**vars(TIMING), "step": "1"}),
        content(timing={**vars(TIMING), "step": float("nan")}),
        content(timing={**vars(TIMING), "step": 10**400}),
        content(timing={**vars(TIMING), "step": 0.0}),
        content(timing={**vars(TIMING), "load": -1.0}),
    ],
)
def test_a_damaged_or_foreign_file_is_ignored_with_one_warning_and_rewritten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = cache_path(tmp_path, KEY)
    path.write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING, "tstitch"):
        assert read_timing(tmp_path, KEY) is None
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]
    write_timing(tmp_path, KEY, TIMING)
    assert read_timing(tmp_path, KEY) == TIMING
    assert len(caplog.records) == 1


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    write_timing(tmp_path / "file", KEY, TIMING)
    assert "could not save the profile" in caplog.text


def test_bytes_that_are_no_text_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache_path(tmp_path, KEY).write_bytes(b"\xff\xfe\x00")
    assert read_timing(tmp_path, KEY) is None
    assert len(caplog.records) == 1


def test_the_table_names_models_speeds_and_setting() -> None:
    marks = (ModelMark("Small", "a"), ModelMark("Large", "b"))
    timings = (TIMING, replace(TIMING, step=10 * TIMING.step, peak_bytes=None))
    table = Profile(marks, timings, "GPU 7", (2, 4, 8, 8), guided=(False, False), together=False).table()
    assert "| 1 | Small | 12.3 | ± 0.4 % | 10.00x | 0.5 | 0.00 GiB |" in table
    assert "| 2 (final) | Large | 123 |" in table
    assert "unknown" in table
    assert table.endswith(
        "GPU 7; latent 2 x 4 x 8 x 8; cfg 1: positive only; the models do not fit together: switches load."
    )


def test_a_run_is_the_sum_of_average_steps_set_ups_and_loads() -> None:
    marks, timings = (ModelMark("Small", "a"), ModelMark("Large", "b")), (TIMING, replace(TIMING, mean=0.5))
    apart = Profile(marks, timings, "GPU 7", (2, 4, 8, 8), guided=(False, False), together=False)
    assert apart.seconds([8, 12], [1, 1]) == pytest.approx(8 * 0.0125 + 12 * 0.5 + 2 * 2e-3 + 2 * 0.5)
    assert replace(apart, together=True).seconds([20, 0], [1, 0]) == pytest.approx(20 * 0.0125 + 2e-3)
