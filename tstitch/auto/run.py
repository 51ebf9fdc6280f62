"""From the inputs of a KSampler and a speed-up to a plan, measured on this machine and tried on seeds of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import comfy.model_management as mm
import comfy.utils
import folder_paths
import latent_preview
import torch
from comfy.samplers import CFGGuider, sampler_object
from torch import Tensor

from ..checks.compatibility import check_resizable, check_run, parts_of
from ..checks.inputs import check_conditioning, check_latent, check_model, check_single_latent
from ..errors import StitchError
from ..guidance.model import MODES, Guidance, guided_model
from ..host.latents import samples_for
from ..host.model_options import is_stitched
from ..planning.calibration.measure import Progress, run_guider
from ..planning.identity import model_identity
from ..planning.joint.candidates import Budgeted, Candidate, unreachable
from ..planning.joint.edges import SOLVER_ORDERS, order_of
from ..planning.joint.measure import FIRST_SEED, LEVELS, Course, FineRuns, Option, seeds_for
from ..planning.joint.record import AutoPlan, Trial, read_edges, read_plan, write_edges, write_plan
from ..planning.plan.problem import TICKS
from ..planning.plan.request import costs_of
from ..planning.profile.measure import ProfileJob, is_guided, profile_models, setting_key
from ..planning.profile.record import Profile
from ..resolution.model import low_resolution, size_at
from ..schedule import ScheduleSpec
from ..stitch.model import ModelStage, stitched_for_one_run
from ..stitch.report import Report
from ..stitch.run import Stitch
from ..views.similarity import relative_error

REPEATS = 10  # steps that are timed
HALF = 0.5
WEAK_CFG = 1.5  # at most; guidance by a weak model (arXiv 2406.02507) wants less than plain guidance
HELD_OUT = 2  # seeds on which candidates are tried
UNVERIFIED = "euler"  # tries the candidates of samplers that draw another picture in every schedule


@dataclass(frozen=True)
class AutoRun:
    """The inputs of a KSampler, and what is wanted of it."""

    model: Any
    small_model: Any  # None where there is none
    seed: int
    steps: int
    cfg: float
    course: Course
    positive: Any
    negative: Any
    latent: dict[str, Any]
    speed_up: float

    @property
    def models(self) -> dict[str, Any]:
        """By input name, in run order."""
        return (
            {"model": self.model}
            if self.small_model is None
            else {"small_model": self.small_model, "model": self.model}
        )

    def check(self) -> None:
        """Raise StitchError before anything is loaded."""
        for name, model in self.models.items():
            check_model(name, model)
            if is_stitched(model):
                raise StitchError(
                    f"{name} is joined of several models already: connect one of them, and T-Stitch Auto joins them"
                    " itself."
                )
        check_conditioning("positive", self.positive)
        check_conditioning("negative", self.negative)
        check_latent("latent_image", self.latent)
        check_single_latent(self.latent)
        check_speed_up(self.speed_up)
        guiders = [
            ModelStage(each, self.positive, self.negative, self.cfg).plain_guider() for each in self.models.values()
        ]
        check_run(parts_of(tuple(self.models), guiders), samples_for(self.model, self.latent))

    @cached_property
    def options(self) -> list[Option]:
        """The ways to take a step, in run order: the quick ones first, the model itself last."""
        found = []
        if self.small_model is not None:
            found += [*self._half("small_model", self.small_model, 1), self._option("small_model", self.small_model, 1)]
        half = self._half("model", self.model, 0)
        whole = self._option("model", self.model, 0)
        found += half
        if is_guided(whole.stage):
            found.append(self._option("model without guidance", self.model, 0, 1.0))
            found += self._guided(half)
        return [*found, whole]

    def _option(self, name: str, model: Any, network: int, cfg: float | None = None) -> Option:
        return Option(name, ModelStage(model, self.positive, self.negative, self.cfg if cfg is None else cfg), network)

    def _half(self, name: str, model: Any, network: int) -> list[Option]:
        """Nothing where the model, or the latent, cannot be made smaller."""
        shape = samples_for(self.model, self.latent).shape
        if len(shape) not in (4, 5):
            return []
        try:
            check_resizable(name, model)
            if size_at(HALF, model, shape) == tuple(shape[-2:]):
                return []
        except StitchError:
            return []
        return [self._option(f"{name} at half size", low_resolution(model, HALF), network)]

    def _guided(self, half: Sequence[Option]) -> list[Option]:
        """The model with a second answer of the small model, or else of itself at half size."""
        if self.small_model is not None:
            name, weak, network = "small_model", self.small_model, 2  # both have to be there
        elif half:
            name, weak, network = "itself at half size", half[0].stage.model, 0
        else:
            return []
        as_weak, as_negative = (guided_model(self.model, weak, Guidance(mode)) for mode in MODES)
        return [
            self._option(f"model with {name} as weak model", as_weak, network, min(self.cfg, WEAK_CFG)),
            self._option(f"model guided by {name}", as_negative, network),
        ]

    def plan(self, refresh: bool) -> AutoPlan:
        """Remembered from an earlier queue, or measured and tried now. Raises StitchError."""
        self.check()
        folder = plans_folder()
        job = ProfileJob({option.name: option.stage for option in self.options}, self.latent, REPEATS)
        key = self._key(job)
        of_speed = {**key, "speed_up": self.speed_up, "steps": self.steps, "sampler": self.course.sampler_name}
        known = None if refresh else read_plan(folder, of_speed)
        if known is None:
            known = Planner(self, job, folder, key, refresh).plan()
            write_plan(folder, of_speed, known)
        return known

    def sample(self, plan: AutoPlan) -> Tensor:
        """As the host's KSampler samples, by the plan."""
        count = plan.chosen.steps
        callback = latent_preview.prepare_callback(self.model, count)
        latent = {**self.latent, "samples": samples_for(self.model, self.latent)}
        return run_candidate(*(self.options, plan.chosen, latent, self.course.sampler_name, self.seed), callback).to(
            mm.intermediate_device()
        )

    def _key(self, job: ProfileJob) -> dict[str, Any]:
        """All that changes the plan besides what is asked of it."""
        settings = [setting_key(job, option.stage, model_identity(option.stage.model)) for option in self.options]
        return {
            "options": [
                {"name": option.name, "cfg": option.stage.cfg, **each}
                for option, each in zip(self.options, settings, strict=True)
            ],
            "order": order_of(self.course.sampler_name),
            "sigmas": [float(sigma) for sigma in self.course.fine_sigmas(self.model)],
            "levels": LEVELS,
            "masked": self.latent.get("noise_mask") is not None,
        }


