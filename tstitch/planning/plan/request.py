"""From what a person wants (seconds, a speed-up, no visible loss) to a schedule. Plain values, no tensors, no host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...checks.choices import check_choice
from ...errors import StitchError
from ..calibration.record import Calibration
from ..profile.record import Profile
from ..records import ModelMark
from .problem import GRAINS, TICKS, Choice, Costs, PlanProblem
from .solve import best_within, fastest, fastest_allowed

GOALS = ("speed-up", "seconds", "no visible loss")
ORDERS = ("small first", "free")
LADDER = 12  # budgets, evenly between the fastest and the slowest schedule, that the table of alternatives shows


@dataclass(frozen=True)
class Request:
    """The goal, and what is known of the models."""

    goal: str
    budget: float  # seconds, a factor, or the largest error of a step, by the goal
    steps: int
    order: str
    profile: Profile | None
    calibration: Calibration | None

    def check(self, chooses_steps: bool = False) -> None:
        """Raise StitchError if no plan can be made. chooses_steps: also the steps, for which one model is enough."""
        check_request(self.goal, self.budget, self.steps, self.order)
        if self.profile is None and self.calibration is None:
            raise StitchError(
                "Plan knows neither times nor errors: connect a profile, or a calibration, or both (T-Stitch Profile,"
                " T-Stitch Calibrate)."
            )
        if self.profile is None and self.goal != "no visible loss":
            raise StitchError(
                f'The goal "{self.goal}" needs the seconds of a step: connect a profile (T-Stitch Profile), or set goal'
                ' to "no visible loss".'
            )
        if self.calibration is None and self.goal == "no visible loss":
            raise StitchError(
                'The goal "no visible loss" needs the errors of each step: connect a calibration (T-Stitch Calibrate),'
                " or set another goal."
            )
        for name, known in (("profile", self.profile), ("calibration", self.calibration)):
            if known is not None and not chooses_steps:
                check_several(name, known.models)
        if self.profile is not None and self.calibration is not None:
            check_same_models(self.profile.models, self.calibration.models)
            check_same_guidance(self.profile, self.calibration)

    @property
    def models(self) -> tuple[ModelMark, ...]:
        known = self.profile or self.calibration
        assert known is not None
        return known.models

    def problem(self) -> PlanProblem:
        return PlanProblem(self._costs(), self._errors(), self.order == "small first")

    def _costs(self) -> tuple[Costs, ...]:
        if self.profile is None:  # models are connected in the order of their size
            return tuple(Costs(number * TICKS) for number in range(1, len(self.models) + 1))
        return costs_of(self.profile)

    def _errors(self) -> tuple[tuple[int, ...], ...]:
        """Of a whole run, so a mean over the steps: [model][step]."""
        rows = self.step_errors()
        return tuple(tuple(round(error * GRAINS / self.steps) for error in row) for row in rows)

    def step_errors(self) -> Sequence[Sequence[float]]:
        if self.calibration is not None:
            return self.calibration.errors_at(resampled(self.calibration.timesteps, self.steps))
        assert self.profile is not None
        return assumed_errors([timing.step for timing in self.profile.timings], self.steps)


@dataclass(frozen=True)
class Plan:
    """The chosen schedule, and the alternatives on the Pareto front of time and error, fastest first."""

    request: Request
    choice: Choice
    alternatives: tuple[Choice, ...]
    base: Choice  # the finishing model alone

    @property
    def fraction(self) -> float:
        """For T-Stitch KSampler: the small model's fraction, or -1 if that node cannot run this schedule."""
        owners = self.choice.owners
        if len(self.request.models) != 2 or list(owners) != sorted(owners):
            return -1.0
        return owners.count(0) / len(owners)

    @property
    def seconds(self) -> float:
        """Predicted for the whole run; 0 without a profile."""
        return 0.0 if self.request.profile is None else self.choice.seconds


def make_plan(request: Request) -> Plan:
    """The best schedule for `request`. Raises StitchError."""
    request.check()
    problem = request.problem()
    base = problem.rate([problem.models - 1] * problem.steps)
    if request.goal == "no visible loss":
        choice = within_tolerance(request, problem, request.budget)
        alternatives = [within_tolerance(request, problem, request.budget * part) for part in (0.25, 0.5, 0.75, 1.5, 2)]
    else:
        seconds = request.budget if request.goal == "seconds" else base.seconds / request.budget
        found = best_within(problem, ticks(seconds))
        if found is None:
            raise unreachable(request, fastest(problem), base)
        choice = found
        alternatives = every_split(problem) if is_lookup(problem) else ladder(problem)
    return Plan(request, choice, front([choice, *alternatives, base]), base)


def within_tolerance(request: Request, problem: PlanProblem, tolerance: float) -> Choice:
    """The fastest schedule in which no step has a larger error."""
    allowed = [[error <= tolerance for error in row] for row in request.step_errors()]
    return fastest_allowed(problem, allowed)


def is_lookup(problem: PlanProblem) -> bool:
    return problem.models == 2 and problem.small_first


def every_split(problem: PlanProblem) -> list[Choice]:
    """The lookup table of two models: each number of first steps for the small one."""
    return [problem.rate([0] * count + [1] * (problem.steps - count)) for count in range(problem.steps + 1)]


