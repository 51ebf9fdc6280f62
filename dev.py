#!/usr/bin/env python3
"""One entry point for everything around T-Stitch: `python dev.py demo`, `python dev.py test`, and more.

Each command first makes what is missing and nothing else: a virtual environment in .venv, a real ComfyUI in .host
(or the one that COMFYUI_PATH names), the packages both need, and the pack's link in that ComfyUI's custom_nodes.
Needs the standard library only, as all of devtools/ does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from devtools.checks import run_packs, run_tests
from devtools.packages import set_up_node
from devtools.processes import call, run_module
from devtools.project import ROOT, DevError
from devtools.setup import check_python, set_up


def command_setup(_: list[str]) -> int:
    set_up(for_tests=True)
    print("Ready.")
    return 0


def command_test(arguments: list[str]) -> int:
    packs = arguments[:1] == ["--packs"]
    if packs and len(arguments) < 2:
        raise DevError("--packs needs the folder of the packs: python dev.py test --packs FOLDER.")
    set_up(for_tests=True)
    return run_packs(Path(arguments[1]).expanduser().resolve(), arguments[2:]) if packs else run_tests(arguments)


def command_train(arguments: list[str]) -> int:
    set_up()
    if "data" in arguments:
        set_up_node()
    return run_module("training", arguments)


def module(name: str, *first: str, takes_paths: bool = False) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        set_up()
        return run_module(name, [*first, *(absolute(arguments) if takes_paths else arguments)])

    return command


def absolute(arguments: list[str]) -> list[str]:
    return [argument if argument.startswith("-") else os.path.abspath(argument) for argument in arguments]


def command_convert(arguments: list[str]) -> int:
    node = shutil.which("node")
    if node is None:
        raise DevError("convert needs Node.js 20 or newer: install it, then run this again.")
    return call([node, str(ROOT / "scripts" / "convert.js"), *absolute(arguments)])


COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "setup": (command_setup, "make what is missing for all other commands"),
    "demo": (module("scripts.demo"), "run T-Stitch in a real ComfyUI and write demo.png (see demo --help)"),
    "test": (
        command_test,
        "check style and types and run all tests; arguments go to pytest; --packs FOLDER: packs alone",
    ),
    "train": (command_train, "make the avatars, or train the starter model that is named (see train --help)"),
    "eval": (module("benchmarks", "models"), "measure the bundled models: FID, style accuracy, seconds per step"),
    "bench": (module("benchmarks"), "run the benchmarks, or those that are named (see bench --help)"),
    "convert": (command_convert, "turn chains of samplers in a workflow or API prompt, IN, into one loop each, OUT"),
    "convert-shortcut": (
        module("scripts.convert_shortcut", takes_paths=True),
        "turn a released Shortcut pickle, IN, into safetensors, OUT",
    ),
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py",
        description=(__doc__ or "").split("\n")[0],
        epilog="\n".join(["commands:", *(f"  {name:<18}{text}" for name, (_, text) in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its own arguments")
    return parser.parse_args(arguments or ["--help"])


def main() -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    options = parse(sys.argv[1:])
    try:
        check_python()
        return COMMANDS[options.command][0](options.arguments)
    except DevError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dev.py: stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
