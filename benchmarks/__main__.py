"""`python -m benchmarks [NAME ...]`: run the named benchmarks, or all, and make the README's figures anew."""

from __future__ import annotations

import argparse

from benchmarks import readme, speed

BENCHMARKS = {"speed": speed.main}


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help=", ".join(BENCHMARKS))
    for name in parser.parse_args().names or BENCHMARKS:
        BENCHMARKS[name]()
    readme.main()


if __name__ == "__main__":
    main()
