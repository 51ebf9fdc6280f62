"""Noise levels of a run in which each stage has its own number of steps, and meets the next at its boundary."""

from __future__ import annotations

import copy
import inspect
import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from comfy.samplers import KSampler, calculate_sigmas
from torch import Tensor

from .checks.choices import check_choice
from .errors import StitchError
from .schedule import LEVEL_TOLERANCE, MAX_STAGES, NUMBER, Schedule, check_splits, parse_splits, read_splits
from .stitch.model import joined_spec
from .trajectory import largest_timestep, sigma_of_noise, sigma_of_timestep

UNITS = ("steps", "timestep", "sigma", "noise")
MOST_STEPS = 10_000
FINE = (1000, 500, 200, 100, 50)  # steps of the schedule that is read as a curve: the most of which none coincide
COARSE = 8  # of the one that tells how it ends


@dataclass(frozen=True)
class OwnSteps:
    """What a person writes: numbers of steps, where the stages meet, and a shift for each or none."""

    steps: tuple[int, ...]
    splits: tuple[float, ...]
    unit: str
    scheduler: str
    shifts: tuple[float, ...] = ()

    @classmethod
    def parse(cls, steps: str, splits: str, unit: str, scheduler: str, shifts: str) -> OwnSteps:
        """Read the texts of the node. Raises StitchError."""
        check_choice("unit", unit, UNITS)
        check_choice("scheduler", scheduler, KSampler.SCHEDULERS)
        counts = parse_steps(steps)
        found = parse_splits(splits, unit, len(counts)) if splits.strip() or len(counts) > 1 else ()
        return cls(counts, found, unit, scheduler, parse_shifts(shifts, len(counts)))

    @property
    def pattern(self) -> str:
        return " ".join(f"{stage}x{count}" for stage, count in enumerate(self.steps, 1))

    def sigmas(self, model_sampling: Any) -> Tensor:
        """(T + 1,) falling to 0. Raises StitchError where the boundaries leave a stage no room."""
        curves = [Curve.of(model_sampling, self.scheduler, shift) for shift in self.shifts or (None,) * len(self.steps)]
        inner = boundaries(self.splits, self.unit, self.scheduler, model_sampling)
        bounds = [curves[0].levels[0], *inner, 0.0]
        self._check(bounds)
        levels = [bounds[0]]
        for stage, (curve, count) in enumerate(zip(curves, self.steps, strict=True)):
            levels += curve.between(bounds[stage], bounds[stage + 1], count)
        sigmas = torch.tensor(levels, dtype=torch.float32)
        if bool((sigmas[1:] >= sigmas[:-1]).any()):
            raise StitchError(
                "The steps lie closer than the scheduler can tell apart: take fewer of them, or another scheduler."
            )
        return sigmas

    def _check(self, bounds: Sequence[float]) -> None:
        for stage, (start, stop) in enumerate(pairwise(bounds), 1):
            if stop >= start or (stop <= 0 and stage < len(self.steps)):
                raise StitchError(
                    f"Stage {stage} has {self.steps[stage - 1]} steps, but no noise between its boundaries (sigma"
                    f" {start:.4g} to {stop:.4g}): move the splits, or leave the stage out."
                )


