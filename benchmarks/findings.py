"""What the rows of a benchmark come to, in a sentence each."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.rows import ARROW, Row, cost, fraction_of, lossless, pairs_of, seed_spread, speedup


def largest_lossless(rows: list[Row]) -> str:
    found = []
    for pair in pairs_of(rows):
        small, large = pair.split(ARROW)
        row = lossless(rows, pair)
        gain = cost({large: row["steps"]}) / cost(row["calls"])
        found.append(f"{pair} {fraction_of(row, small):g} ({gain:.2f}x)")
    return (
        f"Three seeds of XL alone differ by {seed_spread():.3f} in FID. The largest fraction that loses no more, and"
        f" the speed-up over the pair's large model alone: {', '.join(found)}."
    )


def fewer_steps_instead(rows: list[Row]) -> str:
    """Each mixture beside the large model with the most steps that take no longer."""
    alone, found = [row for row in rows if ARROW not in row["models"]], []
    for row in rows:
        rivals = [rival for rival in alone if speedup(rival) >= speedup(row)]
        if ARROW in row["models"] and rivals:
            rival, small = min(rivals, key=speedup), row["models"].split(ARROW)[0]
            found.append(
                f"{row['models']} {fraction_of(row, small):g} with {row['steps']} steps has {row['fid']:.3f},"
                f" {rival['models']} with {rival['steps']} {rival['fid']:.3f}"
            )
    return f"FID in as much time: {'; '.join(found)}."


def orders(rows: list[Row]) -> str:
    """Two models that share the steps evenly; the paper has 10.06, 27.6 and, in the last order, 19.0."""
    names = {"1x10 2x10": "small first", "2x10 1x10": "large first", "2x5 1x10 2x5": "large, small, large"}
    found = {row["pattern"]: row for row in rows if fraction_of(row, "S") == 0.5}
    words = [f"{names.get(pattern, 'interleaved')} {row['fid']:.3f}" for pattern, row in found.items()]
    return f"FID with half of the steps each: {', '.join(words)}."


def chains(rows: list[Row]) -> str:
    """One loop against two samplers, at each number of steps."""
    fids = {(row["steps"], row["chained"]): row["fid"] for row in rows}
    steps = sorted({count for count, _ in fids})
    words = [f"{fids[count, False]:.3f} and {fids[count, True]:.3f} at {count} steps" for count in steps]
    return f"FID of one loop and of two chained samplers: {', '.join(words)}."


FINDINGS: dict[str, Callable[[list[Row]], str]] = {
    "tradeoff": largest_lossless,
    "fewer_steps": fewer_steps_instead,
    "order": orders,
    "seam": chains,
}
