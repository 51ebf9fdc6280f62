"""A calibration for people: two figures and a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...views.plots import FAINT, INK, SEQUENCE, TEXT, add_legend, color_of, new_axes, new_figure, style_axes, to_image
from .record import Calibration

CURVES = 5  # noise levels in the frequency figure

MEANINGS = {
    "small first": "it is closest to the base model in the early, noisy steps, so let it start",
    "large-small-large": "it is closest to the base model in the middle, so try a pattern that leaves both ends to the"
    " base model",
    "large first": "it is closest to the base model in the late steps, so try a pattern in which the base model starts",
    "either": "its error hardly depends on the step, so any order will do",
}


def similarity_figure(calibration: Calibration, tolerance: float) -> Tensor:
    """Cosine similarity of the denoised predictions over the run, and the noise error that sets the split.

    After the latent-similarity figure of T-Stitch (arXiv 2402.14167), with all models on one trajectory. IMAGE.
    """
    figure = new_figure(height=860)
    top, bottom = figure.subplots(2, 1, sharex=True)
    style_axes(top, "Similarity to the base model", "", "cosine of x0")
    style_axes(bottom, "", "noise level t (the run goes to the right)", "error of the noise")
    t = calibration.timesteps
    for index, mark in enumerate(calibration.models[:-1]):
        curve = {"color": color_of(index), "linewidth": 3, "marker": "o", "markersize": 5}
        mean, spread = calibration.cosine[index], calibration.cosine_spread[index]
        top.plot(t, mean, label=f"{index + 1}: {mark.name}", **curve)
        lower, upper = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
        top.fill_between(t, lower, upper, color=color_of(index), alpha=0.25, linewidth=0)
        bottom.plot(t, calibration.noise_error[index], **curve)
    bottom.axhline(tolerance, color=INK, linewidth=2, linestyle="--")
    bottom.annotate(
        f"tolerance {tolerance:g}", (1, tolerance), (6, 6), textcoords="offset points", color=INK, fontsize=TEXT - 3
    )
    top.set_ylim(top=1 + 0.03 * (1 - top.get_ylim()[0]))
    bottom.set_ylim(bottom=0)
    margin = 0.02 * (t[0] - t[-1]) or 0.02
    top.set_xlim(t[0] + margin, t[-1] - margin)
    add_legend(top)
    return to_image(figure)


def frequency_figure(calibration: Calibration) -> Tensor:
    """Log-amplitudes of the predictions x0 of the base model and of model_1, low frequencies first.

    After the frequency analysis of T-Stitch (arXiv 2402.14167). IMAGE.
    """
    figure, axes = new_axes("Detail in the prediction", "spatial frequency (low to high)", "log amplitude of x0")
    steps = chosen_steps(len(calibration.timesteps))
    colors = sequence_colors(len(steps))
    for step, color in zip(steps, colors, strict=True):
        if not calibration.log_amplitude:
            break
        line = {"color": color, "linewidth": 3, "marker": "o", "markersize": 5}
        axes.plot(
            calibration.frequencies,
            calibration.log_amplitude[-1][step],
            label=f"t = {calibration.timesteps[step]:.2f}",
            **line,
        )
        axes.plot(calibration.frequencies, calibration.log_amplitude[0][step], linestyle=":", **line)
    axes.plot([], [], color=FAINT, linewidth=3, label=calibration.base.name)
    axes.plot([], [], color=FAINT, linewidth=3, linestyle=":", label=f"1: {calibration.models[0].name}")
    add_legend(axes, ncols=2)
    return to_image(figure)


def chosen_steps(steps: int) -> list[int]:
    """Up to `CURVES` steps spread evenly over the run, its first and last among them."""
    count = min(CURVES, steps)
    return [round(index * (steps - 1) / max(1, count - 1)) for index in range(count)]


def sequence_colors(count: int) -> list[Any]:
    import matplotlib

    shades = matplotlib.colormaps[SEQUENCE]
    return [shades(0.4 + 0.6 * index / max(1, count - 1)) for index in range(count)]


def report(calibration: Calibration, tolerance: float) -> str:
    """What was measured, the split for `tolerance` and the order, in words."""
    seeds, samples = _counted(len(calibration.seeds), "seed"), _counted(calibration.samples, "sample")
    run = f"{calibration.steps} steps of {calibration.sampler}, {calibration.scheduler}, cfg {calibration.cfg:g}"
    if calibration.small_cfg != calibration.cfg:
        run += f" (the other models {calibration.small_cfg:g})"
    parts = [
        f"Base model: {calibration.base.name}. {run}; {seeds}, {samples}.",
        "Errors are of the predicted noise, relative to the base model's own.",
        *(_about_model(calibration, index, tolerance) for index in range(len(calibration.models) - 1)),
    ]
    if len(calibration.models) > 2:
        splits = ", ".join(f"{split:.4g}" for split in calibration.splits_within(tolerance))
        parts.append(f"splits of all models for Multi-Model Schedule: {splits}")
    if calibration.step_errors is not None:
        recorded = calibration.step_errors
        parts.append(
            f"Steps between {len(recorded.planned.sigmas)} noise levels are recorded for plans of steps and models, on"
            f" {_counted(recorded.samples, 'sample')} and {recorded.held_out_samples} others."
        )
    return "\n\n".join(parts)


def _about_model(calibration: Calibration, index: int, tolerance: float) -> str:
    errors = "{:.3f} early, {:.3f} in the middle, {:.3f} late".format(*calibration.errors_by_part(index))
    order = calibration.order(index)
    ends = (
        f"cosine {calibration.cosine[index][step]:.4f}, relative error {calibration.relative_error[index][step]:.3f}"
        for step in (0, -1)
    )
    lines = [
        f"model_{index + 1}: {calibration.models[index].name}",
        f"split: {calibration.fraction_within(tolerance, index):.4g} of the steps stay within error {tolerance:g}",
        f"order: {order}; {MEANINGS[order]} (mean error {errors})",
        "x0 of the first step: {}; of the last: {}".format(*ends),
    ]
    if len(calibration.frequencies) > 1:
        own, base = (table[-1] for table in (calibration.log_amplitude[index], calibration.log_amplitude[-1]))
        low, high = (f"{math.expm1(own[band] - base[band]):+.1%}" for band in (0, -1))
        lines.append(
            f"amplitude in the last step against the base model: {low} in the lowest frequency, {high} in the highest"
        )
    return "\n  ".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def views(calibration: Calibration, tolerance: float) -> Sequence[Any]:
    """Outputs of the calibration nodes: both figures, the split of model_1, and the report."""
    return (
        similarity_figure(calibration, tolerance),
        frequency_figure(calibration),
        calibration.fraction_within(tolerance),
        report(calibration, tolerance),
    )