@dataclass(frozen=True)
class OwnTimesteps:
    """The starts of all steps, as the authors of a distilled model list them, and where the stages meet."""

    timesteps: tuple[float, ...]  # in thousandths, or as the model's own embedding counts
    splits: tuple[float, ...]
    unit: str
    scheduler: str

    @classmethod
    def parse(cls, timesteps: str, splits: str, unit: str, scheduler: str, shifts: str) -> OwnTimesteps:
        """Read the texts of the node. Raises StitchError."""
        check_choice("unit", unit, UNITS)
        check_choice("scheduler", scheduler, KSampler.SCHEDULERS)
        if shifts.strip():
            raise StitchError(
                "shifts do not apply to a list of timesteps, which are noise levels already: clear one of them."
            )
        found = read_splits(splits)
        check_splits(found, unit)
        return cls(parse_timesteps(timesteps), found, unit, scheduler)

    def plan(self, model_sampling: Any) -> tuple[Tensor, str]:
        """Noise levels falling to 0, and the pattern. Raises StitchError where a stage has no step."""
        top = largest_timestep(model_sampling)
        parts = [min(t / top, 1.0) if t <= max(top, 1000.0) else t for t in self.timesteps]
        if max(parts) > 1:
            raise StitchError(
                f"timesteps go down from {top:g} for this model, got {max(self.timesteps):g}: lower them."
            )
        levels = [sigma_of_timestep(part, model_sampling) for part in parts]
        sigmas = torch.tensor([*levels, 0.0], dtype=torch.float32)
        if bool((sigmas[1:] >= sigmas[:-1]).any()):
            raise StitchError("The timesteps lie closer than the model can tell apart: leave some out.")
        bounds = boundaries(self.splits, self.unit, self.scheduler, model_sampling)
        owners = [sum(level < bound * (1 - LEVEL_TOLERANCE) for bound in bounds) for level in levels]
        empty = sorted(set(range(len(bounds) + 1)) - set(owners))
        if empty:
            starts = ", ".join(f"{bound:.4g}" for bound in bounds)
            raise StitchError(
                f"None of the {len(levels)} timesteps belongs to stage {empty[0] + 1} (the stages meet at sigma"
                f" {starts}): move the splits, or change the list."
            )
        return sigmas, Schedule(tuple(owners)).pattern


def boundaries(splits: Sequence[float], unit: str, scheduler: str, model_sampling: Any) -> list[float]:
    """The sigmas at which the stages meet."""
    if unit == "sigma":
        return list(splits)
    if unit == "timestep":
        return [sigma_of_timestep(split, model_sampling) for split in splits]
    if unit == "noise":
        return [sigma_of_noise(split, model_sampling) for split in splits]
    whole = Curve.of(model_sampling, scheduler)
    return [whole.at(split) for split in splits]


def splits_of(model: Any, splits: str, unit: str) -> tuple[str, str]:
    """Splits and unit as written, or those of a joined MODEL. Raises StitchError."""
    spec = None if splits.strip() else joined_spec(model)
    if spec is None:
        return splits, unit
    if spec.pattern:
        raise StitchError(
            "The joined MODEL has a pattern in place of splits, which says no noise level: write the splits here."
        )
    if spec.unit not in UNITS:
        raise StitchError(
            f"The joined MODEL is split in unit {spec.unit}, which own numbers of steps would move: write the splits"
            " here, in another unit."
        )
    return ", ".join(map(repr, spec.splits)), spec.unit


@dataclass(frozen=True)
class Curve:
    """A scheduler's levels over the part of the steps, read from a run of many."""

    levels: tuple[float, ...]  # falling, evenly over the steps
    drops: bool  # the last step leads from the lowest level to 0, however many steps there are

    @classmethod
    def of(cls, model_sampling: Any, scheduler: str, shift: float | None = None) -> Curve:
        """Raises StitchError for a shift that the model has none of, and for a scheduler that does not fall to 0."""
        sampling = model_sampling if shift is None else shifted(model_sampling, shift)
        fine: list[float] = []
        for steps in FINE:
            fine = calculate_sigmas(sampling, scheduler, steps).tolist()
            if len(fine) >= steps:
                break
        coarse = calculate_sigmas(sampling, scheduler, COARSE).tolist()
        if fine[-1] > 0 or any(later > earlier for earlier, later in pairwise(fine)):
            raise StitchError(f"The scheduler {scheduler} does not fall to 0 here: choose another, such as simple.")
        drops = math.isclose(fine[-2], coarse[-2], rel_tol=1e-3)
        return cls(tuple(fine[:-1] if drops else fine), drops)

    def at(self, part: float) -> float:
        """The level at a part of the steps."""
        place = min(max(part, 0.0), 1.0) * (len(self.levels) - 1)
        below = min(int(place), len(self.levels) - 2)
        weight = place - below
        return self.levels[below] * (1 - weight) + self.levels[below + 1] * weight

    def part_of(self, level: float) -> float:
        """The other way round."""
        last = len(self.levels) - 1
        above = bisect_left(self.levels, -level, key=lambda each: -each)
        if above == 0:
            return 0.0
        if above > last:
            return 1.0
        left, right = self.levels[above - 1], self.levels[above]
        return (above - 1 + (left - level) / (left - right)) / last

    def between(self, start: float, stop: float, count: int) -> list[float]:
        """The ends of `count` steps from one level down to another, as dense as the scheduler has them there."""
        inner = count - 1 if stop <= 0 and self.drops else count
        if inner == 0:
            return [stop]
        first, last = self.part_of(start), self.part_of(stop)
        ends = [self.at(first + (last - first) * step / inner) for step in range(1, inner + 1)]
        if inner == count:
            ends[-1] = stop
            return ends
        return [*ends, stop]


