"""What each stage did in a run."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..schedule import Schedule, Trajectory


@dataclass
class StageUse:
    name: str
    calls: int = 0  # begun
    calls_done: int = 0
    seconds: float = 0.0  # of those that are done
    first_seconds: float = 0.0  # of the first one, in which the model may have been loaded
    weak_calls: int = 0  # of a weak model that guides it

    def add(self, seconds: float) -> None:
        if self.calls_done == 0:
            self.first_seconds = seconds
        self.calls_done += 1
        self.seconds += seconds

    def seconds_per_step(self, steps: int) -> float | None:
        """Mean over `steps` finished steps, without the first call if there are more. None if no step is finished."""
        if steps == 0 or self.calls_done == 0:
            return None
        if self.calls_done == 1:
            return self.seconds / steps
        return (self.seconds - self.first_seconds) / (self.calls_done - 1) * self.calls_done / steps


class Watch(Protocol):
    """Is notified while a report is filled in."""

    def begin(self, report: Report) -> None: ...

    def call(self, report: Report, now: float) -> None: ...  # as a model call begins; must cost next to nothing

    def finish(self, report: Report) -> None: ...


class Clock(Protocol):
    """Of a device on which calls may end after Python has gone on."""

    def mark(self) -> Any: ...  # the moment when what was asked of the device so far is done

    def between(self, start: Any, end: Any) -> float | None: ...  # seconds; None where `end` is still to come


class Call(NamedTuple):
    """Of a model; begun, but not known to be done."""

    stage: int
    step: int
    mark: Any  # of the clock


@dataclass
class Report:
    """Filled in during a run; calls and seconds are counted where the router calls a stage."""

    uses: list[StageUse]
    schedule: Schedule | None = None
    trajectory: Trajectory | None = None
    watch: Watch | None = None
    sizes: dict[int, tuple[int, int] | None] = field(
        default_factory=dict
    )  # latent height and width, where not the run's
    _clock: Clock | None = field(default=None, repr=False)
    notes: list[str] = field(default_factory=list)  # sentences on what does not keep to the steps of one model
    _step: int = field(default=0, repr=False)
    _since: float = field(default=0.0, repr=False)  # when the first of the calls began, as far as Python knows
    _calls: deque[Call] = field(default_factory=deque, repr=False)

    @classmethod
    def of(cls, names: Sequence[str], watch: Watch | None = None) -> Report:
        """For the stages `names` in run order; `watch` is notified."""
        return cls([StageUse(name) for name in names], watch=watch)

    @property
    def step(self) -> int:
        """The one at work on the device; the number of steps when all are done."""
        return self._step

    def begin(
        self,
        schedule: Schedule,
        trajectory: Trajectory,
        sizes: Mapping[int, tuple[int, int] | None] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """sizes: by stage, its latent height and width if they differ from the run's."""
        self.schedule, self.trajectory, self.sizes = schedule, trajectory, dict(sizes or {})
        self.notes = list(notes)
        self.uses = [StageUse(use.name) for use in self.uses]
        self._step, self._clock = 0, None
        self._calls.clear()
        if self.watch is not None:
            self.watch.begin(self)

    def measure_by(self, clock: Clock | None) -> None:
        """Take the seconds of this run from `clock`; None: from Python's, where a call is done when the next begins."""
        self._clock = clock

    def count(self, stage: int, step: int) -> None:
        """A model call of `stage` begins; the time since the last call goes to the stage of that call."""
        now = time.perf_counter()
        if not self._calls:
            self._since = now
        self._calls.append(Call(stage, step, self._mark(now)))
        self._settle(now)
        self.uses[stage].calls += 1
        self._step = self._calls[0].step
        if self.watch is not None:
            self.watch.call(self, now)

    def stop(self) -> None:
        """No other call follows, perhaps as one has failed: a device's clock may be gone with it."""
        if self._clock is None:
            self._end()
        self._calls.clear()

    def _end(self) -> None:
        """The last call is done."""
        if self._calls:
            now = time.perf_counter()
            self._calls.append(self._calls[-1]._replace(mark=self._mark(now)))
            self._settle(now)
            self._calls.clear()

    def _mark(self, now: float) -> Any:
        return now if self._clock is None else self._clock.mark()

    def _settle(self, now: float) -> None:
        """Add the seconds of all calls that are done."""
        while len(self._calls) > 1:
            start, end = self._calls[0].mark, self._calls[1].mark
            seconds = end - start if self._clock is None else self._clock.between(start, end)
            if seconds is None:
                return
            self.uses[self._calls.popleft().stage].add(seconds)
            self._since = now

    def finish(self) -> None:
        """The run has come to its end."""
        self._end()
        self._step = 0 if self.trajectory is None else self.trajectory.steps
        if self.watch is not None:
            self.watch.finish(self)

    def seconds_so_far(self, now: float) -> list[float]:
        """By stage, with the call that is going on."""
        current = self._calls[0].stage if self._calls else None
        running = now - self._since
        return [use.seconds + (running if stage == current else 0.0) for stage, use in enumerate(self.uses)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values: per stage its intervals in steps, sigma and t, its model calls, and its seconds; notes."""
        if self.schedule is None or self.trajectory is None:
            return {"steps": 0, "stages": []}
        sigmas, timesteps = self.trajectory.sigmas, self.trajectory.timesteps
        stages: list[dict[str, Any]] = []
        for index, use in enumerate(self.uses):
            intervals = [
                {
                    "steps": [interval.start, interval.stop],
                    "sigma": [round(sigmas[interval.start], 6), round(sigmas[interval.stop], 6)],
                    "t": [round(timesteps[interval.start], 6), round(timesteps[interval.stop], 6)],
                }
                for interval in self.schedule.intervals
                if interval.stage == index
            ]
            stages.append(
                {
                    "model": use.name,
                    "steps": sum(owner == index for owner in self.schedule.owners),
                    "intervals": intervals,
                    "model_calls": use.calls,
                    "seconds": round(use.seconds, 4),
                }
            )
            if use.weak_calls:
                stages[-1]["weak_model_calls"] = use.weak_calls
            size = self.sizes.get(index)
            if size is not None:
                stages[-1]["latent_size"] = list(size)
        found = {"steps": self.trajectory.steps, "pattern": self.schedule.pattern, "stages": stages}
        return found | ({"notes": self.notes} if self.notes else {})

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)
