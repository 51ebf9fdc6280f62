"""The same noise sampled with several schedules of two models, one after another."""

from __future__ import annotations

import hashlib
import logging
import re
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import comfy.model_management as mm
import comfy.sample
import comfy.utils
import latent_preview
import torch
from comfy.samplers import KSampler
from torch import Tensor

from ..checks.inputs import check_single_latent
from ..errors import StitchError
from ..host.latents import samples_for
from ..schedule import NUMBER, Schedule, ScheduleSpec, check_splits, check_text, parse_pattern
from ..stitch.model import ModelStage, stitched_for_one_run
from ..stitch.report import Report
from ..stitch.run import Stitch
from ..trajectory import check_sampler, check_sigmas, ksampler_schedule, read_trajectory

logger = logging.getLogger("tstitch")

NAMES = ("small_model", "model")
MAX_ENTRIES = 32
SMALL, LARGE = 0, 1


@dataclass(frozen=True)
class Entry:
    """One schedule of a sweep, and the text it was written as."""

    label: str
    spec: ScheduleSpec


def parse_entries(text: str, unit: str) -> list[Entry]:
    """Splits separated by commas, spaces or lines, or patterns such as "1x8 2x12", one per line. Raises StitchError."""
    check_text("fractions", text)
    entries: list[Entry] = []
    for line in text.splitlines():
        if re.search(r"[0-9]\s*[xX*]", line):
            entries.append(Entry(line.strip(), ScheduleSpec(2, unit=unit, pattern=parse_pattern(line, 2))))
            continue
        for word in re.split(r"[\s,;]+", line):
            if not word:
                continue
            if not re.fullmatch(NUMBER, word):
                raise StitchError(f'fractions must be numbers such as "0, 0.4, 1", or patterns, but has "{word}".')
            check_splits((float(word),), unit, "fractions")
            entries.append(Entry(word, ScheduleSpec(2, (float(word),), unit)))
    if not 1 <= len(entries) <= MAX_ENTRIES:
        count = "is empty" if not entries else f"has {len(entries)} entries"
        raise StitchError(f"fractions {count}: a sweep takes 1 to {MAX_ENTRIES}, such as 0, 0.2, 0.4, 0.6, 0.8, 1.")
    return entries


@dataclass(frozen=True)
class Run:
    """A finished entry."""

    entry: Entry
    schedule: Schedule
    samples: Tensor
    seconds: float

    @property
    def small_steps(self) -> int:
        return self.schedule.owners.count(SMALL)


