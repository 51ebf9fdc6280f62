"""The generated figures of the README, from the results that the benchmarks wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.findings import FINDINGS, no_loss
from benchmarks.model_card import few_steps_table, table
from benchmarks.report import pictures, progress, speed_caption, speed_table
from benchmarks.rows import ARROW, read, speedup

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
MARK, END = "<!-- numbers -->\n", "<!-- end -->"


def quality_rows(results: dict[str, Any]) -> list[list[str]]:
    """S to XL, from XL alone to S alone."""
    pair = f"S{ARROW}XL"
    kept = {row["key"]: row for row in results["rows"] if row["models"] in (pair, "S", "XL")}
    keys = ("fid", "fid_vae", "accuracy")
    return [
        [row["models"], row["pattern"], *(f"{row[key]:.3f}" for key in keys), f"{speedup(row):.2f}x"]
        for row in kept.values()
    ]


def quality_caption(results: dict[str, Any]) -> str:
    return (
        f"Quality (`python dev.py bench tradeoff`): {pictures(results)} a row, 20 steps of dpmpp_2m, cfg 1, one seed."
        " FID is in the features of a classifier trained on the same data, so it compares with nothing else; *FID to"
        " reconstructions* leaves out the blur of the VAE. The speed-up is that of the model calls; *as timed*, below,"
        " that of the wall time of ten pictures (`python dev.py bench wall_time`)."
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
    speeds, tradeoff = read("speed"), read("tradeoff")
    assert speeds is not None
    assert tradeoff is not None
    header = ["models", "steps", "FID", "FID to reconstructions", "class accuracy", "speed-up"]
    threads = f"{speeds['machine']['threads']} CPU threads"
    title = f"Seconds of a run on the starter models (`python dev.py bench speed`), {threads}"
    parts = [f"{title}: {speed_caption(speeds)}", speed_table(speeds), quality_caption(tradeoff)]
    parts += [table(header, quality_rows(tradeoff)), f"Findings. {no_loss()}", findings()]
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
