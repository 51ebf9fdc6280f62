"""A profile and a plan for people: a chart of each, and the table of the plan."""

from __future__ import annotations

from torch import Tensor

from ...views.plots import INK, TEXT, add_legend, color_of, new_axes, short, text_color_on, to_image
from ..profile.record import Profile, milliseconds
from .problem import Choice
from .request import Plan

ROWS = 14  # of the table of alternatives at most


def profile_chart(profile: Profile) -> Tensor:
    """Milliseconds per step as bars with the spread, and the speed-up over the finishing model. IMAGE."""
    height = 300 + 110 * len(profile.models)
    figure, axes = new_axes("Time of a step", "milliseconds", "", height=height, grid="x")
    base = profile.timings[-1].step
    longest = max(timing.step + timing.spread / 2 for timing in profile.timings)
    for index, timing in enumerate(profile.timings):
        axes.barh(
            index, 1000 * timing.step, 0.62, color=color_of(index), xerr=500 * timing.spread, ecolor=INK, capsize=6
        )
        label = f"{milliseconds(timing.step)} ms"
        label += "" if index == len(profile.timings) - 1 else f"  ({base / timing.step:.1f}x)"
        inside = timing.step > 0.6 * longest
        axes.annotate(
            label,
            (0 if inside else 1000 * (timing.step + timing.spread / 2), index),
            (14, 0),
            textcoords="offset points",
            va="center",
            fontsize=TEXT,
            fontweight="bold",
            color=text_color_on(color_of(index)) if inside else INK,
        )
    axes.set_yticks(
        range(len(profile.models)), [f"{number}: {mark.name}" for number, mark in enumerate(profile.models, 1)]
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 1080 * longest)
    return to_image(figure)


def plan_chart(plan: Plan) -> Tensor:
    """Time against error of the alternatives, and the chosen one. IMAGE."""
    timed = plan.request.profile is not None
    calibrated = plan.request.calibration is not None
    xlabel = "seconds of a run" if timed else "share of the steps left to the final model"
    ylabel = "mean error of the steps" if calibrated else "assumed loss"
    figure, axes = new_axes("Time against error", xlabel, ylabel)
    points = sorted((place(plan, choice), choice.error) for choice in plan.alternatives)
    axes.plot(
        *zip(*points, strict=True), color=color_of(0), marker="o", markersize=8, linewidth=3, label="best for its time"
    )
    chosen = (place(plan, plan.choice), plan.choice.error)
    axes.plot(*chosen, "o", color=color_of(1), markersize=18, label=f"chosen: {short(plan.choice.pattern)}")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=-0.03 * max(error for _, error in points) or -0.01)
    add_legend(axes)
    return to_image(figure)


def place(plan: Plan, choice: Choice) -> float:
    if plan.request.profile is not None:
        return choice.seconds
    return choice.owners.count(len(plan.request.models) - 1) / len(choice.owners)


def plan_table(plan: Plan) -> str:
    """Markdown: the plan in a sentence, then the alternatives, fastest first, with the chosen one marked."""
    request = plan.request
    loss = "mean error" if request.calibration is not None else "assumed loss"
    timed = request.profile is not None
    rows = [["", "pattern", *(["seconds", "speed-up"] if timed else []), loss]]
    rows.append([":--", ":--", *["--:"] * (len(rows[0]) - 2)])
    for choice in thinned(plan):
        times = [f"{choice.seconds:.3g}", f"{plan.base.ticks / choice.ticks:.2f}x"] if timed else []
        rows.append(
            ["\N{RIGHTWARDS ARROW}" if choice == plan.choice else "", choice.pattern, *times, f"{choice.error:.3g}"]
        )
    models = ", ".join(f"{number} = {mark.name}" for number, mark in enumerate(request.models, 1))
    lines = [f"{request.steps} steps, models {models}.", "", *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join([*lines, "", *notes(plan)])


def thinned(plan: Plan) -> list[Choice]:
    """At most `ROWS` of the alternatives, evenly, with the chosen one among them."""
    choices = list(plan.alternatives)
    if len(choices) <= ROWS:
        return choices
    kept = {round(row * (len(choices) - 1) / (ROWS - 2)) for row in range(ROWS - 1)}
    return [choice for index, choice in enumerate(choices) if index in kept or choice == plan.choice]


def notes(plan: Plan) -> list[str]:
    found = []
    if plan.request.calibration is None:
        found.append(
            "No calibration: a step is assumed to lose more the smaller its model and the later it comes. Connect"
            " T-Stitch Calibrate to measure it."
        )
    if plan.request.profile is None:
        found.append("No profile: the models are taken to be connected from fast to slow, and no seconds are known.")
    elif not plan.request.profile.together:
        found.append("The models do not fit on the device together: the seconds count each load at a switch.")
    return found