@dataclass(frozen=True)
class Sweep:
    """Shared by all entries: the inputs of a KSampler, and the small model."""

    model: Any
    small: ModelStage
    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    positive: Any
    negative: Any
    latent: dict[str, Any]
    denoise: float
    memory: str
    sigmas: Tensor | None = None  # in place of steps, scheduler and denoise

    def run(self, entries: Sequence[Entry]) -> list[Run]:
        """Sample every entry; runs finished by an earlier or interrupted sweep of the same inputs are reused.

        Raises StitchError before anything is sampled if an entry does not fit the run.
        """
        check_single_latent(self.latent)
        if self.sigmas is not None:
            check_sigmas("sigmas", self.sigmas)
        schedules = [self._schedule(entry) for entry in entries]
        done = FINISHED.of(self)
        missing = list(dict.fromkeys(schedule.owners for schedule in schedules if schedule.owners not in done))
        progress = Progress(self.model, len(schedules[0].owners), len(missing))
        try:
            if missing:
                self._warm_up({stage for owners in missing for stage in owners})
            for entry, schedule in zip(entries, schedules, strict=True):
                if schedule.owners not in done:
                    done[schedule.owners] = self._sample(entry, progress.next_run())
        except BaseException:
            if done:
                logger.info(
                    "The sweep keeps %d finished runs: the same inputs, queued again, go on from there.", len(done)
                )
            raise
        return [
            Run(entry, schedule, *done[schedule.owners]) for entry, schedule in zip(entries, schedules, strict=True)
        ]

    def _schedule(self, entry: Entry) -> Schedule:
        sampling = self.model.get_model_object("model_sampling")
        if self.sigmas is not None:
            check_sampler(self.sampler_name, self.scheduler)
            return entry.spec.resolve(read_trajectory(self.sigmas, sampling))
        sampler = KSampler(
            *(self.model, self.steps, self.model.load_device, self.sampler_name, self.scheduler, self.denoise),
            model_options={},
        )
        if len(sampler.sigmas) < 2:
            raise StitchError(f"denoise is {self.denoise:g}, so there is nothing to sample: raise it.")
        whole = ksampler_schedule(self.model, self.steps, self.sampler_name, self.scheduler, self.denoise)
        return entry.spec.resolve(read_trajectory(sampler.sigmas, sampling, whole))

    def _warm_up(self, stages: set[int]) -> None:
        """Load the models and let the device choose its kernels, so that the first run is not slower."""
        fraction = 0.5 if len(stages) == 2 else float(SMALL in stages)  # some schedulers make more than the two steps
        short = replace(self, steps=2, denoise=1.0, sigmas=None)
        short._sample(Entry("warm-up", ScheduleSpec(2, (fraction,), "steps")), _stop_on_interrupt)

    def _sample(self, entry: Entry, callback: Callable[..., None]) -> tuple[Tensor, float]:
        """As the host's KSampler samples, or SamplerCustom where there are sigmas."""
        whole = None
        if self.sigmas is None:
            whole = ksampler_schedule(self.model, self.steps, self.sampler_name, self.scheduler, self.denoise)
        stitch = Stitch(entry.spec, self.memory, NAMES, Report.of(NAMES), whole)
        with stitched_for_one_run(self.model, [self.small], stitch) as stitched:
            latent_image = samples_for(stitched, self.latent)
            noise = comfy.sample.prepare_noise(latent_image, self.seed, self.latent.get("batch_index"))
            started = time.perf_counter()
            samples = comfy.sample.sample(
                *(stitched, noise, self.steps, self.cfg, self.sampler_name, self.scheduler),
                *(self.positive, self.negative, latent_image),
                denoise=self.denoise,
                noise_mask=self.latent.get("noise_mask"),
                sigmas=None if self.sigmas is None else self.sigmas.to(stitched.load_device),
                callback=callback,
                disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
                seed=self.seed,
            )
            return samples, time.perf_counter() - started


def _stop_on_interrupt(*_: Any) -> None:
    mm.throw_exception_if_processing_interrupted()


class Progress:
    """One bar, with previews, over the steps of all runs."""

    def __init__(self, model: Any, steps: int, runs: int) -> None:
        self._callback = latent_preview.prepare_callback(model, steps * runs)
        self._steps, self._total, self._run = steps, steps * runs, -1

    def next_run(self) -> Callable[..., None]:
        self._run += 1
        offset = self._run * self._steps

        def callback(step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
            self._callback(offset + min(step, self._steps - 1), x0, x, self._total)

        return callback


class Finished:
    """The finished runs of the last sweep, by the owners of their steps. Holds latents, and no model."""

    def __init__(self) -> None:
        self._inputs: Any = None
        self._runs: dict[tuple[int, ...], tuple[Tensor, float]] = {}

    def of(self, sweep: Sweep) -> dict[tuple[int, ...], tuple[Tensor, float]]:
        inputs = [comparable(getattr(sweep, field.name)) for field in fields(sweep)]
        if inputs != self._inputs:
            self._inputs, self._runs = inputs, {}
        return self._runs


FINISHED = Finished()


class SameObject:
    """Equal while the object lives and is the same one."""

    def __init__(self, value: Any) -> None:
        self._reference = weakref.ref(value)

    def __eq__(self, other: object) -> bool:
        found = self._reference()
        return isinstance(other, SameObject) and found is not None and found is other._reference()

    __hash__ = None  # type: ignore[assignment]


def comparable(value: Any) -> Any:
    """Compares equal for equal inputs: plain values and tensors by content, models and other objects by identity."""
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return tuple(value.shape), value.dtype, hashlib.sha256(content).digest()
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(item) for item in value]
    if isinstance(value, ModelStage):
        return [comparable(getattr(value, field.name)) for field in fields(value)]
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    try:
        return SameObject(value)
    except TypeError:  # of a class without weak references
        return object()  # equal to nothing, so that nothing wrong is used again
