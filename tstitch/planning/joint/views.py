"""Joint plans for people: words, a table and a figure."""

from __future__ import annotations

from torch import Tensor

from ...schedule import Schedule
from ...views.plots import add_legend, color_of, new_axes, to_image
from .candidates import STOCK, Candidate
from .edges import SOLVER_ORDERS
from .record import AutoPlan
from .request import JointPlan


def in_words(plan: AutoPlan, candidate: Candidate) -> str:
    """Who takes which steps, such as "small_model 1 to 4, model 5 to 9"."""
    parts = []
    for interval in Schedule(candidate.owners).intervals:
        first, last = interval.start + 1, interval.stop
        parts.append(f"{plan.options[interval.stage]} {first}" + (f" to {last}" if last > first else ""))
    return ", ".join(parts)


def table(plan: AutoPlan, measured: str) -> list[str]:
    """Markdown, a row for each plan that was tried; measured: what the trial tells."""
    rows = [["tried", "steps", "seconds", measured, "expected", "models"], [":--", "--:", "--:", "--:", "--:", ":--"]]
    for trial in plan.trials:
        each = trial.candidate
        expected = "" if each.error is None else f"{each.error:.3f}"
        rows.append(
            [each.kind, str(each.steps), f"{each.seconds:.3g}", f"{trial.distance:.3f}", expected, in_words(plan, each)]
        )
    return ["| " + " | ".join(row) + " |" for row in rows]


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def joint_table(plan: JointPlan) -> str:
    """Markdown: the plan, why it was chosen, its levels, and what else was compared."""
    tried, chosen, request = plan.tried, plan.choice, plan.request
    assert request.calibration is not None
    record = request.calibration.step_errors
    assert record is not None
    name = request.models[-1].name
    speed = (
        f"{tried.speed_up:.2f} times as fast as {counted(tried.base_steps, 'step')} of {name} ({chosen.seconds:.3g} s"
        f" in place of {tried.base_seconds:.3g} s)."
    )
    losses = (
        "Losses are the sums of what each step loses against a run of"
        f" {counted(len(record.planned.sigmas) - 1, 'step')} of {name}: expected, on the"
        f" {counted(record.samples, 'sample')} that the plans are made from; held-out, on {record.held_out_samples}"
        " others. No plan was sampled: compare pictures, e.g. in T-Stitch Sweep."
    )
    lines = [
        f"{chosen.kind}, {counted(chosen.steps, 'step')} for {plan.sampler}: {in_words(tried, chosen)}.",
        speed,
        joint_why(plan),
        "",
        f"pattern {plan.pattern}",
        "sigmas " + ", ".join(f"{sigma:.4g}" for sigma in chosen.sigmas),
        "",
        *table(tried, "held-out loss"),
        "",
        losses,
    ]
    if plan.sampler not in SOLVER_ORDERS:
        lines.append(f"The steps of {plan.sampler} are counted as those of euler: they are not known exactly.")
    return "\n".join(lines)


def joint_why(plan: JointPlan) -> str:
    """In a sentence."""
    best = plan.tried.trials[0]
    stock = next((trial for trial in plan.tried.trials if trial.candidate.kind == STOCK), None)
    if stock is best:
        return "The stock scheduler with this number of steps wins: no plan is better here."
    if stock is None:
        return "No number of steps of the stock scheduler meets the goal, or its levels cannot be compared."
    if plan.request.goal == "no visible loss":
        return (
            f"The stock scheduler takes {counted(stock.candidate.steps, 'step')} and {stock.candidate.seconds:.3g} s to"
            " lose as little."
        )
    return (
        f"It loses {best.distance:.3f} on held-out samples; the stock scheduler with"
        f" {counted(stock.candidate.steps, 'step')} in the same time loses {stock.distance:.3f}."
    )


def joint_chart(plan: JointPlan) -> Tensor:
    """Seconds against the held-out loss: joint plans, the stock scheduler by its number of steps, the choice. IMAGE."""
    figure, axes = new_axes("Time against loss", "seconds of a run", "loss on held-out samples")
    lines = {"stock scheduler": (plan.stock, 2), "joint plans": (plan.ladder, 0)}
    for label, (trials, number) in lines.items():
        points = sorted((trial.candidate.seconds, trial.distance) for trial in trials)
        if points:
            marks = {"marker": "o", "markersize": 8, "linewidth": 3}
            axes.plot(*zip(*points, strict=True), color=color_of(number), label=label, **marks)
    best = plan.tried.trials[0]
    label = f"chosen: {best.candidate.kind}"
    axes.plot(best.candidate.seconds, best.distance, "o", color=color_of(1), markersize=18, label=label)
    axes.set_xlim(left=0)
    axes.set_yscale("log" if min(trial.distance for trial in (*plan.stock, *plan.ladder, best)) > 0 else "linear")
    add_legend(axes)
    return to_image(figure)
