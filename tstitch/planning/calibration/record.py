"""Calibration of a set of models: how far each one's predictions are from the finishing model's.

Plain numbers and JSON, no tensors and no host; `measure` fills it in.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import accumulate, pairwise
from typing import Any

from ...errors import StitchError
from ...schedule import MAX_STAGES
from ..joint.record import StepErrors
from ..records import ModelMark, is_number

FORMAT = "tstitch-calibration"
VERSION = 1

ORDERS = ("small first", "large-small-large", "large first", "either")
LARGEST_LOG = 300  # of an amplitude: that of the largest float32 is 89
CLEARLY_MORE = 1.1  # times as large, so that an order is worth a choice

Rows = tuple[tuple[float, ...], ...]  # [model][step]


@dataclass(frozen=True)
class Calibration:
    """Each model's denoised predictions x0 against the base model's, on the base model's own trajectory.

    Means and spreads (standard deviations) are over all samples: every seed and every item of the batch. The rows of
    the base model are those of a perfect match.
    """

    models: tuple[ModelMark, ...]  # in run order, the base model last
    timesteps: tuple[float, ...]  # noise level t in [0, 1] at the start of each step, falling
    sigmas: tuple[float, ...]  # the same levels as the base model's sigma
    relative_error: Rows  # |x0 - x0_base| / |x0_base|
    relative_error_spread: Rows
    cosine: Rows  # similarity of x0 and x0_base
    cosine_spread: Rows
    noise_error: Rows  # |eps - eps_base| / |eps|, which is |x0 - x0_base| a / (b |eps|) for x = a x0 + b eps
    seeds: tuple[int, ...]
    samples: int  # seeds x batch
    steps: int
    sampler: str
    scheduler: str
    cfg: float
    small_cfg: float  # of all models but the base model
    frequencies: tuple[float, ...] = ()  # centres of the bands, 1 = the highest the latent can hold
    log_amplitude: tuple[Rows, ...] = ()  # [model][step][band]: natural log of the mean amplitude of x0
    step_errors: StepErrors | None = None  # for joint plans, where they were recorded

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise StitchError(f"The calibration is damaged ({problem}): calibrate again, or take another file.")

    @property
    def base(self) -> ModelMark:
        return self.models[-1]

    def errors_at(self, timesteps: Sequence[float]) -> Rows:
        """Error of giving a step at each of `timesteps` to each model: [model][step].

        This is `noise_error`, linear in t between the calibrated levels and constant beyond them. x0 is a guess at high
        noise and nearly x itself at low noise, so the relative error of x0 falls with the noise whatever is lost; what
        an error changes in the distribution of the results is measured against the noise that covers it (theorem 1
        of arXiv 2101.09258).
        """
        return tuple(tuple(_interpolated(self.timesteps, row, t) for t in timesteps) for row in self.noise_error)

    def fraction_within(self, tolerance: float, model: int = 0) -> float:
        """The longest run of first steps whose `noise_error` is within `tolerance`, as a fraction."""
        row = self.noise_error[model]
        return next((step for step, error in enumerate(row) if error > tolerance), len(row)) / len(row)

    def splits_within(self, tolerance: float) -> tuple[float, ...]:
        """One split per model besides the base model, rising: each ends where its error exceeds `tolerance`."""
        fractions = [self.fraction_within(tolerance, model) for model in range(len(self.models) - 1)]
        return tuple(accumulate(fractions, max))

    def errors_by_part(self, model: int = 0) -> tuple[float, float, float]:
        """Mean `noise_error` over the early, the middle and the late third of the steps."""
        row = self.noise_error[model]
        bounds = [round(part * len(row) / 3) for part in range(4)]
        parts = [row[start:stop] or (row[min(start, len(row) - 1)],) for start, stop in pairwise(bounds)]
        early, middle, late = (sum(part) / len(part) for part in parts)
        return early, middle, late

    def order(self, model: int = 0) -> str:
        """The recommended order of `model` and the base model: one of `ORDERS`."""
        parts = self.errors_by_part(model)
        if max(parts) <= min(parts) * CLEARLY_MORE:
            return "either"
        return ORDERS[parts.index(min(parts))]

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote. Raises StitchError for anything else."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise StitchError(
                "The file is not JSON, so it holds no calibration: take one that Save Calibration wrote."
            ) from None
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise StitchError("The file is JSON, but no calibration: take one that Save Calibration wrote.")
        if found.get("version") != VERSION:
            raise StitchError(
                f"The calibration has format version {found.get('version')}, this pack reads version {VERSION}: update"
                " the pack, or calibrate again."
            )
        try:
            found.setdefault("small_cfg", found["cfg"])  # absent in the first files
            found.setdefault("step_errors", None)  # absent where none were recorded
            values = {field.name: _frozen(found[field.name]) for field in fields(cls)}
            values["models"] = tuple(ModelMark(**mark) for mark in found["models"])
            if found["step_errors"] is not None:
                values["step_errors"] = StepErrors.from_json(found["step_errors"], len(values["models"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StitchError(f"The calibration is damaged ({error}): calibrate again, or take another file.") from None
        return cls(**values)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _interpolated(levels: Sequence[float], values: Sequence[float], t: float) -> float:
    """`values` belong to `levels`, which fall."""
    above = bisect_left(levels, -t, key=lambda level: -level)  # first level that is not above t
    if above == 0:
        return values[0]
    if above == len(levels):
        return values[-1]
    left, right = levels[above - 1], levels[above]
    weight = (left - t) / (left - right)
    return values[above - 1] * (1 - weight) + values[above] * weight


def _problems(found: Calibration) -> list[str]:
    """Why `found` is not a calibration, in words; the JSON may hold anything."""
    if not (isinstance(found.models, tuple) and 2 <= len(found.models) <= MAX_STAGES):
        return [f"it needs 2 to {MAX_STAGES} models"]
    if not all(isinstance(text, str) for mark in found.models for text in (mark.name, mark.identity)):
        return ["a model's name or identity is no text"]
    if not (_is_row(found.timesteps) and found.timesteps and found.timesteps[0] <= 1 and found.timesteps[-1] >= 0):
        return ["timesteps must be numbers from 1 to 0"]
    if any(later >= earlier for earlier, later in pairwise(found.timesteps)):
        return ["timesteps must fall"]
    length = len(found.timesteps)
    if not _is_row(found.sigmas, length):
        return [f"sigmas must be {length} numbers"]
    names = ("relative_error", "relative_error_spread", "cosine", "cosine_spread", "noise_error")
    wrong = [name for name in names if not _is_table(getattr(found, name), len(found.models), length)]
    if wrong:
        return [f"{wrong[0]} must have {length} numbers for each of {len(found.models)} models"]
    if min(map(min, found.noise_error)) < 0:
        return ["noise_error must be 0 or more"]
    if any(found.relative_error[-1]) or any(found.noise_error[-1]):
        return ["the error of the base model must be 0"]
    return _problems_of_run(found) + _problems_of_spectrum(found, length)


def _problems_of_run(found: Calibration) -> list[str]:
    numbers = (found.seeds, (found.samples, found.steps, found.cfg, found.small_cfg))
    if not all(_is_row(row) for row in numbers):
        return ["seeds, samples, steps, cfg and small_cfg must be numbers"]
    if not (isinstance(found.sampler, str) and isinstance(found.scheduler, str)):
        return ["sampler and scheduler must be names"]
    return []


def _problems_of_spectrum(found: Calibration, length: int) -> list[str]:
    bands = len(found.frequencies) if _is_row(found.frequencies) else 0
    if not bands:
        return [] if found.frequencies == () and found.log_amplitude == () else ["frequencies must be numbers"]
    tables = found.log_amplitude
    if not isinstance(tables, tuple) or len(tables) != len(found.models):
        return ["log_amplitude must have one table per model"]
    if not all(_is_table(table, length, bands) for table in tables):
        return [f"log_amplitude must have {bands} numbers a step"]
    if any(abs(value) > LARGEST_LOG for table in tables for row in table for value in row):
        return [f"log_amplitude must lie between -{LARGEST_LOG} and {LARGEST_LOG}"]
    return []


def _is_table(value: Any, rows: int, columns: int) -> bool:
    return isinstance(value, tuple) and len(value) == rows and all(_is_row(row, columns) for row in value)


def _is_row(value: Any, length: int | None = None) -> bool:
    if not isinstance(value, tuple) or (length is not None and len(value) != length):
        return False
    return all(is_number(item) for item in value)
