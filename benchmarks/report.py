"""The tables and figures of `benchmarks/README.md`, made from what the benchmarks wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import figures
from benchmarks.findings import FINDINGS, no_loss
from benchmarks.model_card import table
from benchmarks.rows import (
    ARROW,
    Reference,
    Row,
    read,
    run_of,
    speedup,
    timed_speedup,
    twenty_guided_steps,
    twenty_steps,
    wall_times,
    words_of,
    xl_alone,
)

REPORT = Path(__file__).parent / "README.md"

INTRODUCTION = """# What was measured

Every section is made by `python dev.py bench NAME` from `results/NAME.json`; this file is generated. Quality is FID,
precision, recall and class accuracy of the starter models against Fashion-MNIST, in the features of a classifier
trained on it, so the figures compare with each other and with nothing else. *FID to reconstructions* leaves out the
blur of the VAE. *By calls* is the speed-up of the model calls, from what `speed` measured a step of each model to cost
in float32 with guidance; the pictures are drawn in bfloat16. Rows are of one seed unless they name another. What the
Shortcut model does in few steps is in the [model card](../models/README.md).

Every ratio of times is the median of the ratios within a round, so it is not that of the medians beside it. While
runs are timed the process keeps what it frees, as the allocator of a GPU does: else chance decides which runs take
their memory anew from the system."""
WALL_TIME = """*As timed* is the speed-up in wall time of ten pictures in bfloat16 (`python dev.py bench wall_time`),
and *seconds* what XL takes with 20 steps, over that. Every run was timed between two of XL with 20 steps, {rounds}
times, one model alone {rounds_alone} times, in a random order, on {machine}. For the run
in the middle, half of these lie within {within:.1f} % of their median. Findings and figures go by this time. Ten
unguided pictures are little work for the smaller models, so what a step costs besides them weighs more there."""
OVERHEAD = (
    "*Overhead* is what a run spends outside of the networks beyond what its steps spend there with each model alone,"
    " as a part of the ideal time: free of the networks' own noise, and blind to what a switch costs within them, which"
    " *over ideal* shows."
)
ROUNDING = 1e-6  # of the norm of float32 latents, some rounding errors of 6e-8
CHAINED = """How far the latents of two chained samplers are from those of one loop, as a part of their norm. Bit for
bit the same: {exact}. The same but for rounding, as each sampler scales its result back and forth:
{rounded}. Samplers that remember earlier steps, draw new noise, or ask for the end of a step too,
as heun does, differ:"""


def machine_line(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}"


def captioned(caption: str, header: list[str], rows: list[list[str]]) -> str:
    return f"{caption}\n\n{table(header, rows)}"


# --- Seconds ---------------------------------------------------------------------------------------------------------


def speed(results: dict[str, Any]) -> str:
    return f"{speed_caption(results)}\n\n{speed_table(results)}"


def speed_caption(results: dict[str, Any]) -> str:
    setting = results["setting"]
    return (
        f"{setting['batch']} pictures, {setting['steps']} steps of {setting['sampler']}, cfg {setting['cfg']:g};"
        f" medians of {setting['rounds']} rounds in which all rows take turns. *Over ideal* is the time over what the"
        f" same steps cost with each model alone: at 1, switching is free. {OVERHEAD}"
    )


def speed_table(results: dict[str, Any]) -> str:
    return timed_table(results, "models and their steps", "seconds")


def timed_table(results: dict[str, Any], first: str, seconds: str) -> str:
    """Runs of one model and of several; `seconds` names their time, in the header and, with underscores, in a row."""
    rows = [
        [
            row["run"],
            f"{row[seconds.replace(' ', '_')]:.3f}",
            f"{row['speedup']:.2f}x" if "speedup" in row else "",
            calls_of(row),
            *switching(row),
        ]
        for row in results["runs"]
    ]
    return table([first, seconds, "speed-up", "model calls", *SWITCHING], rows)


SWITCHING = ["over ideal", "overhead"]


def switching(row: Row) -> list[str]:
    return [f"{row['over_ideal']:.3f}", f"{100 * row['overhead']:.2f} %"] if "over_ideal" in row else ["", ""]


def calls_of(row: Row) -> str:
    return ", ".join(f"{name} {count}" for name, count in row["calls"].items())


def full_size(results: dict[str, Any]) -> str:
    setting, rounds = results["setting"], [row["rounds"] for row in results["runs"]]
    caption = (
        f"Published sizes with random weights, one picture with guidance, {setting['steps']} steps of"
        f" {setting['sampler']}, of which the smaller model draws the fraction named; medians of {max(rounds)} rounds,"
        f" of {min(rounds)} for the slowest. {OVERHEAD}"
    )
    return f"{caption}\n\n{timed_table(results, 'run', 'seconds a step')}"


def alternatives(results: dict[str, Any]) -> str:
    setting = results["setting"]
    caption = (
        f"S{ARROW}XL, {setting['split']} of {setting['steps']} steps on S, the same inputs in one process;"
        f" {setting['batch']} pictures, cfg {setting['cfg']:g}, medians of {setting['rounds']} rounds."
    )
    rows = [
        [row["run"], f"{row['seconds']:.3f}", f"{row['over_one_loop']:.3f}", f"{100 * row['difference']:.2g} %"]
        for row in results["runs"]
    ]
    samplers = results["samplers"]
    exact = [row["sampler"] for row in samplers if row["same"]]
    rounded = [row["sampler"] for row in samplers if not row["same"] and row["difference"] < ROUNDING]
    others = [[row["sampler"], f"{100 * row['difference']:.2f} %"] for row in samplers if row["difference"] >= ROUNDING]
    return "\n\n".join(
        [
            caption,
            table(["", "seconds", "over one loop", "difference of the latents"], rows),
            CHAINED.format(exact=", ".join(exact) or "none", rounded=", ".join(rounded)),
            table(["sampler", "difference"], others),
        ]
    )


def memory(results: dict[str, Any]) -> str:
    rows = [[row["run"], f"{row['bytes'] / 2**20:.0f} MiB", f"{row['over_large']:.2f}x"] for row in results["runs"]]
    caption = (
        "Peak resident memory of a child process over a run in which two models take turns, the small one half as"
        " large; loading a model takes memory of its own there, as on a GPU. *Samplers* are KSampler (Advanced) nodes,"
        " one an interval, and *boundary* is a whole run over the noise levels of each: the host's own way keeps what"
        " fits. The *bare loop* has no host, so it holds both."
    )
    return captioned(caption, ["", "peak", "over the large model alone"], rows)


def plan(results: dict[str, Any]) -> str:
    setting, recommendation = results["setting"], results["recommendation"]
    worst = max(abs(row["ratio"] - 1) for row in results["schedules"])
    rows = [
        [row["pattern"], f"{row['predicted']:.3f}", f"{row['measured']:.3f}", f"{row['ratio']:.3f}"]
        for row in results["schedules"]
    ]
    plans = [
        [each["name"], ", ".join(each["models"]), each["pattern"], f"{each['predicted']:.3f}"]
        for each in recommendation["plans"]
    ]
    compared = (
        f"{len(rows)} random schedules of S, B and XL, {setting['batch']} pictures, {setting['steps']} steps: seconds"
        " as predicted by T-Stitch Profile right before and after each run, and as measured; medians of"
        f" {setting['rounds']} rounds. The ratio farthest from 1 is {100 * worst:.1f} % from it; a single run can be"
        " farther."
    )
    recommended = f"What T-Stitch Plan recommends, at a tolerance of {recommendation['tolerance']:g}:"
    return "\n\n".join(
        [
            compared,
            table(["schedule", "predicted", "measured", "ratio"], rows),
            recommended,
            table(["", "models", "schedule", "predicted seconds"], plans),
        ]
    )


def planning(results: dict[str, Any]) -> str:
    setting = results["setting"]
    caption = (
        f"Processor seconds of one plan of {setting['steps']} steps by {setting['models']} models, over random problems"
        " of each class."
    )
    rows = [
        [row["class"], str(row["problems"]), *(f"{row[key]:.3f}" for key in ("median", "p99", "max"))]
        for row in results["runs"]
    ]
    return captioned(caption, ["class", "problems", "median", "99 %", "most"], rows)


def interval(results: dict[str, Any]) -> str:
    setting = results["setting"]
    caption = (
        f"{setting['models']} at {setting['fraction']:g}, {setting['steps']} steps of euler, drawn as for the model"
        f" card, with S as it is bundled, and trained on for {setting['training_images']} pictures over all noise"
        " levels or over those of its own steps."
    )
    rows = [
        [
            row["training"],
            str(row["seed"]),
            f"{row['held_out_loss']:.4f}",
            f"{row['fid']:.3f}",
            f"{row['accuracy']:.3f}",
        ]
        for row in results["runs"]
    ]
    return captioned(caption, ["S", "seed", "held-out loss on its steps", "FID", "accuracy"], rows)


# --- Quality ---------------------------------------------------------------------------------------------------------


def quality(caption: str, reference: Callable[[Row], Reference]) -> Callable[[dict[str, Any]], str]:
    """A table of quality rows; `reference` says what a row's speed-up is counted from."""

    def show(results: dict[str, Any]) -> str:
        times = timed_columns(results["rows"], reference)
        rows = [
            [
                row["models"],
                row["pattern"],
                row["sampler"],
                row["cfg"],
                words_of(row),
                f"{row['fid']:.3f}",
                f"{row['fid_vae']:.3f}",
                f"{row['accuracy']:.3f}",
                f"{row['precision']:.2f}",
                f"{row['recall']:.2f}",
                f"{speedup(row, reference):.2f}x",
                *timed,
            ]
            for row, timed in zip(results["rows"], times, strict=True)
        ]
        header = ["models", "steps", "sampler", "cfg", "", "FID", "FID to reconstructions", "accuracy"]
        full_caption = f"{caption} {pictures(results)} a row.{progress(results)}"
        header += ["precision", "recall", "by calls", *(["seconds", "as timed"] if any(times) else [])]
        return captioned(full_caption, header, rows)

    return show


