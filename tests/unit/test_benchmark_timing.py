"""What the benchmarks say about the price of a switch."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise, permutations
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.measure import wall_time
from benchmarks.tools import results, timing
from benchmarks.tools.settings import ALONE, XL, S, Setting
from benchmarks.tools.timing import Networks, measure, measure_beside, switching

ROOT = Path(__file__).resolve().parents[2]


class Slow(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return x


def test_networks_count_calls_and_the_time_outside_of_them() -> None:
    network, networks = Slow(0.05), Networks()
    networks.watch("slow", network)
    networks.watch("its clone", network)

    def run() -> None:
        for _ in range(3):
            network(torch.zeros(1))
        time.sleep(0.01)

    seconds = measure({"run": run, "nothing": lambda: None}, rounds=2, networks=networks)
    assert networks.calls == {"run": {"slow": 3}, "nothing": {}}
    assert len(networks.outside["run"]) == len(seconds["run"]) + 1  # and the warm-up
    assert all(0.01 <= outside < 0.1 for outside in networks.outside["run"])


def test_every_run_comes_after_every_other() -> None:
    turns: list[str] = []
    runs = {name: partial(turns.append, name) for name in "abc"}
    seconds = measure(runs, rounds=20, warm_up=0)
    assert all(sorted(turns[start : start + 3]) == ["a", "b", "c"] for start in range(0, 60, 3))
    assert {(a, b) for a, b in pairwise(turns) if a != b} == set(permutations("abc", 2))
    assert all(len(values) == 20 for values in seconds.values())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_what_is_freed_is_kept() -> None:
    code = """
from pathlib import Path
import torch
from benchmarks.tools.timing import measure
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
measure({"run": lambda: None}, rounds=1)
before = pages()
torch.ones(2**24)
print(pages() - before)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(told.stdout) * resource.getpagesize() > 0.9 * 4 * 2**24


def test_switching_is_counted_from_what_each_step_costs_alone() -> None:
    networks = Networks()
    networks.outside = {"S": [0.1] * 3, "XL": [0.3] * 3, "both": [0.25, 0.25, 9.0]}
    seconds = {"S": [1.0, 2.0], "XL": [3.0, 6.0], "both": [2.2, 4.4]}
    found = switching("both", ["S", "XL"], seconds, networks)
    assert found["over_ideal"] == pytest.approx(1.1)
    assert found["overhead"] == pytest.approx((0.25 - 0.2) / 3, abs=1e-6)


def test_a_run_is_compared_with_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine takes twice as long from the third run on."""
    clock = [0.0]

    def work(seconds: float) -> None:
        clock[0] += seconds if clock[0] < 18 else 2 * seconds

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    runs = {"half": lambda: work(2.0), "same": lambda: work(4.0), "never": lambda: work(1.0)}
    ratios, beside = measure_beside(lambda: work(4.0), runs, ["half", "same", "half", "same"])
    assert beside == [4.0, 4.0, 4.0, 8.0, 8.0]
    assert ratios == {"half": [2.0, 1.5], "same": [1.0, 1.0], "never": []}


def test_what_is_timed_meets_no_edge_of_a_chunk_of_the_stack() -> None:
    """However deep it is called from; without the room, some of these take a page from the system for every call."""

    def at(depth: int, run: Callable[[], object]) -> object:
        return run() if depth == 0 else at(depth - 1, run)

    def faults(depth: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        at(depth, lambda: timing.timed(lambda: [at(8, lambda: None) for _ in range(300)]))
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert max(faults(depth) for depth in range(0, 240, 4)) < 150


@pytest.fixture
def wall_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a machine that has measured two runs in two processes."""
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    wall_time.write({"fast": [2.0, 2.2, 1.8], "slow": [0.5]}, [0.4, 0.8])
    return tmp_path / "wall_time.json"


def test_wall_times_are_kept_with_every_ratio(wall_times: Path) -> None:
    known = json.loads(wall_times.read_text(encoding="utf-8"))
    reference, fast, slow = known["rows"]
    assert reference["run"] == known["setting"]["reference"] == ALONE.run
    assert (reference["speedup"], reference["seconds"]) == (1.0, 0.6)
    assert fast == {"run": "fast", "speedup": 2.0, "seconds": 0.3, "within": 0.1, "ratios": [2.0, 2.2, 1.8]}
    assert slow["seconds"] == 1.2
    assert wall_time.known_ratios() == ({"fast": [2.0, 2.2, 1.8], "slow": [0.5]}, [0.4, 0.8])


def test_wall_times_of_another_machine_are_not_kept(wall_times: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall_time, "machine", lambda: {"processor": "another"})
    assert wall_time.known_ratios() == ({}, [])


def test_what_mixtures_are_compared_with_is_timed_oftener() -> None:
    alone, mixture = ALONE, Setting((S, XL), (0, 1))
    few, many = [1.0] * 3, [1.0] * 6
    assert [wall_time.is_complete(setting, few) for setting in (alone, mixture)] == [False, True]
    assert wall_time.is_complete(alone, many)
