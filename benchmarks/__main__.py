"""`python -m benchmarks [NAME ...]`: run the named benchmarks, or all, and make tables and figures of all results.

`gpu` stands apart, with arguments of its own: `python -m benchmarks gpu --help`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

from benchmarks.measure.groups import GROUPS
from benchmarks.tools.options import Options
from training.data import DatasetError

#: Of the benchmarks that draw no rows of quality: what they measure, and about how many minutes they take.
OTHERS: dict[str, tuple[str, int]] = {
    "speed": ("seconds of stitched runs, and what switching costs", 3),
    "wall_time": ("seconds of every row of quality that has been drawn", 9),
    "chains": ("seconds and latents of one loop against two samplers", 2),
    "memory": ("peak memory by policy (Linux)", 1),
    "full_size": ("seconds per step of published sizes", 14),
    "tokens": ("seconds of a call of large models at lower resolutions", 12),
    "plan": ("predicted against measured seconds", 5),
    "planning": ("seconds of planning itself", 3),
    "pictures": ("the same people by several runs, side by side", 1),
    "start": ("what the pack adds to the start of ComfyUI (printed only)", 1),
}
REPORT, GPU = "report", "gpu"
EVERYTHING = 175  # minutes; less than the sum, as groups share rows


def main() -> None:
    if sys.argv[1:2] == [GPU]:
        from benchmarks.gpu.__main__ import main as prove

        prove(sys.argv[2:])
        return
    names = [*GROUPS, *OTHERS]
    # `planned` draws what `plan` recommends, and `wall_time` times all that was drawn.
    everything = [*(name for name in names if name not in ("planned", "wall_time")), "planned", "wall_time"]
    args = parser().parse_args()
    options = Options(args.samples, args.seeds, args.rows)
    try:
        for name in args.names or everything:
            if name != REPORT:
                benchmark(name, options)()
                make_report()
    except DatasetError as error:
        sys.exit(str(error))
    make_report()


def parser() -> argparse.ArgumentParser:
    minutes = {name: (group.question, group.minutes) for name, group in GROUPS.items()} | OTHERS
    lines = [f"  {name:<13} {time:>3} min  {what}" for name, (what, time) in minutes.items()]
    lines.append(f"  {GPU:<13}   8 min  proof on a GPU: stands apart, see `{GPU} --help`")
    lines.append(f"  {REPORT:<13}          tables and figures alone, of the results that are there")
    result = argparse.ArgumentParser(
        prog="dev.py bench",
        description="Measure, and make the tables and figures of the documentation from all results. A row that was"
        " measured with the same weights is kept, so a stopped run goes on where it was.",
        epilog=f"minutes on two idle cores; {EVERYTHING} for all, as groups share rows, and --samples 500 halves what\n"
        "pictures take; `main wall_time` is what the README shows:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("names", nargs="*", choices=[*minutes, REPORT, []], metavar="NAME", help="(all)")
    result.add_argument("--samples", type=positive, help="pictures per row, in place of each group's own number")
    result.add_argument("--seeds", type=positive, default=3, help="at most so many seeds of a row (3)")
    result.add_argument("--rows", default="", metavar="TEXT", help="only rows of quality with this text in their name")
    return result


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


def benchmark(name: str, options: Options) -> Callable[[], None]:
    """Imported when it is run: the host takes seconds to load."""
    if name in GROUPS:
        return partial(import_module("benchmarks.measure.quality").measure, name, options)
    function: Callable[[], None] = import_module(f"benchmarks.measure.{name}").main
    return function


def make_report() -> None:
    from benchmarks.report import figures, model_card, page, readme

    for module in (figures, page, model_card, readme):
        module.main()


if __name__ == "__main__":
    main()
