"""Which model owns which step: plain values and arithmetic, no tensors, no host.

Stages are numbered 0, 1, ... in run order inside the code and 1, 2, ... in the text that people write; the last stage
is the model that finishes.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from .checks.choices import check_choice
from .errors import StitchError

MAX_STAGES = 8
UNITS = ("steps", "step", "timestep", "sigma", "noise")

#: Units that go from 0 to 1, and what a number in them is.
MEANINGS = {"steps": "a fraction of the steps", "timestep": "a noise level t", "noise": "a share of noise"}

#: Narrower than Python's float, so that the browser can read the same texts.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"

#: Samplers recompute a noise level through exp and log; a level this close (relative) to a boundary is the boundary.
LEVEL_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Trajectory:
    """The noise levels of one run, as plain numbers, and the run's place in its full schedule."""

    sigmas: tuple[float, ...]  # levels between the steps, one more than there are steps
    timesteps: tuple[float, ...]  # the same levels as t in [0, 1], 1 = pure noise
    sigma_of_fraction: Callable[[float], float]  # the host's percent_to_sigma
    first_step: int | None = 0  # of the full schedule; None where a later part of an unknown one is seen
    total_steps: int | None = None  # of the full schedule; None where only a part of an unknown one is seen
    noises: tuple[float, ...] = ()  # the same levels as the share of noise r / (1 + r), r = noise to signal

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def is_whole(self) -> bool:
        return self.first_step == 0 and self.total_steps == self.steps

    @property
    def is_monotone(self) -> bool:
        falls = [a >= b for a, b in zip(self.sigmas, self.sigmas[1:], strict=False)]
        rises = [a <= b for a, b in zip(self.sigmas, self.sigmas[1:], strict=False)]
        return all(falls) or all(rises)


