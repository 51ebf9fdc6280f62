"""From a calibration with the errors of all steps to noise levels and models. Plain values, no tensors, no host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...errors import StitchError
from ...schedule import Schedule
from ..plan.problem import TICKS, Costs
from ..plan.request import Request, costs_of, ticks
from .candidates import STOCK, Budgeted, Candidate, unreachable
from .edges import nearest_levels, order_of
from .record import AutoPlan, StepErrors, Trial

METHODS = ("models", "steps and models")
AS_CALIBRATED = "as calibrated"
RUNGS = (0.25, 0.5, 0.75)  # of the time of the run without a plan, of which the figure shows the joint plan
#: Of a tolerance, one after another, as other samples may lose more than those planned with.
PARTS = (1.0, 0.8, 0.6, 0.4)


@dataclass(frozen=True)
class JointPlan:
    """The best of some plans on samples that they were not made from."""

    request: Request
    sampler: str
    tried: AutoPlan  # by what each loses on the held-out samples
    ladder: tuple[Trial, ...]  # joint plans for other budgets
    stock: tuple[Trial, ...]  # the scheduler by the number of steps

    @property
    def choice(self) -> Candidate:
        return self.tried.chosen

    @property
    def pattern(self) -> str:
        """Models are numbered as they are connected, also those without a step."""
        return Schedule(self.choice.owners).pattern

    @property
    def fraction(self) -> float:
        """For T-Stitch KSampler: none, as the plan has noise levels of its own."""
        return -1.0

    @property
    def seconds(self) -> float:
        return self.choice.seconds


def make_joint_plan(request: Request, sampler: str = AS_CALIBRATED) -> JointPlan:
    """Raises StitchError."""
    return Planning.of(request, sampler).plan()


@dataclass(frozen=True)
class Planning:
    """A request with what it needs at hand."""

    request: Request
    sampler: str
    record: StepErrors
    budgeted: Budgeted

    @classmethod
    def of(cls, request: Request, sampler: str) -> Planning:
        request.check(chooses_steps=True)
        calibration, profile = request.calibration, request.profile
        if calibration is None or profile is None:
            lacking = "profile (T-Stitch Profile)" if profile is None else "calibration (T-Stitch Calibrate)"
            raise StitchError(f"A plan of steps and models needs seconds and errors: connect a {lacking} too.")
        record = calibration.step_errors
        if record is None:
            raise StitchError(
                "The calibration holds no errors of steps between other noise levels, which a plan of steps and models"
                " needs: turn record_steps on in T-Stitch Calibrate, and calibrate again."
            )
        sampler = calibration.sampler if sampler == AS_CALIBRATED else sampler
        if order_of(sampler) != order_of(calibration.sampler):
            raise StitchError(
                f"The calibration is of the steps of {calibration.sampler}, but the plan is for {sampler}, whose steps"
                f" lose otherwise: calibrate with {sampler}, or sample with {calibration.sampler}."
            )
        costs = costs_of(profile)
        base = alone(costs, request.steps)
        limits = {"speed-up": round(base / request.budget), "seconds": ticks(request.budget)}
        budgeted = Budgeted(
            record.planned.edges(),
            costs,
            record.networks,
            limits.get(request.goal, base),
            request.steps,
            lambda steps: record.stock_of(steps).sigmas,
            request.order == "small first",
            lambda steps: record.stock_of(steps).error,
        )
        return cls(request, sampler, record, budgeted)

    @property
    def base(self) -> int:
        """Ticks of the finishing model alone."""
        return alone(self.budgeted.costs, self.request.steps)

    def plan(self) -> JointPlan:
        within = self.request.goal == "no visible loss"
        trials = self._within_error() if within else self._within_time()
        names = tuple(f"{number}: {mark.name}" for number, mark in enumerate(self.request.models, 1))
        tried = AutoPlan(names, tuple(trials), self.base / TICKS, self.request.steps)
        rungs = [round(self.base * part) for part in RUNGS]
        joint = [trial.candidate for trial in trials if trial.candidate.kind == "joint plan"]
        ladder = self._rated([*self.budgeted.ladder(rungs), *joint])
        return JointPlan(self.request, self.sampler, tried, tuple(ladder), tuple(self._stock()))

    def _within_time(self) -> list[Trial]:
        found = self.budgeted.candidates()
        if not found:
            quickest, request = self.budgeted.fastest_seconds, self.request
            if request.goal == "seconds":
                raise StitchError(
                    f"A budget of {request.budget:g} s cannot be met: one step of the quickest model takes"
                    f" {quickest:.3g} s: raise the budget."
                )
            raise unreachable(request.budget, self.base / TICKS, quickest)
        return sorted(self._rated(found), key=lambda trial: (trial.distance, trial.candidate.seconds))

    def _within_error(self) -> list[Trial]:
        """The quickest first, of those that lose no more on the held-out samples either."""
        most = self.request.budget
        stock = self.budgeted.stock_within_error(most)
        trials = [] if stock is None else self._rated([stock])
        for part in PARTS:
            plan = self.budgeted.within_error(most * part)
            trials += [] if plan is None else self._rated([plan])
            if plan is None or trials[-1].distance <= most:
                break
        if not any(trial.distance <= most for trial in trials):
            unlimited = replace(self.budgeted, budget=2**50)
            least = min(self._rated([*(trial.candidate for trial in trials), *unlimited.candidates()]), key=_distance)
            raise StitchError(
                f"No plan loses as little as {most:g} against a run of many steps: the closest loses"
                f" {least.distance:.3g}: raise the budget."
            )
        return sorted(trials, key=lambda trial: (trial.distance > most, trial.candidate.seconds))

    def _rated(self, candidates: Sequence[Candidate]) -> list[Trial]:
        """By what they lose on the held-out samples, those of which it is known."""
        edges = self.record.held_out.edges()
        problem = edges.problem(self.budgeted.costs, networks=self.record.networks)
        found = []
        for candidate in candidates:
            if candidate.kind == STOCK:
                error = self.record.stock_of(candidate.steps).held_out_error
            else:
                levels = nearest_levels(edges.sigmas, candidate.sigmas)
                rated = None if levels is None else problem.rate(levels, candidate.owners)
                error = None if rated is None else rated.error
            if error is not None:
                found.append(Trial(candidate, error))
        return found

    def _stock(self) -> list[Trial]:
        last = self.budgeted.last
        found = []
        for run in self.record.stock[: self.request.steps]:
            steps = len(run.sigmas) - 1
            if run.held_out_error is not None:
                seconds = alone(self.budgeted.costs, steps) / TICKS
                found.append(Trial(Candidate(STOCK, run.sigmas, (last,) * steps, seconds), run.held_out_error))
        return found


def alone(costs: Sequence[Costs], steps: int) -> int:
    """Ticks of so many steps of the finishing model."""
    return costs[-1].setup + steps * costs[-1].step


def _distance(trial: Trial) -> float:
    return trial.distance
