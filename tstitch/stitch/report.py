"""What each stage did in a run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..schedule import Schedule, Trajectory


@dataclass
class StageUse:
    name: str
    calls: int = 0  # begun
    calls_done: int = 0
    seconds: float = 0.0  # of those that are done
    first_seconds: float = 0.0  # of the first one, in which the model may have been loaded

    def add(self, seconds: float) -> None:
        if self.calls_done == 0:
            self.first_seconds = seconds
        self.calls_done += 1
        self.seconds += seconds

    def seconds_per_step(self, steps: int) -> float | None:
        """Of `steps` that are done; the first call is left out where there are more. None where none is done."""
        if steps == 0 or self.calls_done == 0:
            return None
        if self.calls_done == 1:
            return self.seconds / steps
        return (self.seconds - self.first_seconds) / (self.calls_done - 1) * self.calls_done / steps


class Watch(Protocol):
    """Looks on while a report is filled in."""

    def begin(self, report: Report) -> None: ...

    def call(self, report: Report, now: float) -> None: ...  # as a model call begins; must cost next to nothing

    def finish(self, report: Report) -> None: ...


@dataclass
class Report:
    """Filled in while a run goes on; calls and seconds are counted where a stage answers the sampler."""

    uses: list[StageUse]
    schedule: Schedule | None = None
    trajectory: Trajectory | None = None
    watch: Watch | None = None
    sizes: dict[int, tuple[int, int] | None] = field(
        default_factory=dict
    )  # latent height and width, where not the run's
    notes: list[str] = field(default_factory=list)  # sentences on what does not keep to the steps of one model
    _step: int = field(default=0, repr=False)
    _since: float = field(default=0.0, repr=False)
    _current: int | None = field(default=None, repr=False)

    @classmethod
    def of(cls, names: Sequence[str], watch: Watch | None = None) -> Report:
        """For the stages `names` in run order; `watch` looks on."""
        return cls([StageUse(name) for name in names], watch=watch)

    @property
    def step(self) -> int:
        """The one at work; the number of steps when all are done."""
        return self._step

    def begin(
        self,
        schedule: Schedule,
        trajectory: Trajectory,
        sizes: Mapping[int, tuple[int, int] | None] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """sizes: by stage, the latent height and width at which it is asked where they are not those of the run."""
        self.schedule, self.trajectory, self.sizes = schedule, trajectory, dict(sizes or {})
        self.notes = list(notes)
        self.uses = [StageUse(use.name) for use in self.uses]
        self._step, self._current = 0, None
        if self.watch is not None:
            self.watch.begin(self)

    def count(self, stage: int, step: int) -> None:
        """A model call of `stage` begins; the time since the last call goes to the stage of that call."""
        self.stop()
        self._since, self._current = time.perf_counter(), stage
        self.uses[stage].calls += 1
        self._step = step
        if self.watch is not None:
            self.watch.call(self, self._since)

    def stop(self) -> None:
        if self._current is not None:
            self.uses[self._current].add(time.perf_counter() - self._since)
            self._current = None

    def finish(self) -> None:
        """The run has come to its end."""
        self.stop()
        self._step = 0 if self.trajectory is None else self.trajectory.steps
        if self.watch is not None:
            self.watch.finish(self)

    def seconds_so_far(self, now: float) -> list[float]:
        """By stage, with the call that is going on."""
        running = now - self._since
        return [use.seconds + (running if stage == self._current else 0.0) for stage, use in enumerate(self.uses)]

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
            size = self.sizes.get(index)
            if size is not None:
                stages[-1]["latent_size"] = list(size)
        found = {"steps": self.trajectory.steps, "pattern": self.schedule.pattern, "stages": stages}
        return found | ({"notes": self.notes} if self.notes else {})

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)