@dataclass(frozen=True)
class Interval:
    """Consecutive steps start <= j < stop of one stage."""

    stage: int
    start: int
    stop: int

    @property
    def steps(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Schedule:
    """The stage that owns each step of a run."""

    owners: tuple[int, ...]

    @property
    def stages(self) -> tuple[int, ...]:
        """Stages with at least one step, in numerical order."""
        return tuple(sorted(set(self.owners)))

    @property
    def intervals(self) -> tuple[Interval, ...]:
        found, start = [], 0
        for stage, group in groupby(self.owners):
            stop = start + len(list(group))
            found.append(Interval(stage, start, stop))
            start = stop
        return tuple(found)

    @property
    def pattern(self) -> str:
        """Run-length text, as `parse_pattern` reads it."""
        return " ".join(f"{interval.stage + 1}x{interval.steps}" for interval in self.intervals)


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule as a person writes it, before the steps of the run are known."""

    stages: int
    splits: tuple[float, ...] = ()  # stages - 1 values; unused when there is a pattern
    unit: str = "steps"
    pattern: tuple[tuple[int, int], ...] = ()  # (stage, steps)

    @classmethod
    def parse(cls, splits: str | float, unit: str, pattern: str, stages: int) -> ScheduleSpec:
        """Read the texts of a node with `stages` models; one split may be a number. Raises StitchError."""
        splits = splits_text(splits)
        check_text("pattern", pattern)
        if pattern.strip():
            return cls(stages, unit=unit, pattern=parse_pattern(pattern, stages))
        return cls(stages, parse_splits(splits, unit, stages), unit)

    @property
    def pattern_steps(self) -> int:
        return sum(steps for _, steps in self.pattern)

    @property
    def _below_pure_noise(self) -> list[float]:
        """The splits in a unit in which every run starts at 1 or below; at 1 the earlier stage gets no step."""
        return [split if split < 1 else math.inf for split in self.splits]

    def resolve(self, run: Trajectory) -> Schedule:
        """The stage of each step of `run`. Raises StitchError where the schedule does not fit the run."""
        if self.pattern:
            return self._from_pattern(run)
        if self.unit == "sigma":
            return Schedule(_below(run.sigmas, self.splits))
        if self.unit == "timestep":
            return Schedule(_below(run.timesteps, self._below_pure_noise))
        if self.unit == "noise":
            return Schedule(_below(run.noises, self._below_pure_noise))
        if self.unit == "steps" and run.total_steps is None:
            levels = [run.sigma_of_fraction(split) if split < 1 else -math.inf for split in self.splits]
            return Schedule(_reached(run.sigmas, levels))
        if not run.is_monotone:
            raise StitchError(
                "The sigmas of this run both rise and fall, so its steps cannot be told apart by noise level:"
                " set unit to timestep or sigma."
            )
        if self.unit == "steps":
            assert run.total_steps is not None
            assert run.first_step is not None
            bounds = [_round_half_up(split * run.total_steps) - run.first_step for split in self.splits]
        else:
            bounds = self._step_bounds(run)
        return Schedule(tuple(sum(step >= bound for bound in bounds) for step in range(run.steps)))

    def _step_bounds(self, run: Trajectory) -> list[int]:
        total = run.total_steps
        beyond = [split for split in self.splits if total is not None and split > total]
        if beyond:
            raise StitchError(
                f"The split at step {beyond[0]:g} lies beyond the {total} steps of this run: lower it, or use unit"
                " steps, which counts in fractions."
            )
        if run.first_step is None and any(self.splits):
            raise StitchError(
                f"The split at step {max(self.splits):g} counts from the start of the whole schedule, but this run is a"
                " later part of one whose steps are not known here: set unit to steps (a fraction of the whole),"
                " timestep or sigma."
            )
        return [int(split) - (run.first_step or 0) for split in self.splits]

    def _from_pattern(self, run: Trajectory) -> Schedule:
        """The pattern stands for the whole schedule, of which `run` may be a part."""
        if not run.is_monotone:
            raise StitchError(
                "The sigmas of this run both rise and fall, so a pattern of steps cannot be followed: clear the"
                " pattern and set unit to timestep or sigma."
            )
        total, first = self.pattern_steps, run.first_step
        stages = [stage for stage, _ in self.pattern]
        bounds = list(accumulate(steps for _, steps in self.pattern))[:-1]
        if first is None:
            entries = _reached(run.sigmas, [run.sigma_of_fraction(bound / total) for bound in bounds])
            return Schedule(tuple(stages[entry] for entry in entries))
        if run.total_steps is None:  # the start of a longer schedule
            if total < run.steps:
                raise self._pattern_mismatch(f"this run has {run.steps}")
        elif total == run.steps:
            bounds = [_round_half_up(bound / total * run.total_steps) for bound in bounds]
        elif total != run.total_steps:
            place = f"has {run.steps}" if run.is_whole else f"is {run.steps} steps of a schedule of {run.total_steps}"
            raise self._pattern_mismatch(f"this run {place}")
        return Schedule(tuple(stages[bisect_right(bounds, step)] for step in range(first, first + run.steps)))

    def counts_otherwise(self, run: Trajectory) -> bool:
        """Whether a pattern with as many steps as `run` means other steps than those, since `run` is but a part."""
        if run.is_whole or self.pattern_steps != run.steps:
            return False
        return self.resolve(run).owners != tuple(stage for stage, steps in self.pattern for _ in range(steps))

    def _pattern_mismatch(self, run: str) -> StitchError:
        return StitchError(
            f"The pattern adds up to {self.pattern_steps} steps, but {run}: change the counts, or the steps of the"
            " sampler."
        )


class StageLookup:
    """The step, and so the stage, that a model call at noise level sigma belongs to.

    Step j covers (sigma_{j+1}, sigma_j], or [sigma_j, sigma_{j+1}) where the noise rises: a call on a boundary belongs
    to the later step, so that second-order solvers are well defined. Levels beyond an end belong to the step there.
    """

    def __init__(self, schedule: Schedule, sigmas: Sequence[float]) -> None:
        self._rises = sigmas[-1] > sigmas[0]
        starts = sigmas[:-1]
        order = sorted(range(len(starts)), key=lambda step: (starts[step], step if self._rises else -step))
        self._order, self._owners = order, schedule.owners
        self._starts = [starts[step] for step in order]

    def __call__(self, sigma: float) -> int:
        return self.owner(self.step(sigma))

    def owner(self, step: int) -> int:
        return self._owners[step]

    def step(self, sigma: float, precision: float = 0.0) -> int:
        """precision: the largest relative error of `sigma`, which takes on the precision of the latent."""
        tolerance = max(LEVEL_TOLERANCE, precision)
        if self._rises:
            index = bisect_right(self._starts, sigma * (1 + tolerance)) - 1
        else:
            index = bisect_left(self._starts, sigma * (1 - tolerance))
        return self._order[min(max(index, 0), len(self._order) - 1)]


def _below(levels: Sequence[float], splits: Sequence[float]) -> tuple[int, ...]:
    """Stage of each step. A step that starts exactly on a split still belongs to the earlier stage.

    As in Wan 2.2, whose first model has t >= 0.875.
    """
    return tuple(sum(start < split * (1 - LEVEL_TOLERANCE) for split in splits) for start in levels[:-1])


def _reached(levels: Sequence[float], splits: Sequence[float]) -> tuple[int, ...]:
    """The same for splits that are the first level of the later stage, as converted fractions are."""
    return tuple(sum(start <= split * (1 + LEVEL_TOLERANCE) for split in splits) for start in levels[:-1])


def check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise StitchError(f"{name} must be text, got {value!r}: write it, or connect a STRING.")


def splits_text(splits: object) -> str:
    """The value of a STRING, INT or FLOAT input as text. Raises StitchError."""
    if isinstance(splits, (int, float)) and not isinstance(splits, bool):
        return repr(splits)
    if not isinstance(splits, str):
        raise StitchError(f"splits must be text or a number, got {splits!r}: write it, or connect an INT or a FLOAT.")
    return splits


def read_number(name: str, value: object) -> float:
    """The value of a FLOAT, INT or STRING input as a number. Raises StitchError."""
    if isinstance(value, str) and re.fullmatch(NUMBER, value.strip()):
        return float(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        written = f'"{value.strip()}"' if isinstance(value, str) else f"{value!r}"
        raise StitchError(f"{name} must be a number such as 0.4, got {written}.")
    return float(value)


def parse_splits(text: str, unit: str, stages: int) -> tuple[float, ...]:
    """Numbers separated by commas or spaces, one fewer than there are models. Raises StitchError."""
    splits = read_splits(text)
    if len(splits) != stages - 1:
        needed = f"{stages - 1} split" + ("" if stages == 2 else "s")
        raise StitchError(f"{stages} models need {needed}, got {len(splits)}: edit splits, or connect as many models.")
    check_splits(splits, unit)
    return splits


def read_splits(text: str) -> tuple[float, ...]:
    words = [word for word in re.split(r"[\s,;]+", text.strip()) if word]
    if not all(re.fullmatch(NUMBER, word) for word in words):
        raise StitchError(f'splits must be numbers such as "0.4" or "0.3, 0.6", got "{text.strip()}".')
    return tuple(float(word) for word in words)


def check_schedule_text(splits: str | float | None, unit: str | None, pattern: str | None) -> None:
    """Check a node's texts before its models are known. None: the text comes over a link. Raises StitchError."""
    if pattern is None or unit is None:
        return
    if pattern.strip():
        parse_pattern(pattern, MAX_STAGES)
    elif splits is not None:
        check_splits(read_splits(splits_text(splits)), unit)


def check_splits(splits: Sequence[float], unit: str, name: str = "splits") -> None:
    """Raise StitchError unless `splits` are in range and in run order for `unit`."""
    check_choice("unit", unit, UNITS)
    for split in splits:
        if not math.isfinite(split) or split < 0:
            raise StitchError(f"{name} must be zero or above, got {split:g}.")
        if unit in MEANINGS and split > 1:
            what = MEANINGS[unit]
            raise StitchError(
                f"{name} in unit {unit} is {what} from 0 to 1, got {split:g}: lower it, or set unit to"
                f" {'step' if unit == 'steps' else 'sigma'}."
            )
        if unit == "step" and split != int(split):
            raise StitchError(f"{name} in unit step must be whole numbers, got {split:g}.")
    for earlier, later in pairwise(splits):
        if unit in ("steps", "step") and later < earlier:
            raise StitchError(f"{name} must rise: {earlier:g} comes before {later:g}.")
        if unit in ("timestep", "sigma", "noise") and later > earlier:
            raise StitchError(
                f"{name} in unit {unit} must fall, as the noise does: {earlier:g} comes before {later:g}."
            )


def parse_pattern(text: str, stages: int) -> tuple[tuple[int, int], ...]:
    """Run-length form such as "1x8 2x12": model number, x, steps. Raises StitchError."""
    found = []
    for word in re.split(r"[\s,;]+", text.strip(" \t\r\n,;")):
        match = re.fullmatch(r"([0-9]{1,9})(?:[xX*]([0-9]{1,9}))?", word)
        if not match:
            raise StitchError(f'pattern must look like "1x8 2x12" (model x steps), but has "{word}".')
        model, steps = int(match[1]), int(match[2] or 1)
        if not 1 <= model <= stages:
            raise StitchError(f"pattern names model {model}, but only models 1 to {stages} are connected.")
        if steps == 0:
            raise StitchError(f'pattern has "{word}", but an interval needs at least one step.')
        found.append((model - 1, steps))
    return tuple(found)


def _round_half_up(value: float) -> int:
    """Python rounds .5 to even; the paper's first round(r T) steps round it up. 0.29 * 50 counts as 14.5."""
    return math.floor(round(value, 9) + 0.5)
