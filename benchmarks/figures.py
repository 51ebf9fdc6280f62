"""The figures of the report, as PNG files beside the results."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from benchmarks.rows import (
    ARROW,
    RESULTS,
    Row,
    fraction_of,
    front,
    order_of,
    pair_rows,
    pairs_of,
    read,
    speed_of,
    xl_alone,
)
from tstitch.views.plots import INK, PAPER, SEQUENCE, SOFT, TEXT, add_legend, color_of, new_axes

TICKS = (1, 1.2, 1.5, 2, 3, 4, 6, 8)
FIFTHS = [fifth / 5 for fifth in range(6)]


def draw_tradeoff(results: dict[str, Any]) -> Any:
    """FID over speed-up for each pair, the other order and fewer steps, with the Pareto front of all that is shown."""
    title = "Quality against speed, starter models"
    figure, axes = new_axes(title, "speed-up over XL alone", "FID, lower is better", width=1240)
    order, fewer = ((read(name) or {"rows": []})["rows"] for name in ("order", "fewer_steps"))
    large_first = [row for row in order if order_of(row["pattern"]) == "large first"]
    alone = [row for row in fewer if row["models"] == "XL"]
    few = [row for row in fewer if row["models"] != "XL" and row["steps"] < max(other["steps"] for other in alone)]
    rows = list({row["key"]: row for row in (*results["rows"], *large_first, *fewer)}.values())
    speed = speed_of(rows)

    def draw_curve(curve: list[Row], style: str, **options: Any) -> None:
        axes.plot([speed(row) for row in curve], [row["fid"] for row in curve], style, linewidth=2.5, **options)

    for index, pair in enumerate(pairs_of(results["rows"])):
        draw_curve(pair_rows(results["rows"], pair), "o-", color=color_of(index), label=pair)
    draw_curve(sorted(large_first, key=speed), "^-", color=color_of(3), label="XL first, then S")
    draw_curve(sorted(alone, key=speed), "s:", color=SOFT, label="XL with fewer steps")
    draw_curve(sorted(few, key=speed), "D:", color=color_of(4), label="both")
    draw_curve(front(rows), "--", color=INK, label="Pareto front")
    axes.set_xscale("log")
    axes.set_xticks([tick for tick in TICKS if tick <= 1.1 * max(map(speed, rows))])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g}x")
    add_legend(axes, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def draw_simplex(results: dict[str, Any]) -> Any:
    """FID of three models over the fractions of the first two; the rest of the steps is XL's."""
    first = results["rows"][0]
    title = f"FID and speed-up, {first['steps']} steps of {first['sampler']}"
    figure, axes = new_axes(title, "fraction of the steps on S, the first", "then on B; the rest is XL's", height=800)
    points = [(fraction_of(row, "S"), fraction_of(row, "B"), row) for row in results["rows"]]
    small, middle, rows = zip(*points, strict=True)
    values, speed = [row["fid"] for row in rows], speed_of(list(rows), xl_alone)
    axes.scatter(small, middle, c=values, cmap=f"{SEQUENCE}_r", s=1500, marker="s")
    bright = (min(values) + max(values)) / 2
    for x, y, row in points:
        words = {"color": PAPER if row["fid"] < bright else INK, "fontsize": TEXT - 8}
        axes.annotate(f"{row['fid']:.2f}\n{speed(row):.1f}x", (x, y), ha="center", va="center", **words)
    axes.set_xticks(FIFTHS)
    axes.set_yticks(FIFTHS)
    return figure


def draw_solvers_of_the_paper(results: dict[str, Any]) -> Any:
    """FID of each pair over the fraction, by DDIM in the paper's step counts and by the solver of the other figures."""
    title = "Quality by pair and solver, starter models"
    figure, axes = new_axes(title, "fraction of the steps on the smaller model", "FID, lower is better", width=1240)
    solvers = {
        "DDIM 50": ("o-", results),
        "DDIM 100": ("^--", read("ddim_100")),
        "dpmpp_2m 20": ("s:", read("tradeoff")),
    }
    for index, pair in enumerate(pairs_of(results["rows"])):
        small = pair.split(ARROW)[0]
        for solver, (style, known) in solvers.items():
            rows = pair_rows(known["rows"], pair) if known is not None else []
            points = [[fraction_of(row, small) for row in rows], [row["fid"] for row in rows]]
            axes.plot(*points, style, linewidth=2.5, color=color_of(index), label=f"{pair}, {solver}")
    add_legend(axes, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


FIGURES = {
    "tradeoff": draw_tradeoff,
    "simplex": draw_simplex,
    "ddim_50": draw_solvers_of_the_paper,
    "simplex_ddim_50": draw_simplex,
    "simplex_ddim_100": draw_simplex,
}


def drawn(figure: Any) -> str:
    """A checksum of the points and words of a figure, which its file carries as its source."""
    found: list[Any] = []
    for axes in figure.axes:
        found += [line.get_xydata().round(6).tolist() for line in axes.lines]
        found += [points.get_offsets().round(6).tolist() for points in axes.collections]
        found += [text.get_text() for text in (axes.title, *axes.texts)]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def main() -> None:
    for name, draw in FIGURES.items():
        results = read(name)
        if results is not None:
            figure = draw(results)
            figure.savefig(RESULTS / f"{name}.png", metadata={"Source": drawn(figure)})
