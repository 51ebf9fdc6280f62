"""The page of tables and plots, made from whatever has been measured so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import PARTS
from benchmarks.report.tables import table
from benchmarks.tools.results import Row

GIB = 2**30
NAME = "gpu.md"


def write_page(folder: Path, results: Row) -> None:
    lines = ["# On a GPU", "", headline(results), ""]
    for name, part in results["parts"].items():
        lines += [f"## {PARTS[name].title} (`{name}`)", "", status_line(part), ""]
        lines += SECTIONS[name](part["rows"], folder)
        lines += remarks(part["rows"])
        if part["error"]:
            lines += ["```", part["error"].rstrip(), "```", ""]
    (folder / NAME).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def headline(results: Row) -> str:
    machine = results["machine"]
    if not machine:
        return "No process has begun."
    words = [machine["device"], f"{machine['bytes'] / GIB:.0f} GiB" if "bytes" in machine else ""]
    words += [f"CUDA {machine['cuda']}" if "cuda" in machine else "", f"torch {machine['torch']}"]
    words += [f"ComfyUI {machine['comfyui']}", machine["processor"], f"{machine['threads']} threads"]
    toy = " Everything is at toy size: nothing but that it runs can be told from it." if results["dry"] else ""
    return f"Measured by `python dev.py bench gpu` on {', '.join(filter(None, words))}.{toy}"


def status_line(part: Row) -> str:
    return f"{part['status'].capitalize()}, {part['seconds']:.0f} of at most {limit_of(part):.0f} s."


def limit_of(part: Row) -> float:
    return float(part.get("limit") or 0.0)


def remarks(rows: list[Row]) -> list[str]:
    """Cells that failed, and those that there was no time for."""
    found = [f"- {labels_of(row)}: {row['error']}" for row in rows if "error" in row]
    for row in rows:
        nested = {key: value for key, value in row.items() if isinstance(value, dict) and "error" in value}
        found += [f"- {labels_of(row)} {key}: {value['error']}" for key, value in nested.items()]
        found += [f"- no time was left for {', '.join(row['left out'])}"] if "left out" in row else []
    return [*found, ""] if found else []


def labels_of(row: Row) -> str:
    return " ".join(str(value) for value in row.values() if isinstance(value, str) and value != row.get("error"))


def good(rows: list[Row], *keys: str) -> list[Row]:
    """Those that have all of `keys`, and no error."""
    return [row for row in rows if "error" not in row and all(key in row for key in keys)]


# --- Sections --------------------------------------------------------------------------------------------------------


def exactness(rows: list[Row], _: Path) -> list[str]:
    """One line each way of mixing and kind of weights; then the samplers that are not exact."""
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in good(rows, "exact"):
        kinds.setdefault((row["weights"], row["prediction"]), []).append(row)
    lines = [
        [*kind, str(len(found)), f"{sum(row['exact'] for row in found)} of {sum(row['cells'] for row in found)}"]
        for kind, found in kinds.items()
    ]
    different = [
        [
            row["sampler"],
            row["weights"],
            row["prediction"],
            f"{row['exact']} of {row['cells']}",
            f"{row['furthest']:.2g}",
        ]
        for row in good(rows, "exact")
        if row["exact"] < row["cells"]
        for labels in [[row[key] for key in ("sampler", "weights", "prediction")]]
    ]
    text = (
        "Of each sampler: one model in every stage against the stock sampler on two schedulers, and two models against"
        " one loop over both, with deterministic kernels."
    )
    found = [text, "", table(["weights", "prediction", "samplers", "bit for bit"], lines), ""] if lines else []
    if different:
        header = ["not exact", "weights", "prediction", "exact", "furthest, of the norm"]
        found += [table(header, different), ""]
    return found


def overhead(rows: list[Row], _: Path) -> list[str]:
    rows = good(rows, "over stock")
    if not rows:
        return []
    lines = [
        [
            row["title"],
            str(row["tokens"]),
            milliseconds(row["seconds"]["stock"] / row["steps"]),
            f"{row['over stock']:.4f}",
            f"{row['pair over ideal']:.4f}",
            three(row["waits"], "{:.0f}"),
            three(row["launches a step"], "{:g}"),
            f"{row['profile'][-1]['microseconds']:.0f}",
        ]
        for row in rows
    ]
    text = (
        "*Over stock* is a run with the large model in both stages over the stock sampler's, *over ideal* a run of both"
        " models over what its steps cost with each alone. *Waits* are the times that Python waits for the device in a"
        " run, *launches* the kernels of a step: of the stock sampler, of one model in both stages, and of both models."
        " *Pack* is Python's time in the pack's own functions, with the profiler on."
    )
    header = ["models", "tokens", "stock, ms a step", "over stock", "over ideal", "waits", "launches a step"]
    found = [text, "", table([*header, "pack, µs a step"], lines), ""]
    extra = [[row["title"], place, str(count)] for row in rows for place, count in row["waits of stitching"].items()]
    if extra:
        found += [table(["models", "a wait that stitching adds", "in a run"], extra), ""]
    slowest = max(rows, key=lambda row: row["profile"][-1]["microseconds"])
    functions = [[line["function"], f"{line['microseconds']:.0f}"] for line in slowest["profile"]]
    return [*found, table([f"the pack's functions, {slowest['title']}", "µs a step"], functions), ""]


def stages(rows: list[Row], folder: Path) -> list[str]:
    titles = {row["family"]: row["title"] for row in good(rows, "title")}
    parts = [of_fractions, of_scales, of_guidance]
    return [line for part in parts for line in part(rows, titles, folder)]


def of_fractions(rows: list[Row], titles: dict[str, str], folder: Path) -> list[str]:
    found = measured(rows, "fractions")
    if not found:
        return []
    lines = [
        [
            titles[family],
            fraction,
            f"{cell['part']:.2f}",
            f"{cell['seconds']:.3f}",
            f"{cell['ideal']:.3f}",
            f"{cell['over ideal']:.4f}",
        ]
        for family, cells in found.items()
        for fraction, cell in cells.items()
    ]

    def draw(axes: Any) -> None:
        for number, (family, cells) in enumerate(found.items()):
            whole = cells["0"]["seconds"]
            places = [cell["part"] for cell in cells.values()]
            color = color_of(number)
            axes.plot(places, [cell["ideal"] / whole for cell in cells.values()], "--", color=color, linewidth=1.5)
            times = [cell["seconds"] / whole for cell in cells.values()]
            axes.plot(places, times, "o-", color=color, linewidth=2.5, label=titles[family])

    title = "Time by the steps on the small model"
    picture = plot(folder / "gpu_fractions.png", draw, title, "part of the steps", "of the large model's time")
    header = ["models", "fraction", "part of the steps", "seconds", "ideal", "over ideal"]
    return [picture, "", "Dashed: what the same steps cost with each model alone.", "", table(header, lines), ""]


def of_scales(rows: list[Row], titles: dict[str, str], folder: Path) -> list[str]:
    found = measured(rows, "scales")
    if not found:
        return []
    lines = [
        [
            titles[family],
            scale,
            str(cell["tokens"]),
            milliseconds(cell["seconds per step"]),
            f"{cell['part of full']:.3f}",
        ]
        for family, cells in found.items()
        for scale, cell in cells.items()
    ]

    def draw(axes: Any) -> None:
        for number, (family, cells) in enumerate(found.items()):
            tokens = [cell["tokens"] / cells["1"]["tokens"] for cell in cells.values()]
            times = [cell["part of full"] for cell in cells.values()]
            axes.plot(tokens, times, "o-", color=color_of(number), linewidth=2.5, label=titles[family])
        axes.plot([0.2, 1], [0.2, 1], "--", color="#8b919c", linewidth=1.5)

    title = "A step at lower resolutions"
    picture = plot(folder / "gpu_scales.png", draw, title, "part of the tokens", "of a full step's time")
    return [picture, "", table(["model", "scale", "tokens", "ms a step", "of a full step"], lines), ""]


def of_guidance(rows: list[Row], titles: dict[str, str], _: Path) -> list[str]:
    lines = [
        [
            titles[family],
            run,
            f"{cell['seconds']:.3f}",
            f"{cell['over both alone']:.4f}" if "over both alone" in cell else "",
            f"{cell['of the guided run']:.3f}" if "of the guided run" in cell else "",
        ]
        for family, cells in measured(rows, "guidance").items()
        for run, cell in cells.items()
    ]
    header = ["models", "guidance", "seconds", "over both alone", "of the guided run"]
    return [table(header, lines), ""] if lines else []


def measured(rows: list[Row], key: str) -> dict[str, Row]:
    """What was measured under `key`, by family."""
    return {row["family"]: row[key] for row in good(rows, key) if "error" not in row[key]}


def memory(rows: list[Row], folder: Path) -> list[str]:
    sizes = next((row["bytes"] for row in rows if "bytes" in row), None)
    runs = good(rows, "peak allocated")
    found = []
    if sizes:
        found += [f"The small model has {sizes['small'] / GIB:.2f} GiB, the large one {sizes['large'] / GIB:.2f}.", ""]
    if runs:
        lines = [
            [
                row["room"],
                row["run"] + {None: "", True: ", pinned", False: ", not pinned"}[row.get("pinned")],
                f"{row['peak allocated'] / GIB:.2f}",
                f"{row['peak reserved'] / GIB:.2f}",
                f"{row['first seconds']:.2f}",
                f"{row['seconds']:.2f}",
                "" if row["seconds of a switch"] is None else f"{row['seconds of a switch']:.3f}",
                f"{100 * row['part of the large model on the device']:.0f} %",
            ]
            for row in runs
        ]
        header = ["room", "run", "allocated, GiB", "reserved, GiB", "first, s", "again, s", "a switch, s"]
        found += [table([*header, "large on the device"], lines), ""]
        picture = plot_bars(folder / "gpu_memory.png", runs)
        found += [picture, ""]
    after = [
        [row["after"], str(row["steps"]), str(row["most bytes left"]), "yes" if row["same afterwards"] else "no"]
        for row in good(rows, "most bytes left")
    ]
    header = ["raised in each step", "steps", "most bytes left", "next run as before"]
    return [*found, table(header, after), ""] if after else found


def report(rows: list[Row], _: Path) -> list[str]:
    lines = [
        [
            row["family"],
            row["sampler"],
            f"{row['loop on the device']:.4f}",
            f"{row['report']:.4f}",
            f"{row['report over loop']:.4f}",
            ", ".join(f"{each['report']:.4f} ({each['network on the device']:.4f})" for each in row["stages"]),
            f"{row['timeline at the end']:.4f}",
            f"{row['timeline behind']:.4f}",
        ]
        for row in good(rows, "report over loop")
    ]
    header = ["models", "sampler", "loop, s", "report, s", "report over loop", "stages (networks), s", "timeline, s"]
    return [table([*header, "timeline behind at most, s"], lines), ""] if lines else []


def compiled(rows: list[Row], _: Path) -> list[str]:
    lines = [
        [
            row["compiled"],
            *counts_of(row),
            f"{row['first seconds']:.1f}",
            f"{row['seconds']['compiled']:.4f}",
            f"{row['seconds']['plain']:.4f}",
            f"{row['difference']:.1e}",
        ]
        for row in good(rows, "graphs", "compiled")
    ]
    for row in good(rows, "stock sampler"):
        lines.append([f"{row['stock sampler']}, stock sampler", *counts_of(row), "", "", "", ""])
    header = [
        "compiled",
        "graphs of the first run",
        "of later runs",
        "first, s",
        "compiled, s",
        "plain, s",
        "difference",
    ]
    return [table(header, lines), ""] if lines else []


def counts_of(row: Row) -> list[str]:
    return [", ".join(f"{name} {count}" for name, count in row["graphs"].items()), str(row["recompiles"])]


SECTIONS: dict[str, Callable[[list[Row], Path], list[str]]] = {
    "exactness": exactness,
    "overhead": overhead,
    "stages": stages,
    "memory": memory,
    "report": report,
    "compile": compiled,
}


# --- Words and plots -------------------------------------------------------------------------------------------------


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"


def three(values: Row, form: str) -> str:
    return " / ".join(form.format(values[run]) for run in ("stock", "itself", "pair"))


def color_of(number: int) -> str:
    from tstitch.views import plots

    return plots.color_of(number)


def plot(path: Path, draw: Callable[[Any], None], title: str, xlabel: str, ylabel: str) -> str:
    """Its place in the page."""
    from tstitch.views.plots import add_legend, new_axes

    figure, axes = new_axes(title, xlabel, ylabel)
    draw(axes)
    add_legend(axes)
    figure.savefig(path)
    return f"![{title}]({path.name})"


def plot_bars(path: Path, runs: list[Row]) -> str:
    """Peak memory by policy, one group of bars per room."""
    from tstitch.views.plots import add_legend, new_axes

    title = "Peak memory"
    rooms = {room: [row for row in runs if row["room"] == room and "pinned" not in row] for room in ROOMS}
    names = list(dict.fromkeys(row["run"] for rows in rooms.values() for row in rows))
    figure, axes = new_axes(title, "", "GiB allocated", grid="y")
    for number, (room, rows) in enumerate(rooms.items()):
        places = [names.index(row["run"]) + 0.4 * number - 0.2 for row in rows]
        values = [row["peak allocated"] / GIB for row in rows]
        axes.bar(places, values, width=0.36, color=color_of(number), label=room)
    axes.set_xticks(range(len(names)), names)
    add_legend(axes)
    figure.savefig(path)
    return f"![{title}]({path.name})"


ROOMS = ("ample", "1.2 times the larger model")