def ladder(problem: PlanProblem) -> list[Choice]:
    """The best schedule for each of some budgets between the fastest and the slowest."""
    low = fastest(problem).ticks
    high = max(low, problem.rate([problem.models - 1] * problem.steps).ticks)
    budgets = [low + (high - low) * rung // (LADDER - 1) for rung in range(LADDER)]
    return [choice for choice in (best_within(problem, budget) for budget in budgets) if choice is not None]


def front(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """The Pareto front of time and error, fastest first; always contains the first of `choices`."""
    kept: list[Choice] = []
    for choice in sorted(set(choices), key=lambda choice: (choice.ticks, choice.grains, choice is not choices[0])):
        if choice == choices[0] or not kept or choice.grains < min(other.grains for other in kept):
            kept.append(choice)
    return tuple(kept)


def costs_of(profile: Profile) -> tuple[Costs, ...]:
    loads = 0 if profile.together else 1
    return tuple(
        Costs(ticks(timing.mean), ticks(timing.setup), loads * ticks(timing.load)) for timing in profile.timings
    )


def ticks(seconds: float) -> int:
    return round(seconds * TICKS)


def resampled(timesteps: Sequence[float], steps: int) -> list[float]:
    """The starts of `steps` steps on the path of the calibrated ones, which end at 0: the same scheduler is assumed."""
    points = [*timesteps, 0.0]
    found = []
    for step in range(steps):
        place = step * len(timesteps) / steps
        below = int(place)
        found.append(points[below] + (place - below) * (points[below + 1] - points[below]))
    return found


def assumed_errors(step_seconds: Sequence[float], steps: int) -> list[list[float]]:
    """Without a calibration: the loss is log2 of the model's speed-up, growing linearly over the run.

    So small models start, which T-Stitch found best for images (arXiv 2402.14167, figure 3).
    """
    base = step_seconds[-1]
    losses = [max(0.0, math.log2(base / seconds)) for seconds in step_seconds]
    return [[loss * (step + 0.5) / steps for step in range(steps)] for loss in losses]


def check_request(goal: str | None, budget: float | None, steps: int | None, order: str | None) -> None:
    """Check the widgets before anything is connected. None: the value comes over a link."""
    for name, value, options in (("goal", goal, GOALS), ("order", order, ORDERS)):
        if value is not None:
            check_choice(name, value, options)
    meanings = {"seconds": "the seconds a run may take", "speed-up": "a factor such as 1.5"}
    meaning = meanings.get(goal or "", "the largest error of a step, such as 0.02")
    if budget is not None and not (isinstance(budget, (int, float)) and math.isfinite(budget) and budget > 0):
        raise StitchError(f"budget must be above 0, got {budget}: set it to {meaning}.")
    if goal == "no visible loss" and budget is not None and budget >= 1:
        raise StitchError(
            f"A budget of {budget:g} is no limit for {goal}, as an error of 1 is as large as the prediction itself: set"
            f" it to {meaning}."
        )
    if steps is not None and not (isinstance(steps, int) and steps >= 1):
        raise StitchError(f"steps must be 1 or more, got {steps}: set it to the steps of the sampler.")


def check_several(name: str, models: Sequence[ModelMark]) -> None:
    if len({mark.identity for mark in models}) < 2:
        raise StitchError(
            f"The {name} is of one model only ({models[-1].name} in every socket): there is nothing to choose from, so"
            " connect a second model there, or set method to steps and models."
        )


def check_same_models(profiled: Sequence[ModelMark], calibrated: Sequence[ModelMark]) -> None:
    if [mark.identity for mark in profiled] == [mark.identity for mark in calibrated]:
        return
    if sorted(mark.identity for mark in profiled) == sorted(mark.identity for mark in calibrated):
        problem, remedy = "in another order than", "connect the models in the same order to both nodes"
    else:
        problem, remedy = "of other models than", "connect the same models to both nodes"
    raise StitchError(
        f"The profile is {problem} the calibration: {in_words(profiled)} against {in_words(calibrated)} (run order):"
        f" {remedy}."
    )


def in_words(models: Sequence[ModelMark]) -> str:
    return ", ".join(f"{mark.name} [{mark.identity[:6]}]" for mark in models)


def check_same_guidance(profile: Profile, calibration: Calibration) -> None:
    for name, guided, cfg in (
        ("cfg", profile.guided[-1], calibration.cfg),
        ("small_cfg", profile.guided[0], calibration.small_cfg),
    ):
        if guided != (cfg != 1.0):
            raise StitchError(
                f"The profile was taken {'with' if guided else 'without'} guidance, the calibration at {name} {cfg:g}:"
                f" set the same {name} on both nodes, as at 1 a step costs about half."
            )


def check_latent_shape(profile: Profile, shape: Sequence[int]) -> None:
    """Raise StitchError if the run has another size than the profile; the host repairs empty channels."""
    if tuple(shape) == profile.given_shape:
        return
    if (shape[0], *shape[2:]) != (profile.latent_shape[0], *profile.latent_shape[2:]):
        raise StitchError(
            f"The profile is of latents of {' x '.join(map(str, profile.latent_shape))}, but latent_image has"
            f" {' x '.join(map(str, shape))}: profile with the latent that will be sampled."
        )


def unreachable(request: Request, quickest: Choice, base: Choice) -> StitchError:
    name = request.models[quickest.owners[0]].name
    least = f"all {request.steps} steps by {name} ({quickest.pattern}) take {quickest.seconds:.3g} s"
    if request.goal == "seconds":
        return StitchError(
            f"A budget of {request.budget:g} s cannot be met: at the fastest, {least}: raise the budget, or lower"
            " steps."
        )
    return StitchError(
        f"A speed-up of {request.budget:g} cannot be reached: at the fastest, {least}, which is"
        f" {base.ticks / quickest.ticks:.2f} times as fast as {request.models[-1].name} alone: lower the budget."
    )
