"""`python dev.py bench gpu [--dry] [PART ...]`: prove it on a GPU, in eight minutes and without a network.

Writes gpu.json, a page gpu.md with its plots, and every row as it comes, into benchmarks/results or the folder named.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.gpu.page import write_page
from benchmarks.gpu.parts import PARTS, TOTAL, stretched
from benchmarks.gpu.runner import START, Runner, start_child
from benchmarks.tools.results import RESULTS, Row, replace_text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="dev.py bench gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--dry", action="store_true", help="at toy size, on a CPU too; into a temporary folder")
    parser.add_argument("--out", type=Path, help="the folder to write to")
    options = parser.parse_args(arguments)
    folder = options.out or (Path(tempfile.mkdtemp(prefix="tstitch-gpu-")) if options.dry else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    run_all(folder, options.dry, options.parts or list(PARTS))


def run_all(folder: Path, dry: bool, names: Sequence[str]) -> Row:
    def on_change(results: Row) -> None:
        replace_text(folder / "gpu.json", json.dumps(results, indent=1) + "\n")
        write_page(folder, results)
        print(*(f"{name} {part['status']}" for name, part in results["parts"].items()), sep=", ", flush=True)

    print(f"Writing to {folder}", flush=True)
    parts = {name: part._replace(limit=stretched(part.limit, dry)) for name, part in PARTS.items()}
    runner = Runner(
        folder,
        dry,
        partial(start_child, dry=dry),
        on_change,
        parts=parts,
        total=stretched(TOTAL, dry),
        start_limit=stretched(START, dry),
    )
    return runner.run(names)


if __name__ == "__main__":
    main()
