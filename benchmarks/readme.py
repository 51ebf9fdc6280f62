"""The generated figures of the README, from the results that the benchmarks wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.findings import FINDINGS, no_loss
from benchmarks.model_card import few_steps_table, table
from benchmarks.report import pictures, progress, speed_caption, speed_table
from benchmarks.rows import ARROW, read, seeds_alone, speed_of, speedup, spread_of

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
MARK, END = "<!-- numbers -->\n", "<!-- end -->"

#: What a user would ask first: words, and the benchmark, models, steps and cfg of a row.
SUMMARY = (
    ("the first 20 % of the steps on S", "tradeoff", f"S{ARROW}XL", "1x4 2x16", "1"),
    ("the first 40 % on S", "tradeoff", f"S{ARROW}XL", "1x8 2x12", "1"),
    ("the last 40 % on S", "order", f"S{ARROW}XL", "2x12 1x8", "1"),
    ("XL alone in 10 steps", "fewer_steps", "XL", "1x10", "1"),
    ("10 steps, the first two on S", "fewer_steps", f"S{ARROW}XL", "1x2 2x8", "1"),
    ("guided: XL alone in 10 steps", "together", "XL", "1x10", "2"),
    ("guided: 10 steps, the last two on S", "together", f"XL{ARROW}S", "1x8 2x2", "2"),
    ("guided: XL alone in 5 steps", "together", "XL", "1x5", "2"),
    ("guided: 7 steps, the last two on S", "together", f"XL{ARROW}S", "1x5 2x2", "2"),
)


def summary() -> str:
    """Each row beside 20 steps of XL alone with the same cfg and noise."""
    rows = [[words, *gained(*which)] for words, *which in SUMMARY]
    header = ["20 steps of XL alone become", "times as fast", "change of FID", "of class accuracy"]
    return f"In the wall time of ten pictures, by dpmpp_2m:\n\n{table(header, rows)}"


def gained(group: str, models: str, pattern: str, cfg: str) -> list[str]:
    results = read(group)
    assert results is not None
    known = {(row["models"], row["pattern"]): row for row in results["rows"] if row["cfg"] == cfg and not row["seed"]}
    row = known[models, pattern]
    alone = seeds_alone(spread_of(row))[0]
    speed, fid, accuracy = speed_of([row, alone]), row["fid"] - alone["fid"], row["accuracy"] - alone["accuracy"]
    return [f"{speed(row) / speed(alone):.2f}", f"{fid:+.3f}", f"{accuracy:+.3f}"]


def overhead(speeds: dict[str, Any], sizes: dict[str, Any]) -> str:
    """What a run spends on stitching, here and at published sizes."""
    own = [1000 * row["overhead"] * row["seconds"] / row["over_ideal"] for row in speeds["runs"] if "overhead" in row]
    published = max(100 * row["overhead"] for row in sizes["runs"] if "overhead" in row)
    return (
        f"Outside of the networks stitching costs {min(own):.0f} to {max(own):.0f} ms a run here, and at most"
        f" {published:.2f} % of a run at published sizes (`python dev.py bench full_size`)."
    )


def quality_rows(results: dict[str, Any]) -> list[list[str]]:
    """S to XL, from XL alone to S alone."""
    pair = f"S{ARROW}XL"
    kept = {row["key"]: row for row in results["rows"] if row["models"] in (pair, "S", "XL")}
    keys, speed = ("fid", "fid_vae", "accuracy"), speed_of(list(kept.values()))
    return [
        [
            row["models"],
            row["pattern"],
            *(f"{row[key]:.3f}" for key in keys),
            f"{speedup(row):.2f}x",
            f"{speed(row):.2f}x",
        ]
        for row in kept.values()
    ]


def quality_caption(results: dict[str, Any]) -> str:
    return (
        f"Quality (`python dev.py bench tradeoff`): {pictures(results)} a row, 20 steps of dpmpp_2m, cfg 1, one seed."
        " FID is in the features of a classifier trained on the same data, so it compares with nothing else; *FID to"
        " reconstructions* leaves out the blur of the VAE. *By calls* is the speed-up of the model calls, *as timed*"
        " that of the wall time of ten pictures (`python dev.py bench wall_time`), which findings and figures go by."
    )


FEW_STEPS_CAPTION = (
    "Few steps (`python dev.py bench shortcut`): the starter Shortcut model against B, which has its size and took as"
    " many floating-point operations to train; euler, 5 000 pictures, drawn as for the [model card](models/README.md)."
    " Both run without guidance, but up to 64 steps the Shortcut model has guidance of 1.5 in its weights."
)


def findings() -> str:
    """What each quality benchmark that has been run comes to, as a list with their names."""
    known = {name: read(name) for name in FINDINGS}
    found = {
        name: FINDINGS[name][0](results["rows"]) + progress(results)
        for name, results in known.items()
        if results is not None
    }
    return "\n".join(f"- `{name}`: {finding}" for name, finding in found.items())


def numbers() -> str:
    """The README's section between the marks."""
    speeds, tradeoff, sizes = read("speed"), read("tradeoff"), read("full_size")
    assert speeds is not None
    assert tradeoff is not None
    assert sizes is not None
    header = ["models", "steps", "FID", "FID to reconstructions", "class accuracy", "by calls", "as timed"]
    threads = f"{speeds['machine']['threads']} CPU threads"
    title = f"Seconds of a run on the starter models (`python dev.py bench speed`), {threads}"
    parts = [summary(), overhead(speeds, sizes), f"{title}: {speed_caption(speeds)}", speed_table(speeds)]
    parts += [quality_caption(tradeoff), table(header, quality_rows(tradeoff)), f"Findings. {no_loss()}", findings()]
    parts += ["![FID over speed-up](benchmarks/results/tradeoff.png)", FEW_STEPS_CAPTION, few_steps_table()]
    return "\n\n".join(parts)


def with_numbers(text: str) -> str:
    """The README with its figures made anew."""
    before, mark, rest = text.partition(MARK)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{README} has no {MARK.strip()} ... {END} pair")
    return f"{before}{mark}{numbers()}\n{end}{after}"


def main() -> None:
    README.write_text(with_numbers(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
