"""Seconds per step of each model on this machine, and the files that cache them.

Plain numbers and JSON, no tensors and no host; `measure` fills it in.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...files import write_whole
from ..records import ModelMark, is_number

logger = logging.getLogger("tstitch")

FORMAT = "tstitch-profile"
VERSION = 3


@dataclass(frozen=True)
class ModelTiming:
    """One model's times in seconds."""

    step: float  # median of one step, with guidance, of a sampler with one call per step
    mean: float  # mean without far outliers: what many steps add up to
    spread: float  # interquartile range of the steps
    setup: float  # per run, besides `mean` per step: noise, conditioning, a slower first step
    load: float  # from the offload device to the first step, patches included
    peak_bytes: int | None  # largest memory in use on the device; None where it keeps no count
    repeats: int  # steps that were timed


@dataclass(frozen=True)
class Profile:
    """The times of a set of models in one setting."""

    models: tuple[ModelMark, ...]  # in run order, the finishing model last
    timings: tuple[ModelTiming, ...]
    device: str
    latent_shape: tuple[int, ...]
    guided: tuple[bool, ...]  # of each model: cfg is not 1, so a step calls it on positive and negative
    together: bool  # all models fit on the device at once, so that a switch loads nothing
    given_shape: tuple[int, ...] = ()  # of the latent before the host fitted it to the model, if it was empty

    def seconds(self, counts: Sequence[int], loads: Sequence[int]) -> float:
        """Seconds of a run with `counts` steps of each model, each loaded `loads` times (free where all stay)."""
        return sum(
            count * timing.mean + (timing.setup if count else 0.0) + (0.0 if self.together else load * timing.load)
            for timing, count, load in zip(self.timings, counts, loads, strict=True)
        )

    def table(self) -> str:
        """Markdown, one row per model."""
        header = ["model", "", "ms per step", "spread", "speed", "load s", "peak memory"]
        rows = [header, [":--", ":--", *["--:"] * 5]]
        base = self.timings[-1].step
        for number, (mark, timing) in enumerate(zip(self.models, self.timings, strict=True), 1):
            peak = "unknown" if timing.peak_bytes is None else f"{timing.peak_bytes / 2**30:.2f} GiB"
            rows.append(
                [
                    f"{number}" if number < len(self.models) else f"{number} (final)",
                    mark.name,
                    milliseconds(timing.step),
                    f"± {50 * timing.spread / timing.step:.1f} %",
                    f"{base / timing.step:.2f}x",
                    f"{timing.load:.2g}",
                    peak,
                ]
            )
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        shape = " x ".join(map(str, self.latent_shape))
        fit = "all models fit on the device" if self.together else "the models do not fit together: switches load"
        return "\n".join([*lines, "", f"{self.device}; latent {shape}; {self._calls()}; {fit}."])

    def _calls(self) -> str:
        if all(self.guided):
            return "positive and negative"
        if not any(self.guided):
            return "cfg 1: positive only"
        unguided = [str(number) for number, guided in enumerate(self.guided, 1) if not guided]
        return f"positive and negative, but model {', '.join(unguided)} at cfg 1: positive only"


def milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def cache_path(folder: Path, key: Mapping[str, Any]) -> Path:
    """The file of a measurement; `key` holds everything that changes it."""
    return folder / f"{hashlib.blake2b(_canonical(key).encode(), digest_size=12).hexdigest()}.json"


def read_timing(folder: Path, key: Mapping[str, Any]) -> ModelTiming | None:
    """An earlier measurement with the same `key`; a damaged or foreign file counts as none, with one warning."""
    path = cache_path(folder, key)
    try:
        return _parsed(path.read_text(encoding="utf-8"), key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("T-Stitch ignores the profile %s (%s) and measures again.", path, error)
        return None


def _parsed(text: str, key: Mapping[str, Any]) -> ModelTiming:
    """Raises ValueError where `text` is not what was written for `key`."""
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
        raise ValueError(f"it is no {FORMAT} of version {VERSION}")
    if _canonical(found.get("key")) != _canonical(key):
        raise ValueError("it is of another setting")
    timing = _timing(found.get("timing"))
    if timing is None:
        raise ValueError("its numbers are damaged")
    return timing


def write_timing(folder: Path, key: Mapping[str, Any], timing: ModelTiming) -> None:
    """A disk error costs a warning, not the run."""
    path = cache_path(folder, key)
    content = {"format": FORMAT, "version": VERSION, "key": key, "timing": asdict(timing)}
    try:
        write_whole(path, json.dumps(content, indent=1))
    except OSError as error:
        logger.warning("T-Stitch could not save the profile %s: %s", path, error)


def _timing(values: Any) -> ModelTiming | None:
    names = {field.name for field in fields(ModelTiming)}
    if not isinstance(values, dict) or set(values) != names:
        return None
    for name, value in values.items():
        if value is None and name == "peak_bytes":
            continue
        if not is_number(value) or value < 0:
            return None
    return ModelTiming(**values) if min(values["step"], values["mean"]) > 0 else None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
