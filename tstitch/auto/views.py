"""What T-Stitch Auto chose and why, in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..planning.joint.candidates import STOCK
from ..planning.joint.edges import SOLVER_ORDERS
from ..planning.joint.record import AutoPlan
from ..planning.joint.views import counted, in_words, table


def report(plan: AutoPlan, speed_up: float, sampler_name: str, names: Sequence[str]) -> str:
    """names: of the models behind the inputs, for people."""
    chosen = plan.chosen
    members, pattern = chosen.numbered(len(plan.options))
    numbered = ", ".join(f"{number} = {plan.options[member]}" for number, member in enumerate(members, 1))
    speed = (
        f"{plan.speed_up:.2f} times as fast as {plan.base_steps} steps of model ({chosen.seconds:.3g} s in place of"
        f" {plan.base_seconds:.3g} s expected); {speed_up:g} was asked for. {'; '.join(names)}."
    )
    lines = [
        speed,
        "",
        f"Chosen: {chosen.kind}, {counted(chosen.steps, 'step')}: {in_words(plan, chosen)}.",
        why(plan),
        "",
        f"pattern {pattern} ({numbered})",
        "sigmas " + ", ".join(f"{sigma:.4g}" for sigma in chosen.sigmas),
        "",
        *table(plan, "distance"),
    ]
    if sampler_name not in SOLVER_ORDERS:
        unknown = (
            f"The steps of {sampler_name} are counted as those of euler, which also drew the trials: {sampler_name}"
            " itself is not known exactly here."
        )
        lines += ["", unknown]
    return "\n".join(lines)


def why(plan: AutoPlan) -> str:
    """In a sentence."""
    best = plan.trials[0]
    stock = next((trial for trial in plan.trials if trial.candidate.kind == STOCK), None)
    if stock is None:
        return "The scheduler with fewer steps of model alone is not quick enough."
    if stock is best:
        return (
            "The stock scheduler with fewer steps of model alone came closest to a run of many steps: no plan is better"
            " here."
        )
    gain = stock.distance / max(best.distance, 1e-12)
    return (
        f"It came closest to a run of many steps: {best.distance:.3f} from it, {gain:.2f} times as close as the stock"
        f" scheduler with {counted(stock.candidate.steps, 'step')} of model alone ({stock.distance:.3f})."
    )
