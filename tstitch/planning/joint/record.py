"""The files that remember what was measured for a joint plan, and what was chosen. Plain values and JSON, no host."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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


def write_edges(folder: Path, key: Mapping[str, Any], edges: Edges) -> None:
    after = None if edges.after is None else _to_text(edges.after)
    content = {"sigmas": edges.sigmas, "models": edges.models, "alone": _to_text(edges.alone), "after": after}
    write_record(folder, "edges", key, content)


def read_edges(folder: Path, key: Mapping[str, Any]) -> Edges | None:
    found = read_record(folder, "edges", key)
    if found is None:
        return None
    try:
        return _edges(found)
    except (KeyError, TypeError, ValueError) as error:
        path = record_path(folder, "edges", key)
        logger.warning("T-Stitch ignores %s (its numbers are damaged: %s) and measures again.", path, error)
        return None


def _edges(found: Mapping[str, Any]) -> Edges:
    """Raises KeyError, TypeError or ValueError where `found` is something else."""
    sigmas, models = tuple(found["sigmas"]), int(found["models"])
    if not sigmas or not all(map(is_number, sigmas)) or sigmas[-1] != 0:
        raise ValueError("sigmas")
    pairs = all_pairs(len(sigmas))
    alone = _from_text(found["alone"]).reshape(models, len(pairs))
    if found["after"] is None:
        return Edges(sigmas, pairs, alone)
    triples = allowed_triples(sigmas)
    return Edges(sigmas, pairs, alone, triples, _from_text(found["after"]).reshape(models, models, len(triples)))


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