def shifted(model_sampling: Any, shift: float) -> Any:
    """The sampling of a flow model with another time shift. Raises StitchError where it has none."""
    set_parameters = getattr(model_sampling, "set_parameters", None)
    if set_parameters is None or not hasattr(model_sampling, "shift"):
        raise StitchError("This model has no shift of its own: clear shifts, which are for flow models.")
    found = copy.deepcopy(model_sampling)
    accepted = inspect.signature(set_parameters).parameters
    kept = {name: getattr(model_sampling, name) for name in ("multiplier",) if name in accepted}
    found.set_parameters(shift=shift, **{name: value for name, value in kept.items() if value is not None})
    return found


def parse_steps(text: str) -> tuple[int, ...]:
    """Whole numbers such as "3, 3, 4", one per stage. Raises StitchError."""
    words = [word for word in re.split(r"[\s,;]+", text.strip()) if word]
    if not words or not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
        raise StitchError(f'steps must be whole numbers such as "3, 3, 4", one for each stage, got "{text.strip()}".')
    counts = tuple(map(int, words))
    if len(counts) > MAX_STAGES:
        raise StitchError(f"steps has {len(counts)} stages, but at most {MAX_STAGES} models run together.")
    if min(counts) < 1 or sum(counts) > MOST_STEPS:
        raise StitchError(
            f"Each stage takes 1 step or more, {MOST_STEPS} together at most, got {text.strip()}: leave a stage without"
            " steps out."
        )
    return counts


def parse_timesteps(text: str) -> tuple[float, ...]:
    """Numbers such as "1000, 937.5, 833.3, 625" that fall, all above 0. Raises StitchError."""
    words = [word for word in re.split(r"[\s,;]+", text.strip()) if word]
    if not words or not all(re.fullmatch(NUMBER, word) and 0 < float(word) < math.inf for word in words):
        raise StitchError(
            f'timesteps must be numbers above 0 such as "1000, 937.5, 833.3, 625", got "{text.strip()}"; the run'
            " ends at 0 by itself."
        )
    if len(words) > MOST_STEPS:
        raise StitchError(f"timesteps has {len(words)} steps, at most {MOST_STEPS} can run.")
    found = tuple(map(float, words))
    for before, now in pairwise(found):
        if now >= before:
            raise StitchError(f"timesteps must fall, as the noise does: {before:g} comes before {now:g}.")
    return found


def parse_shifts(text: str, stages: int) -> tuple[float, ...]:
    """Numbers above 0, one per stage, or none. Raises StitchError."""
    words = [word for word in re.split(r"[\s,;]+", text.strip()) if word]
    if not all(re.fullmatch(NUMBER, word) and 0 < float(word) < math.inf for word in words):
        raise StitchError(f'shifts must be numbers above 0 such as "5, 8", got "{text.strip()}".')
    if words and len(words) != stages:
        raise StitchError(f"{stages} stages need {stages} shifts, or none, got {len(words)}.")
    return tuple(map(float, words))


def check_own_steps(
    steps: str | None, splits: str | None, unit: str | None, shifts: str | None, timesteps: str | None = ""
) -> None:
    """What can be said before the model is known; None is a text that comes over a link. Raises StitchError.

    Without splits those of a joined MODEL count.
    """
    if timesteps is None:
        return
    if timesteps.strip():
        parse_timesteps(timesteps)
        if splits is not None and unit is not None:
            check_splits(read_splits(splits), unit)
        return
    if steps is not None:
        counts = parse_steps(steps)
        if shifts is not None:
            parse_shifts(shifts, len(counts))
        if splits is not None and unit is not None and splits.strip():
            check_splits(parse_splits(splits, unit, len(counts)), unit)