def check_speed_up(speed_up: float) -> None:
    if not isinstance(speed_up, (int, float)) or not 1 <= speed_up < float("inf"):
        raise StitchError(f"speed_up must be 1 or more, got {speed_up}: it is a factor such as 1.5.")


class Planner:
    """One plan in the making."""

    def __init__(self, run: AutoRun, job: ProfileJob, folder: Path, key: dict[str, Any], refresh: bool) -> None:
        self._run, self._job, self._folder, self._key, self._refresh = run, job, folder, key, refresh

    def plan(self) -> AutoPlan:
        run = self._run
        profile = self._profile()
        costs = costs_of(profile)
        stock = [float(sigma) for sigma in run.course.sigmas(run.model, run.steps)]
        base = (len(stock) - 1) * costs[-1].step + costs[-1].setup
        edges = None if self._refresh else read_edges(self._folder, self._key)
        seeds = seeds_for(run.latent)
        measuring = FineRuns(run.options, run.latent, run.course)
        if edges is None:
            progress = Progress(run.model, seeds * measuring.steps * len(run.options))
            measuring = FineRuns(run.options, run.latent, run.course, progress)
            for place in range(seeds):
                measuring.add(FIRST_SEED + place)
            edges = measuring.edges()
            write_edges(self._folder, self._key, edges)
        networks = tuple(option.network for option in run.options)
        budget = int(base / run.speed_up)
        budgeted = Budgeted(edges, costs, networks, budget, run.steps, self._stock)
        found = budgeted.candidates()
        if not found:
            raise unreachable(run.speed_up, base / TICKS, budgeted.fastest_seconds)
        names = tuple(option.name for option in run.options)
        return AutoPlan(names, tuple(self._trials(found, measuring)), base / TICKS, run.steps)

    def _profile(self) -> Profile:
        bar = comfy.utils.ProgressBar(len(self._run.options) * self._job.steps_a_model)

        def on_step() -> None:
            mm.throw_exception_if_processing_interrupted()
            bar.update(1)

        return profile_models(self._job, self._refresh, on_step)

    def _stock(self, steps: int) -> Sequence[float]:
        return [float(sigma) for sigma in self._run.course.sigmas(self._run.model, steps)]

    def _trials(self, candidates: Sequence[Candidate], fine: FineRuns) -> list[Trial]:
        """Runs them on seeds that were not measured, the closest to the fine run first."""
        run = self._run
        seeds = [FIRST_SEED + 1000 + place for place in range(HELD_OUT)]
        total = HELD_OUT * (fine.steps + sum(candidate.steps for candidate in candidates))
        progress = Progress(run.model, total)
        fine = FineRuns(run.options, run.latent, run.course, progress)
        latent = {**run.latent, "samples": samples_for(run.model, run.latent)}
        name = run.course.sampler_name if run.course.sampler_name in SOLVER_ORDERS else UNVERIFIED
        wanted = [fine.endpoint(seed) for seed in seeds]
        found = []
        for candidate in candidates:
            drawn = [
                run_candidate(run.options, candidate, latent, name, seed, progress.sampling_callback) for seed in seeds
            ]
            errors = [relative_error(each, other).tolist() for each, other in zip(drawn, wanted, strict=True)]
            found.append(Trial(candidate, fmean(error for row in errors for error in row)))
        return sorted(found, key=lambda trial: trial.distance)


def run_candidate(
    options: Sequence[Option],
    candidate: Candidate,
    latent: dict[str, Any],
    sampler_name: str,
    seed: int,
    callback: Any,
) -> Tensor:
    """Sample by a plan."""
    members, pattern = candidate.numbered(len(options))
    stages = [options[member].stage for member in members]
    names = tuple(options[member].name for member in members)
    stitch = Stitch(ScheduleSpec.parse("", "steps", pattern, len(stages)), "auto", names, Report.of(names))
    final = stages[-1]
    sigmas = torch.tensor(candidate.sigmas)
    if len(stages) == 1:
        return run_guider(final.plain_guider(), latent, sampler_object(sampler_name), sigmas, seed, callback)
    with stitched_for_one_run(final.model, stages[:-1], stitch) as stitched:
        guider: CFGGuider = replace(final, model=stitched).plain_guider()
        return run_guider(guider, latent, sampler_object(sampler_name), sigmas, seed, callback)


def plans_folder() -> Path:
    return Path(folder_paths.get_user_directory()) / "tstitch" / "plans"
