"""The figures of the report, as PNG files beside the results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure.groups import GROUPS, HALF, MIDDLE
from benchmarks.report.lines import Line, front, lines_of, speed_of
from benchmarks.report.tables import count
from benchmarks.tools.results import RESULTS
from benchmarks.tools.settings import ALONE, STEPS, XL, B, Guide, S, Setting
from tstitch.views.plots import INK, SOFT, add_legend, color_of, new_axes, new_figure, style_axes

TICKS = (0.5, 0.7, 1, 1.2, 1.5, 2, 3, 4, 6, 8, 12, 16)


def draw_tradeoff() -> Any:
    """FID over speed-up of what saves time by models, resolution and steps, with the Pareto front of all."""
    known = lines_of([row for name in ("tradeoff", "order", "resolution", "fewer_steps") for row in usual(name)])
    known = [line for line in known if line.reference and line.samples == most_pictures(known)]
    curves = {
        "S\N{RIGHTWARDS ARROW}XL": [line for line in known if is_first(line, S)],
        "B\N{RIGHTWARDS ARROW}XL": [line for line in known if is_first(line, B)],
        "half size, then XL": [line for line in known if is_first(line, HALF)],
        "XL with fewer steps": [line for line in known if line.setting.parts == (XL,)],
        "S\N{RIGHTWARDS ARROW}XL, 10 steps": [line for line in known if is_first(line, S, steps=10)],
    }
    if not any(len(curve) > 1 for curve in curves.values()):
        return None
    title = f"Quality against speed, {points_are(known)}"
    figure, axes = new_axes(title, "speed-up over 20 steps of XL", "FID, lower is better", width=1240)
    shown = list({line.setting.run: line for curve in curves.values() for line in curve}.values())
    speed = speed_of(shown)
    for index, (label, curve) in enumerate(curves.items()):
        draw_curve(axes, curve, speed, label=label, color=color_of(index), marker="os^D*"[index])
    draw_curve(axes, front(shown), speed, label="Pareto front", color=INK, marker="", linestyle="--")
    scale_speed(axes, [speed(line) for line in shown])
    add_legend(axes, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def usual(name: str) -> list[Setting]:
    """Those of a group that differ from XL alone in models and steps only."""
    return [row for row in GROUPS[name].settings() if row.guide is None and not row.extras and row.cfg == ALONE.cfg]


def most_pictures(lines: Sequence[Line]) -> int:
    return max((line.samples for line in lines), default=0)


def points_are(lines: Sequence[Line]) -> str:
    """What a point is made of."""
    seeds = sorted({line.seeds for line in lines})
    return f"{count(most_pictures(lines), 'picture')}, {'-'.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds"


def is_first(line: Line, part: Any, steps: int = STEPS) -> bool:
    """`part` draws first, and XL or nothing after it; XL alone is where each curve begins."""
    setting = line.setting
    rises = list(setting.owners) == sorted(setting.owners)
    return setting.steps == steps and rises and setting.parts in ((XL,), (part,), (part, XL))


def draw_curve(axes: Any, curve: Sequence[Line], speed: Callable[[Line], float], **options: Any) -> None:
    curve = sorted(curve, key=speed)
    if len(curve) > 1:
        points = [speed(line) for line in curve], [line.mean("fid") for line in curve]
        axes.plot(*points, linewidth=2.5, markersize=8, **options)
    for line in curve:
        fids = [row["fid"] for row in line.rows.values()]
        axes.plot([speed(line)] * 2, [min(fids), max(fids)], color=options["color"], linewidth=6, alpha=0.4)


def scale_speed(axes: Any, speeds: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks([tick for tick in TICKS if 0.95 * min(speeds) <= tick <= 1.1 * max(speeds)])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g}x")


def draw_guidance() -> Any:
    """FID over the weight, and over speed-up, by who gives the second answer."""
    known = [line for line in lines_of(GROUPS["guidance"].settings()) if line.reference]
    known = [line for line in known if line.samples == most_pictures(known) and line.setting.steps == STEPS]
    alone = [line for line in known if line.setting.parts == (XL,)]
    start, end = MIDDLE
    guides: dict[str, list[Guide | None]] = {
        "XL": [None],
        "negative by S": [Guide(S, "cheap negative")],
        "weak S": [Guide(S)],
        "weak XL 0.5x": [Guide(HALF)],
        f"XL, {start:g} to {end:g}": [Guide(XL, "cheap negative", start, end)],
        f"weak S, {start:g} to {end:g}": [Guide(S, start=start, end=end)],
    }
    curves = {label: [line for line in alone if line.setting.guide in guide] for label, guide in guides.items()}
    curves["S first, weak S"] = [line for line in known if line.setting.parts == (S, XL)]
    if not any(len(curve) > 1 for curve in curves.values()):
        return None
    figure = new_figure(1500, 640)
    by_weight, by_speed = figure.subplots(1, 2, sharey=True)
    style_axes(by_weight, f"by weight, {points_are(known)}", "cfg", "FID, lower is better")
    style_axes(by_speed, "by speed", "speed-up over plain guidance", "")
    speed = speed_of(known)
    for index, (label, curve) in enumerate(curves.items()):
        style: dict[str, Any] = {"label": label, "color": color_of(index), "marker": "os^D*vP"[index]}
        draw_curve(by_weight, curve, lambda line: line.setting.cfg, **style)
        by_speed.scatter([speed(line) for line in curve], [line.mean("fid") for line in curve], s=90,
                         color=style["color"], marker=style["marker"])  # fmt: skip
    by_weight.axhline(min(line.mean("fid") for line in alone if line.setting.guide is None), color=SOFT, linestyle=":")
    scale_speed(by_speed, [speed(line) for line in known])
    add_legend(by_weight)
    return figure


FIGURES: dict[str, Callable[[], Any]] = {"tradeoff": draw_tradeoff, "guidance": draw_guidance}


def figure_path(name: str) -> Path:
    return RESULTS / f"{name}.png"


def is_drawn(name: str) -> bool:
    return name in FIGURES and figure_path(name).is_file()


def drawn(figure: Any) -> str:
    """A checksum of the points and words of a figure, which its file carries as its source."""
    found: list[Any] = []
    for axes in figure.axes:
        found += [line.get_xydata().round(6).tolist() for line in axes.lines]
        found += [points.get_offsets().round(6).tolist() for points in axes.collections]
        found += [text.get_text() for text in (axes.title, *axes.texts)]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def main() -> None:
    """Draw what there are results of, and delete what there are none of any more."""
    for name, draw in FIGURES.items():
        figure = draw()
        if figure is None:
            figure_path(name).unlink(missing_ok=True)
        else:
            RESULTS.mkdir(exist_ok=True)
            figure.savefig(figure_path(name), metadata={"Source": drawn(figure)})
