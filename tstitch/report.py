"""What each stage did in a run."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .schedule import Schedule, Trajectory


@dataclass
class StageUse:
    name: str
    calls: int = 0
    seconds: float = 0.0


@dataclass
class Report:
    """Filled in while a run goes on; calls and seconds are counted where a stage answers the sampler."""

    uses: list[StageUse]
    schedule: Schedule | None = None
    trajectory: Trajectory | None = None
    _since: float = field(default=0.0, repr=False)
    _current: int | None = field(default=None, repr=False)

    @classmethod
    def of(cls, names: Sequence[str]) -> Report:
        return cls([StageUse(name) for name in names])

    def begin(self, schedule: Schedule, trajectory: Trajectory) -> None:
        self.schedule, self.trajectory = schedule, trajectory
        for use in self.uses:
            use.calls, use.seconds = 0, 0.0
        self._current = None

    def count(self, stage: int) -> None:
        """A model call of `stage` begins; the time since the last call goes to the stage of that call."""
        self.stop()
        self._since, self._current = time.perf_counter(), stage
        self.uses[stage].calls += 1

    def stop(self) -> None:
        if self._current is not None:
            self.uses[self._current].seconds += time.perf_counter() - self._since
            self._current = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values: per stage its intervals in steps, sigma and t, its model calls, and its seconds."""
        if self.schedule is None or self.trajectory is None:
            return {"steps": 0, "stages": []}
        sigmas, timesteps = self.trajectory.sigmas, self.trajectory.timesteps
        stages = []
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
        return {"steps": self.trajectory.steps, "pattern": self.schedule.pattern, "stages": stages}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)
