"""`benchmarks/README.md`: one section per benchmark that has results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.measure.groups import GROUPS
from benchmarks.report import figures
from benchmarks.report.lines import Reference, one_loop, same_widgets, xl_alone
from benchmarks.report.model_card import few_steps_table
from benchmarks.report.quality import quality_table
from benchmarks.report.readme import summary
from benchmarks.report.tables import table
from benchmarks.tools.results import RESULTS, ROOT, Row, read_results, read_rows

REPORT = ROOT / "benchmarks" / "README.md"

INTRODUCTION = """# What was measured

Made by `python dev.py bench`; every section names its benchmark, as in `python dev.py bench tradeoff`. `--samples`,
`--seeds` and `--rows` measure less, `--help` tells the minutes, and `python dev.py bench report` makes this page anew
from the results that are there.

Pictures are avatars of 64 x 64 by the [starter models](../models/README.md), drawn in 20 steps of euler with cfg 1.5
through the nodes of this pack, unless a table says otherwise. They are scored in the features of a small classifier of
the same avatars, so the figures compare with each other and with nothing else:

- **FID**: distance to 20 000 training pictures, lower is better. It falls with the number of pictures, so only rows of
  as many pictures compare. **spread**: largest less smallest over seeds. **against XL**: difference to XL alone in all
  steps from the same noise, averaged over seeds.
- **style**: part of the pictures whose style the classifier recognizes. **attributes**: how sure it is of hair, eyes,
  mouth and the like; smeared details leave it in doubt.
- **operations** and **time**: how many times fewer floating-point operations, and how many times faster on the clock
  for ten pictures, than XL alone (`wall_time`).
- **no loss**: FID no higher, and style accuracy no lower, than those of the row it is compared with by more than seeds
  of XL alone differ.