def timed_columns(rows: list[Row], reference: Callable[[Row], Reference]) -> list[list[str]]:
    """Seconds and speed-up, where all rows have been timed."""
    columns = []
    for row in rows:
        gain = timed_speedup(reference(row).run, run_of(row))
        if gain is None:
            return [[] for _ in rows]
        columns.append([f"{wall_times()[run_of(row)]['seconds']:.3f}", f"{gain:.2f}x"])
    return columns


def progress(results: dict[str, Any]) -> str:
    """A sentence, where rows are missing."""
    found = len(results["rows"])
    total = results.get("settings", found)
    return f" {found} of {total} rows so far." if found < total else ""


def pictures(results: dict[str, Any]) -> str:
    return f"{results['samples']:,} pictures".replace(",", " ")


TENTHS = "S, then B, then XL, in tenths of the steps."
TWENTY = "20 steps, cfg 1."
SEAM = "One loop against two chained samplers; speed-ups are those over 20 steps of dpmpp_2m of XL."
SOLVERS = (
    "Against XL alone with the same steps. The host's ddpm adds noise to the image at full weight, as in models that"
    " predict noise; these are flow models, which fade the image out, so it draws them worse the more steps it takes."
)


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "speed": ("Seconds of a run", speed),
    "full_size": ("Published sizes", full_size),
    "alternatives": ("Against what people do without this pack", alternatives),
    "memory": ("Memory", memory),
    "plan": ("Predicted and measured", plan),
    "planning": ("Planning itself", planning),
    "interval": ("Training for the own interval", interval),
    "tradeoff": ("Trade-off", quality(f"The paper's main figure. {TWENTY}", xl_alone)),
    "simplex": ("Three models", quality(f"{TENTHS} {TWENTY}", xl_alone)),
    "ddim_50": ("DDIM, 50 steps", quality("The paper's solver.", xl_alone)),
    "ddim_100": ("DDIM, 100 steps", quality("The paper's solver.", xl_alone)),
    "simplex_ddim_50": ("Three models, DDIM, 50 steps", quality(TENTHS, xl_alone)),
    "simplex_ddim_100": ("Three models, DDIM, 100 steps", quality(TENTHS, xl_alone)),
    "order": ("Order", quality(f"Small first, and otherwise. {TWENTY}", twenty_steps)),
    "fewer_steps": ("Fewer steps instead", quality("XL alone with fewer steps, against 20.", twenty_steps)),
    "solvers": ("Solvers", quality(SOLVERS, xl_alone)),
    "seam": ("The seam", quality(SEAM, twenty_steps)),
    "complements": ("Complements", quality("Against 20 steps of XL.", twenty_steps)),
    "together": ("Guided", quality("With guidance; against 20 guided steps of XL.", twenty_guided_steps)),
    "spread": ("Spread", quality("More seeds.", twenty_steps)),
    "spread_guided": ("Spread, guided", quality("More seeds, with guidance.", twenty_guided_steps)),
    "spread_ddim": ("Spread, DDIM", quality("More seeds, by the paper's solver.", xl_alone)),
    "planned": ("Planned", quality("What planning recommends (`results/plan.json`), three seeds.", twenty_steps)),
}


#: Those whose figures depend on the machine.
TIMED = ("speed", "full_size", "alternatives", "memory", "plan", "planning")


def report() -> str:
    parts = [INTRODUCTION, no_loss()]
    times = read("wall_time")
    if times is not None:
        within = 100 * median(row["within"] for row in times["runs"])
        words = {"machine": machine_line(times), "within": within}
        parts.append(WALL_TIME.format(**times["setting"], **words))
    for name, (title, show) in SECTIONS.items():
        results = read(name)
        if results is not None:
            parts += [f"## {title} (`{name}`)", show(results)]
            parts += [find(results["rows"]) for find in FINDINGS.get(name, ())]
            parts += [f"![{title}](results/{name}.png)"] if name in figures.FIGURES else []
            parts += [f"Measured on {machine_line(results)}."] if name in TIMED else []
    return "\n\n".join(parts) + "\n"


def main() -> None:
    REPORT.write_text(report(), encoding="utf-8")
    figures.main()


if __name__ == "__main__":
    main()
