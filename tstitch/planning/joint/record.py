"""The files that remember what was measured for a joint plan, and what was chosen. Plain values and JSON, no host."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...files import write_whole
from ..records import is_number
from .candidates import Candidate
from .edges import Edges, all_pairs, allowed_triples
from .graph import Floats

logger = logging.getLogger("tstitch")

VERSION = 1


@dataclass(frozen=True)
class Trial:
    """A candidate that was run on seeds of its own."""

    candidate: Candidate
    distance: float  # |x0 - x0 of the fine run| / |x0 of the fine run|


@dataclass(frozen=True)
class AutoPlan:
    """What was tried for one speed-up, the closest to the fine run first."""

    options: tuple[str, ...]  # in run order, the finishing model last
    trials: tuple[Trial, ...]
    base_seconds: float  # of the run without a plan
    base_steps: int

    @property
    def chosen(self) -> Candidate:
        return self.trials[0].candidate

    @property
    def speed_up(self) -> float:
        return self.base_seconds / self.chosen.seconds


def to_record(kind: str, key: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    return json.dumps({"format": f"tstitch-{kind}", "version": VERSION, "key": key, **content}, indent=1)


def write_record(folder: Path, kind: str, key: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """A disk that refuses costs a warning, not the run."""
    path = record_path(folder, kind, key)
    try:
        write_whole(path, to_record(kind, key, content))
    except OSError as error:
        logger.warning("T-Stitch could not save %s: %s", path, error)


def read_record(folder: Path, kind: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was written under `key`; a damaged or foreign file counts as none, with a warning."""
    path = record_path(folder, kind, key)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("format") != f"tstitch-{kind}" or found.get("version") != VERSION:
            raise ValueError(f"it is no tstitch-{kind} of version {VERSION}")
        if canonical(found.get("key")) != canonical(key):
            raise ValueError("it is of another setting")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("T-Stitch ignores %s (%s) and measures again.", path, error)
        return None
    return found


def record_path(folder: Path, kind: str, key: Mapping[str, Any]) -> Path:
    return folder / f"{kind}-{hashlib.blake2b(canonical(key).encode(), digest_size=12).hexdigest()}.json"


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class EdgeTable:
    """Edges as plain values."""

    sigmas: tuple[float, ...]
    models: int
    alone: str  # float32 in base64
    after: str | None

    @classmethod
    def of(cls, edges: Edges) -> EdgeTable:
        after = None if edges.after is None else _to_text(edges.after)
        return cls(edges.sigmas, edges.models, _to_text(edges.alone), after)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> EdgeTable:
        """Raises KeyError, TypeError or ValueError where `found` is something else."""
        table = cls(tuple(found["sigmas"]), int(found["models"]), found["alone"], found["after"])
        table.edges()
        return table

    def edges(self) -> Edges:
        """Raises TypeError or ValueError for damaged numbers."""
        sigmas = self.sigmas
        if not sigmas or not all(map(is_number, sigmas)) or sigmas[-1] != 0:
            raise ValueError("sigmas")
        if any(later >= earlier for earlier, later in pairwise(sigmas)):
            raise ValueError("sigmas")
        pairs = all_pairs(len(sigmas))
        alone = _from_text(self.alone).reshape(self.models, len(pairs))
        if self.after is None:
            return Edges(sigmas, pairs, alone)
        triples = allowed_triples(sigmas)
        after = _from_text(self.after).reshape(self.models, self.models, len(triples))
        return Edges(sigmas, pairs, alone, triples, after)


@dataclass(frozen=True)
class StockRun:
    """The scheduler itself with some number of steps of the finishing model."""

    sigmas: tuple[float, ...]
    error: float | None  # as the steps of a plan add up; None where its levels are too close to tell apart
    held_out_error: float | None

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> StockRun:
        """Raises KeyError, TypeError or ValueError where `found` is something else."""
        sigmas, errors = tuple(found["sigmas"]), (found["error"], found["held_out_error"])
        if len(sigmas) < 2 or not all(map(is_number, (*sigmas, *(error for error in errors if error is not None)))):
            raise ValueError("stock")
        return cls(sigmas, *errors)


