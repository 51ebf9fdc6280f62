"""What the rows of a benchmark come to, in a sentence each."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

from benchmarks.rows import (
    ARROW,
    Row,
    cost,
    fraction_of,
    is_lossless,
    lossless,
    order_of,
    pair_rows,
    pairs_of,
    run_of,
    seed_spread,
    speed_of,
    timed_speedup,
    words_of,
)

SPREADS = {
    "spread": "in 20 steps of dpmpp_2m",
    "spread_guided": "with guidance",
    "spread_ddim": "in 50 steps of DDIM",
}


def no_loss() -> str:
    """What the findings call so."""
    spreads = {words: seed_spread(group) for group, words in SPREADS.items()}
    found = [f"{spread.fid:.3f} and {spread.accuracy:.3f} {words}" for words, spread in spreads.items()]
    return (
        "*Without loss* means: from the same noise, an FID no higher and a class accuracy no lower than those of the"
        f" large model alone by more than three seeds of XL alone differ: {', '.join(found)}."
    )


def gain(slow: Row, fast: Row) -> str:
    """The speed-up of the model calls, and that of wall time where both have been timed."""
    timed = timed_speedup(run_of(slow), run_of(fast))
    words = f", {timed:.2f}x as timed" if timed is not None else ""
    return f"{cost(slow['calls']) / cost(fast['calls']):.2f}x{words}"


def largest_lossless(rows: list[Row]) -> str:
    """The fraction of each pair up to which every row is without loss."""
    found = []
    for pair in pairs_of(rows):
        row, small = lossless(rows, pair), pair.split(ARROW)[0]
        found.append(f"{pair} {fraction_of(row, small):g} ({gain(pair_rows(rows, pair)[0], row)})")
    return f"The largest fraction without loss, and its speed-up over the pair's large model alone: {', '.join(found)}."


def fastest_lossless(rows: list[Row]) -> str:
    """Against the slowest row, which is the large model alone with all steps."""
    slowest = max(rows, key=lambda row: cost(row["calls"]))
    best = max((row for row in rows if is_lossless(row, slowest)), key=speed_of(rows))
    if best is slowest:
        return "None that is faster is without loss."
    cfg = "" if best["cfg"] == "1" else f"cfg {best['cfg']}"
    name = " ".join(filter(None, (best["models"], best["pattern"], cfg, words_of(best))))
    fid, accuracy = (f"{best[key]:.3f} against {slowest[key]:.3f}" for key in ("fid", "accuracy"))
    return f"The fastest without loss: {name}, {gain(slowest, best)} (FID {fid}, accuracy {accuracy})."


def fewer_steps_instead(rows: list[Row]) -> str:
    """Each mixture beside the large model with the most steps that take no longer."""
    alone, found, speed = [row for row in rows if ARROW not in row["models"]], [], speed_of(rows)
    for row in rows:
        rivals = [rival for rival in alone if speed(rival) >= speed(row)]
        if ARROW in row["models"] and rivals:
            rival, small = min(rivals, key=speed), row["models"].split(ARROW)[0]
            found.append(
                f"{row['models']} {fraction_of(row, small):g} with {row['steps']} steps has {row['fid']:.3f},"
                f" {rival['models']} with {rival['steps']} {rival['fid']:.3f}"
            )
    return f"FID in as much time: {'; '.join(found)}."


def orders(rows: list[Row]) -> str:
    """At each share of S; the paper has 10.06, 27.6 and, large-small-large, 19.0 at a half (section 4)."""
    shares: dict[float, list[str]] = {}
    for row in rows:
        share = fraction_of(row, "S")
        shares.setdefault(share, []).append(f"{order_of(row['pattern'])} {row['fid']:.3f}")
    words = [f"with {100 * share:g} % of the steps on S {', '.join(found)}" for share, found in shares.items()]
    return f"FID {'; '.join(words)}."


def added_fid(rows: list[Row], changed: Callable[[Row], bool]) -> dict[tuple[str, int], float]:
    """What the changed rows have more than the others, by sampler and number of steps."""
    fids = {(row["sampler"], row["steps"], changed(row)): row["fid"] for row in rows}
    return {
        (name, steps): fid - fids[name, steps, False] for (name, steps, is_changed), fid in fids.items() if is_changed
    }


def by_solver(rows: list[Row]) -> str:
    """What 40 % on the small model costs beside the large model alone."""
    lost: dict[int, list[str]] = {}
    for (sampler, steps), more in added_fid(rows, lambda row: ARROW in row["models"]).items():
        lost.setdefault(steps, []).append(f"{sampler} {more:+.3f}")
    words = [f"at {steps} steps {', '.join(found)}" for steps, found in lost.items()]
    return f"What 40 % on S adds to the FID of XL alone: {'; '.join(words)}."


def chains(rows: list[Row]) -> str:
    """What a second sampler adds to the FID of one loop, of each solver at each number of steps."""
    added: dict[str, list[str]] = {}
    for (sampler, steps), more in added_fid(rows, lambda row: row["chained"]).items():
        added.setdefault(sampler, []).append(f"{more:+.3f} at {steps} steps")
    words = [f"{sampler} {', '.join(found)}" for sampler, found in added.items()]
    return f"What two chained samplers add to the FID of one loop: {'; '.join(words)}."


def over_seeds(rows: list[Row]) -> str:
    """What each mixture adds to the FID of the large model alone, from the same noise."""
    alone = {row["seed"]: row for row in rows if ARROW not in row["models"]}
    added: dict[str, list[float]] = {}
    gains = {}
    for row in rows:
        if ARROW in row["models"]:
            name = f"{row['models']} {row['pattern']}"
            added.setdefault(name, []).append(row["fid"] - alone[row["seed"]]["fid"])
            gains[name] = gain(alone[row["seed"]], row)
    words = [
        f"{name} ({gains[name]}) {mean(more):+.3f} ({min(more):+.3f} to {max(more):+.3f})"
        for name, more in added.items()
    ]
    return f"What a mixture adds to the FID of XL alone from the same noise, over seeds: {'; '.join(words)}."


#: Of each benchmark, the first one for the README too.
FINDINGS: dict[str, tuple[Callable[[list[Row]], str], ...]] = {
    "tradeoff": (largest_lossless,),
    "simplex": (fastest_lossless,),
    "ddim_50": (largest_lossless,),
    "ddim_100": (largest_lossless,),
    "simplex_ddim_50": (fastest_lossless,),
    "simplex_ddim_100": (fastest_lossless,),
    "order": (orders,),
    "fewer_steps": (fastest_lossless, fewer_steps_instead),
    "solvers": (by_solver,),
    "seam": (chains,),
    "complements": (fastest_lossless,),
    "together": (fastest_lossless,),
    "spread": (over_seeds,),
    "spread_guided": (over_seeds,),
    "spread_ddim": (over_seeds,),
}
