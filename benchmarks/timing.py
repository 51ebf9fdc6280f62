"""Seconds of several runs, paired: all take turns in one process, so that whatever else the machine does hits all."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

Runs = dict[str, Callable[[], object]]
Seconds = dict[str, list[float]]


def measure(runs: Runs, rounds: int, warm_up: int = 1, title: str = "rounds") -> Seconds:
    """Seconds of each run, round by round; every round starts with another run."""
    seconds: Seconds = {name: [] for name in runs}
    names = list(runs)
    for number in tqdm(range(warm_up + rounds), desc=title, unit="round"):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: values[warm_up:] for name, values in seconds.items()}


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return round(median(a / b for a, b in zip(numerators, denominators, strict=True)), 4)


def ideal(runs: list[list[float]]) -> list[float]:
    """Seconds of each round if switching were free; `runs` has, for every step, the seconds of its model alone."""
    return [sum(values) / len(runs) for values in zip(*runs, strict=True)]


def machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
