"""Schedule texts, their meaning, and the lookup of a step by noise level."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tstitch.errors import StitchError
from tstitch.schedule import (
    MAX_STAGES,
    UNITS,
    Interval,
    Schedule,
    ScheduleSpec,
    StageLookup,
    Trajectory,
    check_schedule_text,
    parse_pattern,
    read_number,
)

CASES = json.loads((Path(__file__).parents[1] / "data" / "schedules.json").read_text(encoding="utf-8"))["cases"]


def run_of(steps: int, levels: list[float] | None = None, **place: Any) -> Trajectory:
    """A whole run, unless `place` says otherwise."""
    levels = levels or [1 - step / steps for step in range(steps + 1)]
    place = {"total_steps": steps, **place}
    return Trajectory(tuple(levels), tuple(levels), lambda fraction: 1 - fraction, noises=tuple(levels), **place)


def owners_of(case: dict[str, Any]) -> list[int]:
    spec = ScheduleSpec.parse(case["splits"], case["unit"], case["pattern"], case["stages"])
    place = {name: case[name] for name in ("first_step", "total_steps") if name in case}
    return list(spec.resolve(run_of(case["steps"], case.get("levels"), **place)).owners) if "steps" in case else []


@pytest.mark.parametrize("case", [case for case in CASES if "owners" in case], ids=lambda case: case["name"])
def test_golden_schedule(case: dict[str, Any]) -> None:
    assert owners_of(case) == case["owners"]


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_golden_error(case: dict[str, Any]) -> None:
    with pytest.raises(StitchError) as raised:
        owners_of(case)
    assert str(raised.value) == case["error"]


def test_golden_cases_have_an_outcome_each_and_names_of_their_own() -> None:
    assert all(("owners" in case) != ("error" in case) for case in CASES)
    assert len({case["name"] for case in CASES}) == len(CASES) >= 60


@given(st.integers(1, 400), st.integers(0, 100))
def test_a_fraction_takes_the_nearest_number_of_steps(steps: int, percent: int) -> None:
    """round(r T) with .5 up, in exact arithmetic."""
    spec = ScheduleSpec.parse(f"{percent / 100}", "steps", "", 2)
    assert spec.resolve(run_of(steps)).owners.count(0) == (2 * percent * steps + 100) // 200


@given(st.lists(st.integers(0, MAX_STAGES - 1), min_size=1, max_size=60))
def test_a_schedule_survives_its_text(owners: list[int]) -> None:
    schedule = Schedule(tuple(owners))
    spec = ScheduleSpec.parse("", "steps", schedule.pattern, MAX_STAGES)
    assert spec.resolve(run_of(len(owners))) == schedule
    assert parse_pattern(schedule.pattern, MAX_STAGES) == tuple(
        (interval.stage, interval.steps) for interval in schedule.intervals
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_intervals_tile_the_run(owners: list[int]) -> None:
    schedule = Schedule(tuple(owners))
    steps = [interval.stage for interval in schedule.intervals for _ in range(interval.start, interval.stop)]
    assert steps == owners
    assert all(
        before.stop == after.start and before.stage != after.stage for before, after in pairwise(schedule.intervals)
    )
    assert schedule.stages == tuple(sorted(set(owners)))


def test_intervals_of_an_interleaved_schedule() -> None:
    assert Schedule((1, 1, 0, 1)).intervals == (Interval(1, 0, 2), Interval(0, 2, 3), Interval(1, 3, 4))


@given(st.integers(1, 60), st.lists(st.integers(0, 100), min_size=1, max_size=7))
def test_splits_in_steps_and_in_step_agree(steps: int, percents: list[int]) -> None:
    counts = sorted((2 * percent * steps + 100) // 200 for percent in percents)
    fractions = " ".join(str(percent / 100) for percent in sorted(percents))
    stages = len(percents) + 1
    by_fraction = ScheduleSpec.parse(fractions, "steps", "", stages).resolve(run_of(steps))
    by_index = ScheduleSpec.parse(" ".join(map(str, counts)), "step", "", stages).resolve(run_of(steps))
    assert by_fraction == by_index


@given(st.text(max_size=20), st.sampled_from(UNITS), st.integers(2, MAX_STAGES))
def test_any_text_is_read_or_refused(text: str, unit: str, stages: int) -> None:
    for splits, pattern in ((text, ""), ("0.4", text)):
        try:
            spec = ScheduleSpec.parse(splits, unit, pattern, stages)
        except StitchError:
            continue
        assert spec.pattern or len(spec.splits) == stages - 1
        assert all(math.isfinite(split) for split in spec.splits)


def test_a_part_of_a_known_schedule_counts_on_the_whole() -> None:
    half = run_of(5, first_step=5, total_steps=10)
    assert ScheduleSpec.parse("0.7", "steps", "", 2).resolve(half).owners == (0, 0, 1, 1, 1)
    assert ScheduleSpec.parse("7", "step", "", 2).resolve(half).owners == (0, 0, 1, 1, 1)
    assert ScheduleSpec.parse("0.4", "steps", "", 2).resolve(half).owners == (1,) * 5


def test_a_part_of_an_unknown_schedule_takes_fractions_of_the_noise_range() -> None:
    run = run_of(4, [0.8, 0.6, 0.4, 0.2, 0.0], first_step=None, total_steps=None)
    assert ScheduleSpec.parse("0.4", "steps", "", 2).resolve(run).owners == (0, 1, 1, 1)
    assert ScheduleSpec.parse("0", "steps", "", 2).resolve(run).owners == (1,) * 4
    assert ScheduleSpec.parse("1", "steps", "", 2).resolve(run).owners == (0,) * 4


def test_fraction_1_of_a_rising_run_is_the_first_model_alone() -> None:
    run = run_of(3, [0.0, 0.3, 0.6, 1.0], first_step=None, total_steps=None)
    assert ScheduleSpec.parse("1", "steps", "", 2).resolve(run).owners == (0,) * 3


def test_a_link_in_place_of_a_text_is_checked_later() -> None:
    check_schedule_text("0.6 0.4", None, "")
    check_schedule_text("0.6 0.4", "steps", None)
    check_schedule_text(None, "steps", "")
    with pytest.raises(StitchError, match="must rise"):
        check_schedule_text("0.6 0.4", "steps", "")
    with pytest.raises(StitchError, match="must look like"):
        check_schedule_text(None, "steps", "x")


@pytest.mark.parametrize(
    ("value", "unit", "owners"), [(1, "step", 1), (0.5, "steps", 2), (3.0, "step", 3), (1e-5, "sigma", 4)]
)
def test_one_split_may_be_a_number(value: float, unit: str, owners: int) -> None:
    check_schedule_text(value, unit, "")
    assert ScheduleSpec.parse(value, unit, "", 2).resolve(run_of(4)).owners.count(0) == owners


def test_a_number_comes_as_text_too() -> None:
    values = (2, 2.0, "2", " 2.0 ", "+2e0")
    assert [read_number("fraction", value) for value in values] == [2.0] * len(values)
    for value in ("", "x", "1_0", "0.2, 0.4", "nan", "inf", None, True, [0.4]):
        with pytest.raises(StitchError, match="fraction must be a number such as"):
            read_number("fraction", value)


@st.composite
def monotone_runs(draw: st.DrawFn) -> tuple[Schedule, list[float]]:
    """A schedule on levels that all differ by more than the tolerance."""
    ratios = draw(st.lists(st.floats(1.001, 3.0), min_size=1, max_size=30))
    levels = [draw(st.floats(0.001, 1.0))]
    for ratio in ratios:
        levels.append(levels[-1] * ratio)
    if draw(st.booleans()):
        levels[0] = 0.0
    owners = draw(st.lists(st.integers(0, 3), min_size=len(ratios), max_size=len(ratios)))
    return Schedule(tuple(owners)), levels


@given(monotone_runs(), st.booleans(), st.data())
def test_lookup_of_a_monotone_run(run: tuple[Schedule, list[float]], falls: bool, data: st.DataObject) -> None:
    schedule, levels = run
    levels = levels[::-1] if falls else levels
    lookup = StageLookup(schedule, levels)
    for step, owner in enumerate(schedule.owners):
        start, stop = levels[step], levels[step + 1]
        inside = data.draw(st.floats(0.1, 0.9))
        assert lookup(start) == owner, "a boundary belongs to the later step"
        assert lookup(start + inside * (stop - start)) == owner
        if start > 0:
            assert lookup(start * (1 + 2e-7)) == lookup(start * (1 - 2e-7)) == owner, "float32 noise on a boundary"
    assert lookup(levels[-1]) == schedule.owners[-1]
    beyond_start, beyond_stop = (2 * max(levels), 0.0) if falls else (0.0, 2 * max(levels))
    assert lookup(beyond_start) == schedule.owners[0]
    assert lookup(beyond_stop) == schedule.owners[-1]


def test_of_equal_levels_the_later_step_answers() -> None:
    assert StageLookup(Schedule((0, 1, 2)), [3.0, 2.0, 2.0, 0.0])(2.0) == 2
    assert StageLookup(Schedule((0, 1, 2)), [0.0, 2.0, 2.0, 3.0])(2.0) == 2


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=20), st.floats(0.01, 10))
def test_lookup_of_a_run_that_rises_and_falls_follows_the_split(levels: list[float], split: float) -> None:
    run = run_of(len(levels) - 1, levels)
    schedule = ScheduleSpec.parse(repr(split), "sigma", "", 2).resolve(run)
    lookup = StageLookup(schedule, levels)
    for start in levels[:-1]:
        if not math.isclose(start, split, rel_tol=1e-4):
            close = [other for other in levels[:-1] if math.isclose(other, start, rel_tol=1e-4)]
            assert lookup(start) == (start < split) or any((other < split) != (start < split) for other in close)
