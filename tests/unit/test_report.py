"""The report of a run, and what the page is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from tstitch.page.progress import describe, progress, workflow_id
from tstitch.schedule import Schedule, Trajectory
from tstitch.stitch import report as report_module
from tstitch.stitch.report import Report, StageUse


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(report_module, "time", made)
    return made


class Looker:
    """Notes what a watch is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def begin(self, report: Report) -> None:
        self.seen.append(("begin", report.step))

    def call(self, report: Report, now: float) -> None:
        self.seen.append(("call", report.step))

    def finish(self, report: Report) -> None:
        self.seen.append(("finish", report.step))


OWNERS = (0, 0, 1, 1, 1)
TRAJECTORY = Trajectory(
    sigmas=(5, 4, 3, 2, 1, 0),
    timesteps=(1, 0.8, 0.6, 0.4, 0.2, 0),
    sigma_of_fraction=lambda f: f,
    noises=(1, 0.9, 0.7, 0.5, 0.3, 0),
)


def begun(watch: Looker | None = None) -> Report:
    report = Report([StageUse("model_1"), StageUse("final_model")], watch=watch)
    report.begin(Schedule(OWNERS), TRAJECTORY)
    return report


def run(report: Report, clock: Clock, seconds: list[float], calls_a_step: int = 1) -> None:
    for step, each in enumerate(seconds):
        for _ in range(calls_a_step):
            report.count(OWNERS[step], step)
            clock.now += each


def test_loading_is_in_the_seconds_but_not_in_the_pace(clock: Clock) -> None:
    report = begun()
    run(report, clock, [5, 1, 10, 2, 2])
    report.finish()
    told = progress(report, finished=True)
    assert told["secondsPerStage"] == [6, 14]
    assert told["stepsPerStage"] == [2, 3]
    assert told["secondsPerStep"] == [1, 2]
    assert told["step"] == 5


def test_a_model_that_is_called_twice_a_step_is_counted_by_the_step(clock: Clock) -> None:
    report = begun()
    run(report, clock, [1, 1, 3, 3, 3], calls_a_step=2)
    report.finish()
    assert progress(report, finished=True)["secondsPerStep"] == [2, 6]


def test_a_step_that_goes_on_is_counted_in_the_seconds_only(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tstitch.page.progress.time", clock)
    report = begun()
    run(report, clock, [1, 1, 4])
    told = progress(report, finished=False)
    assert (told["step"], told["stage"]) == (2, 1)
    assert told["secondsPerStage"] == [2, 4]
    assert told["stepsPerStage"] == [2, 0]
    assert told["secondsPerStep"] == [1, None]


def test_what_stays_the_same_is_told_once() -> None:
    assert describe(begun()) == {
        "names": ["model_1", "final_model"],
        "steps": 5,
        "intervals": [[0, 2], [1, 3]],
        "sigmas": [5, 4, 3, 2, 1, 0],
        "timesteps": [1, 0.8, 0.6, 0.4, 0.2, 0],
        "noises": [1, 0.9, 0.7, 0.5, 0.3, 0],
    }


def test_a_watch_sees_the_start_every_call_and_the_end(clock: Clock) -> None:
    watch = Looker()
    report = begun(watch)
    run(report, clock, [1] * 5)
    report.finish()
    report.stop()
    assert watch.seen == [("begin", 0), *(("call", step) for step in range(5)), ("finish", 5)]


def test_a_run_that_fails_is_not_told_as_finished(clock: Clock) -> None:
    watch = Looker()
    report = begun(watch)
    report.count(0, 0)
    report.stop()
    assert "finish" not in dict(watch.seen)


def test_a_second_run_starts_from_nothing(clock: Clock) -> None:
    report = begun()
    run(report, clock, [1] * 5)
    report.finish()
    report.begin(Schedule(OWNERS), TRAJECTORY)
    assert progress(report, finished=False)["secondsPerStage"] == [0, 0]
    assert report.to_dict()["stages"][0]["model_calls"] == 0


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"extra_pnginfo": {"workflow": {"id": "abc"}}}, "abc"),
        ({}, None),
        ({"extra_pnginfo": None}, None),
        ({"extra_pnginfo": {"workflow": None}}, None),
        ({"extra_pnginfo": {"workflow": "a text"}}, None),
        ({"extra_pnginfo": ["a list"]}, None),
    ],
)
def test_whatever_a_script_queues_beside_its_prompt_stops_no_run(extra: dict[str, Any], found: str | None) -> None:
    assert workflow_id(extra) == found


def test_nobody_looks_on_outside_a_server() -> None:
    pytest.importorskip("comfy_execution.utils")
    assert Report.of(["model_1"]).watch is None


class Events:
    """The clock of a device that has done `done` of the calls that it was given, each of which takes two seconds."""

    def __init__(self) -> None:
        self.marks, self.done = 0, 0

    def mark(self) -> int:
        self.marks += 1
        return self.marks - 1

    def between(self, start: int, end: int) -> float | None:
        return 2.0 * (end - start) if end <= self.done else None


def test_calls_of_a_device_that_is_behind_are_counted_when_they_are_done(clock: Clock) -> None:
    report, events = begun(), Events()
    report.measure_by(events)
    run(report, clock, [0, 0, 0, 0, 0])
    assert (report.step, progress(report, finished=False)["stepsPerStage"]) == (0, [0, 0])
    assert sum(use.calls for use in report.uses) == 5
    events.done = 3
    report.count(1, 4)
    told = progress(report, finished=False)
    assert (report.step, told["stage"]) == (3, 1)
    assert [use.seconds for use in report.uses] == [4, 2]
    assert told["secondsPerStep"] == [2, 2]
    events.done = 6
    report.finish()
    assert [use.seconds for use in report.uses] == [4, 8]
    assert report.step == 5


def test_a_second_run_takes_its_seconds_anew(clock: Clock) -> None:
    report = begun()
    report.measure_by(Events())
    run(report, clock, [0] * 5)
    report.begin(Schedule(OWNERS), TRAJECTORY)
    run(report, clock, [1] * 5)
    report.finish()
    assert [use.seconds for use in report.uses] == [2, 3]
