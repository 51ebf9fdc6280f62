"""Seconds of several runs, paired: all take turns in one process, so that whatever else the machine does hits all."""

from __future__ import annotations

import ctypes
import platform
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
Runs = dict[str, Callable[[], object]]
Seconds = dict[str, list[float]]


class Networks:
    """Watches networks on the CPU: how long each run is outside of them, and how often it calls each.

    That time has none of the noise of the networks' own, so it shows an overhead far below what whole runs can.
    """

    def __init__(self) -> None:
        self.outside: Seconds = {}  # by run, round by round
        self.calls: dict[str, dict[str, int]] = {}  # by run, in its last round
        self._known: set[torch.nn.Module] = set()
        self._inside, self._since, self._counts = 0.0, 0.0, Counter[str]()

    def watch(self, name: str, network: torch.nn.Module) -> None:
        if network in self._known:  # a patched clone has the network of its original
            return
        self._known.add(network)
        network.register_forward_pre_hook(lambda *_: self._enter(name))
        network.register_forward_hook(lambda *_: self._leave())

    def note(self, run: str, seconds: float) -> None:
        """`run` has ended after so many seconds."""
        self.outside.setdefault(run, []).append(seconds - self._inside)
        self.calls[run] = dict(self._counts)
        self._inside, self._counts = 0.0, Counter()

    def _enter(self, name: str) -> None:
        self._counts[name] += 1
        self._since = time.perf_counter()

    def _leave(self) -> None:
        self._inside += time.perf_counter() - self._since


def measure(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 1,
    title: str = "rounds",
    networks: Networks | None = None,
) -> Seconds:
    """Seconds of each run, round by round, each in an order of its own: what a run leaves behind slows no one other."""
    keep_freed_memory()
    seconds: Seconds = {name: [] for name in runs}
    shuffled = random.Random(0)
    for _ in tqdm(range(warm_up + rounds), desc=title, unit="round"):
        for name in shuffled.sample(list(runs), len(runs)):
            seconds[name].append(timed(runs[name]))
            if networks is not None:
                networks.note(name, seconds[name][-1])
    return {name: values[warm_up:] for name, values in seconds.items()}


def keep_freed_memory() -> None:
    """Have this process keep what networks free, as the allocator of a GPU does; for glibc, nothing elsewhere.

    Else it gives large pieces back to the system and takes every page of them anew, or not, by where they happen to
    lie: up to a fifth of XL's time here, in some runs and not in others.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)  # no piece is a mapping of its own
        library.mallopt(M_TRIM_THRESHOLD, -1)  # never


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    with_room(run)
    return time.perf_counter() - started


def with_room(run: Callable[[], object]) -> object:
    """Call `run` where it does not meet the edge of a chunk of Python's stack.

    The interpreter keeps its frames in chunks of 16 KiB. Where calls go to and fro over the edge of one, each takes a
    new chunk from the system and gives it back: milliseconds per step here, for whatever run happens to be so deep.
    """
    return run()


# A frame of 40 KB makes a chunk of 64, the rest of which is for the calls below.
with_room.__code__ = with_room.__code__.replace(co_stacksize=5000)


def measure_beside(
    reference: Callable[[], object], runs: Runs, turns: Sequence[str], title: str = "turns"
) -> tuple[Seconds, list[float]]:
    """How many times faster than `reference` each run is, in the order of `turns`, and all seconds of `reference`.

    It runs right before and right after each of them, as the machine's speed changes while all take their turns.
    """
    keep_freed_memory()
    ratios: Seconds = {name: [] for name in runs}
    beside = [timed(reference)]
    for name in tqdm(turns, desc=title, unit="run"):
        seconds = timed(runs[name])
        beside.append(timed(reference))
        ratios[name].append(sum(beside[-2:]) / 2 / seconds)
    return ratios, beside


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return round(median(a / b for a, b in zip(numerators, denominators, strict=True)), 4)


def ideal(runs: list[list[float]]) -> list[float]:
    """Seconds of each round if switching were free; `runs` has, for every step, the seconds of its model alone."""
    return [sum(values) / len(runs) for values in zip(*runs, strict=True)]


def switching(run: str, steps: list[str], seconds: Seconds, networks: Networks) -> dict[str, float]:
    """What `run` costs beside the runs of one model each, `steps` naming that of every step.

    `over_ideal`: its seconds over those of the same steps alone. `overhead`: the part of the ideal time that it spends
    outside of the networks beyond what the same steps spend there alone.
    """
    free = ideal([seconds[name] for name in steps])
    outside = sum(median(networks.outside[name]) for name in steps) / len(steps)
    overhead = (median(networks.outside[run]) - outside) / median(free)
    return {"over_ideal": median_ratio(seconds[run], free), "overhead": round(overhead, 6)}


def show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(f"{row['run']:32}", *(f"{key} {value}" for key, value in row.items() if key != "run"), sep="  ")


def machine() -> dict[str, Any]:
    return {"processor": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def processor() -> str:
    """The name of its model where the system tells it, as Linux does; else of its architecture."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