@dataclass(frozen=True)
class StepErrors:
    """What a joint plan is made from: the errors of all steps between many levels, on two sets of samples."""

    planned: EdgeTable
    held_out: EdgeTable  # of other seeds, on which plans are compared
    stock: tuple[StockRun, ...]  # by the number of steps, from 1
    networks: tuple[int, ...]  # of each model: a switch between models of one number loads nothing
    samples: int
    held_out_samples: int

    def stock_of(self, steps: int) -> StockRun:
        """With so many steps, or the most that are known."""
        return self.stock[min(steps, len(self.stock)) - 1]

    @classmethod
    def from_json(cls, found: Mapping[str, Any], models: int) -> StepErrors:
        """Raises KeyError, TypeError or ValueError where `found` is something else, or not of so many models."""
        planned, held_out = (EdgeTable.from_json(found[name]) for name in ("planned", "held_out"))
        networks = tuple(map(int, found["networks"]))
        if not (planned.models == held_out.models == len(networks) == models and planned.sigmas == held_out.sigmas):
            raise ValueError("models")
        if (planned.after is None) != (held_out.after is None):
            raise ValueError("solver")
        stock = tuple(map(StockRun.from_json, found["stock"]))
        return cls(planned, held_out, stock, networks, int(found["samples"]), int(found["held_out_samples"]))


def write_edges(folder: Path, key: Mapping[str, Any], edges: Edges) -> None:
    write_record(folder, "edges", key, asdict(EdgeTable.of(edges)))


def read_edges(folder: Path, key: Mapping[str, Any]) -> Edges | None:
    found = read_record(folder, "edges", key)
    if found is None:
        return None
    try:
        return EdgeTable.from_json(found).edges()
    except (KeyError, TypeError, ValueError) as error:
        path = record_path(folder, "edges", key)
        logger.warning("T-Stitch ignores %s (its numbers are damaged: %s) and measures again.", path, error)
        return None


def _to_text(values: Floats) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _from_text(text: str) -> Floats:
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("errors")
    return values


def write_plan(folder: Path, key: Mapping[str, Any], plan: AutoPlan) -> None:
    write_record(folder, "plan", key, {"plan": asdict(plan)})


def read_plan(folder: Path, key: Mapping[str, Any]) -> AutoPlan | None:
    found = read_record(folder, "plan", key)
    if found is None:
        return None
    try:
        return _plan(found["plan"])
    except (KeyError, TypeError, ValueError) as error:
        path = record_path(folder, "plan", key)
        logger.warning("T-Stitch ignores %s (it is damaged: %s) and plans again.", path, error)
        return None


def _plan(found: Mapping[str, Any]) -> AutoPlan:
    """Raises KeyError, TypeError or ValueError where `found` is something else."""
    trials = tuple(Trial(_candidate(each["candidate"]), float(each["distance"])) for each in found["trials"])
    if not trials:
        raise ValueError("no trials")
    options = tuple(map(str, found["options"]))
    if any(not 0 <= owner < len(options) for trial in trials for owner in trial.candidate.owners):
        raise ValueError("owners")
    return AutoPlan(options, trials, float(found["base_seconds"]), int(found["base_steps"]))


def _candidate(found: Mapping[str, Any]) -> Candidate:
    sigmas, owners = tuple(map(float, found["sigmas"])), tuple(map(int, found["owners"]))
    if len(sigmas) != len(owners) + 1 or not owners or not all(map(is_number, sigmas)):
        raise ValueError("sigmas")
    error = found["error"]
    seconds = float(found["seconds"])
    if not seconds > 0:
        raise ValueError("seconds")
    return Candidate(str(found["kind"]), sigmas, owners, seconds, None if error is None else float(error))
