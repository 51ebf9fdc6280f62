"""`python -m benchmarks [NAME ...]`: run the named benchmarks, or all, and make the README's figures anew.

`gpu` stands apart, with arguments of its own: `python -m benchmarks gpu --help`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

import benchmarks.gpu.__main__ as gpu
from benchmarks import (
    alternatives,
    full_size,
    interval,
    memory,
    plan,
    planning,
    quality,
    readme,
    report,
    shortcut,
    speed,
    start,
    wall_time,
)

BENCHMARKS: dict[str, Callable[[], None]] = {
    "start": start.main,
    "speed": speed.main,
    "alternatives": alternatives.main,
    "full_size": full_size.main,
    "memory": memory.main,
    "shortcut": shortcut.measure,
    "interval": interval.measure,
    "plan": plan.main,
    "planning": planning.main,
    "wall_time": wall_time.main,
    **{name: partial(quality.measure, [name]) for name in quality.GROUPS},
}


def main() -> None:
    if sys.argv[1:2] == ["gpu"]:
        gpu.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help=", ".join(BENCHMARKS))
    for name in parser.parse_args().names or BENCHMARKS:
        BENCHMARKS[name]()
    report.main()
    readme.main()


if __name__ == "__main__":
    main()