Under *steps*, `1x8 2x12` means: the first model of the row takes 8 steps, then the second 12. `XL 0.5x` is XL asked at
half the height and width."""


@dataclass(frozen=True)
class Section:
    """A title, what a person should know to read the table, and what makes it of the results; "" without any."""

    title: str
    words: str
    body: Callable[[], str]


def quality(name: str, title: str, words: str, reference: Reference = xl_alone, against: str = "XL") -> Section:
    return Section(title, words, lambda: quality_table(GROUPS[name].settings(), reference, against))


# --- Seconds ---------------------------------------------------------------------------------------------------------


def timed_table(name: str, seconds: str) -> str:
    """Runs of one model and of several; `seconds` names their time in a row."""
    results = read_results(name)
    if results is None:
        return ""
    rows = [
        [
            row["run"],
            f"{row[seconds]:.3f}",
            f"{row['speedup']:.2f}x" if "speedup" in row else "",
            ", ".join(f"{model} {calls}" for model, calls in row["calls"].items()),
            *([f"{row['over_ideal']:.3f}", f"{100 * row['overhead']:.2f} %"] if "over_ideal" in row else ["", ""]),
        ]
        for row in results["rows"]
    ]
    words = seconds.replace("_", " ")
    rounds = {row.get("rounds", results["setting"].get("rounds")) for row in results["rows"]}
    spoken = " to ".join(map(str, sorted({min(rounds), max(rounds)})))
    return (
        f"Medians of {spoken} rounds in which all rows take turns.\n\n"
        f"{table(['run', words, 'speed-up', 'model calls', 'over ideal', 'overhead'], rows)}"
    )


def tokens() -> str:
    results = read_results("tokens")
    if results is None:
        return ""
    rows = [[row["run"], f"{row['seconds']:.1f}", f"{row['speedup']:.2f}x"] for row in results["rows"]]
    return table(["model", "seconds", "speed-up"], rows)


def chains() -> str:
    runs = [
        [row["run"], f"{row['seconds']:.3f}", f"{row['over_one_loop']:.3f}", f"{100 * row['difference']:.2g} %"]
        for row in read_rows("chains")
        if "run" in row
    ]
    samplers = [[row["sampler"], f"{100 * row['difference']:.2g} %"] for row in read_rows("chains") if "sampler" in row]
    if not runs:
        return ""
    rounds = read_setting("chains")["rounds"]
    timing = table(["", "seconds", "over one loop", "difference of the latents"], runs)
    return f"Medians of {rounds} rounds.\n\n{timing}\n\n{table(['sampler', 'two samplers against one loop'], samplers)}"


def memory() -> str:
    rows = [[row["run"], f"{row['bytes'] / 2**20:.0f} MiB", f"{row['over_large']:.2f}x"] for row in read_rows("memory")]
    return table(["", "peak", "over the large model alone"], rows) if rows else ""


def plan() -> str:
    results = read_results("plan")
    if results is None:
        return ""
    worst = max(abs(row["ratio"] - 1) for row in results["rows"])
    rows = [
        [row["pattern"], f"{row['predicted']:.3f}", f"{row['measured']:.3f}", f"{row['ratio']:.3f}"]
        for row in results["rows"]
    ]
    plans = [
        [each["name"], ", ".join(each["models"]), each["pattern"], f"{each['predicted']:.3f}"]
        for each in results["setting"]["plans"]
    ]
    return (
        f"Medians of {results['setting']['rounds']} rounds; the ratio farthest from 1 is {100 * worst:.1f} % from it."
        f"\n\n{table(['schedule', 'predicted', 'measured', 'ratio'], rows)}\n\nWhat T-Stitch Plan recommends:\n\n"
        f"{table(['', 'models', 'schedule', 'predicted seconds'], plans)}"
    )


def planning() -> str:
    rows = [
        [row["class"], str(row["problems"]), *(f"{row[key]:.3f}" for key in ("median", "p99", "max"))]
        for row in read_rows("planning")
    ]
    return table(["class", "problems", "median", "99 %", "most"], rows) if rows else ""


def interval() -> str:
    losses = [[row["training"], str(row["images"]), f"{row['held_out_loss']:.4f}"] for row in read_rows("interval")]
    tables = [quality_table(GROUPS["interval"].settings())]
    tables += [table(["S", "pictures of its training", "held-out loss on its steps"], losses)] if losses else []
    return "\n\n".join(filter(None, tables))


def pictures() -> str:
    return "![Pictures from the same noise](results/pictures.png)" if (RESULTS / "pictures.png").is_file() else ""


def read_setting(name: str) -> dict[str, Any]:
    results = read_results(name)
    return results["setting"] if results else {}


SECTIONS: dict[str, Section] = {
    "pictures": Section(
        "Pictures",
        "The same noise in every row, so the same people. A small model fixes who is drawn; details are XL's.",
        pictures,
    ),
    "tradeoff": quality(
        "tradeoff",
        "How much a small model can take",
        "The paper's main figure: the small model draws first, XL finishes.",
    ),
    "resolution": quality(
        "resolution",
        "Fewer pixels first: one model is enough",
        "XL itself at a lower resolution, then at full size; with S before it. *Without gain* leaves the detail that a"
        " small latent lacks empty, as SPEED does; *by averages* scales by averaging in place of the cosine transform;"
        " *shift 1* are uniform times, which leave little noise for the first stage to work in.",
    ),
    "guidance": quality(
        "guidance",
        "Guidance by the small model",
        "*Weak S*: S answers the positive prompt, and the picture moves away from its mistakes. *Negative by S*: S"
        " answers the negative prompt. An interval such as 0.2 to 0.8 is the part of the run that is guided; where S"
        " draws the first 40 %, guidance begins after it.",
    ),
    "fewer_steps": quality(
        "fewer_steps",
        "Fewer steps instead",
        "The other way to save time is fewer steps of XL. Compare rows of the same time; both ways work together.",
    ),
    "shift": quality(
        "shift",
        "Time shift",
        "The family carries a shift of 3, as large flow models do; rows without a word have it. It moves steps to high"
        " noise, where small models are good. XL alone at 20 steps decides.",
    ),
    "order": quality(
        "order",
        "Order",
        "The paper finds small first best (FID 10.06 at a half, against 27.6 large first and 19.0 interleaved); later"
        " work on video finds other orders better.",
    ),
    "solvers": quality(
        "solvers",
        "Solvers, times and predictions",
        "Each row against XL alone with the same solver and times. S-eps predicts noise, where XL predicts velocity.",
        same_widgets,
    ),
    "ddim": quality(
        "ddim",
        "DDIM",
        "The paper's solver with its 50 and 100 steps, and a small model that predicts noise, beside XL alone.",
        same_widgets,
    ),
    "seam": quality(
        "seam",
        "The seam",
        "Two chained samplers, the second of which starts without history, against one loop.",
        one_loop,
        "one loop",
    ),
    "chains": Section(
        "What a chain of samplers changes",
        "S for 8 of 20 steps, then XL, on the same inputs in one process. Solvers that remember earlier steps or draw"
        " new noise give other pictures when they are cut in two; the rest agree to rounding.",
        chains,
    ),
    "alternatives": quality(
        "alternatives",
        "Caches of model calls",
        "The host's EasyCache and LazyCache, as their widgets are. EasyCache works on the finishing model.",
    ),
    "shortcut": Section(
        "Few steps",
        "The Shortcut model against B, which has its size and took as many operations to train; cfg 1. Up to 64 steps"
        " the Shortcut model has guidance of 1.5 in its weights.",
        few_steps_table,
    ),
    "interval": Section(
        "Training for the own interval",
        "S trained on for its 40 % of the steps, against S trained on for all steps with the same pictures and noise.",
        interval,
    ),
    "above_native": quality(
        "above_native",
        "Above the trained size",
        "Pictures of 128 x 128 by XL, which was trained for 64, with a first stage at its own size; scored at 64 x 64.",
        lambda setting: GROUPS["above_native"].settings()[0].seeded(setting.seed)[0],
    ),
    "joint": quality(
        "joint",
        "Everything planned together",
        "Plans by T-Stitch Calibrate, Profile and Plan for 1.5 to 6 times the speed of XL alone: *joint plan* chooses"
        " the number of steps, the noise levels and the model of each step (S and XL, both at half size too, and XL"
        " with its negative by S), *plan of steps* the number and levels of the steps of XL. *Joint plan, S guides*"
        " plans for XL guided by weak S at cfg 2. Below them fewer steps of XL, 40 % by S, and that with S as guide.",
    ),
    "planned": quality("planned", "Planned", "What T-Stitch Plan recommends (`plan`), drawn."),
    "speed": Section(
        "Seconds of a run",
        "Ten pictures, 20 steps of euler, cfg 1.5, in float32. *Over ideal* is the time over what the same steps cost"
        " with each model alone: at 1, switching is free. *Overhead* is what a run spends outside of the networks"
        " beyond what its steps spend there alone, as a part of the ideal time.",
        lambda: timed_table("speed", "seconds"),
    ),
    "full_size": Section(
        "Published sizes",
        "Random weights, one picture with guidance, 5 steps of ddim: DiTs at 256 x 256, Stable Diffusion at 512 x 512.",
        lambda: timed_table("full_size", "seconds_per_step"),
    ),
    "tokens": Section(
        "Large models at lower resolutions",
        "One call without guidance, networks in bfloat16, random weights of the real widths and numbers of tokens.",
        tokens,
    ),
    "memory": Section(
        "Memory",
        "Peak resident memory of a process in which two models take turns, the small one half as large. *Samplers* are"
        " KSampler (Advanced) nodes, one per interval; *boundary* is a whole run over the noise levels of each. The"
        " *bare loop* has no host, so it holds both.",
        memory,
    ),
    "plan": Section(
        "Predicted and measured",
        "Random schedules of S, B and XL, 20 pictures, 20 steps: seconds as T-Stitch Profile predicts them right before"
        " and after each run, and as measured.",
        plan,
    ),
    "planning": Section(
        "Planning itself",
        "Processor seconds of one plan of 100 steps by 5 models, over random problems of each class.",
        planning,
    ),
}

#: Those whose figures depend on the machine.
TIMED = ("speed", "full_size", "tokens", "chains", "memory", "plan", "planning")


def report() -> str:
    parts = [INTRODUCTION]
    if read_rows("quality"):
        parts += ["## In short (`main`)", summary(), wall_time_sentence()]
    for name, section in SECTIONS.items():
        body = section.body()
        if body:
            parts += [f"## {section.title} (`{name}`)", section.words, body]
            parts += [f"![{section.title}](results/{name}.png)"] if figures.is_drawn(name) else []
            parts += [f"Measured on {machine_words(name)}."] if name in TIMED else []
    return "\n\n".join(filter(None, parts)) + "\n"


def wall_time_sentence() -> str:
    results = read_results("wall_time")
    if results is None:
        return "Wall time has not been measured for these rows."
    within: list[float] = sorted(row["within"] for row in results["rows"])
    setting = results["setting"]
    return (
        f"*Time*: every run between two of XL alone, {setting['rounds']} times, one model alone"
        f" {setting['rounds_alone']} times, in a random order, on {machine_words('wall_time')}. For the run in the"
        f" middle, half of these lie within {100 * within[len(within) // 2]:.1f} % of their median."
    )


def machine_words(name: str) -> str:
    results = read_results(name)
    machine: Row = results["machine"] if results else {}
    return f"{machine.get('processor')}, {machine.get('threads')} threads, torch {machine.get('torch')}"


def main() -> None:
    REPORT.write_text(report(), encoding="utf-8")
