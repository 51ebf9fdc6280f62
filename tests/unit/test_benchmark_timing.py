"""What the benchmarks say about the price of a switch."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.timing import Networks, measure, measure_beside, switching


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


def test_switching_is_counted_from_what_each_step_costs_alone() -> None:
    networks = Networks()
    networks.outside = {"S": [0.1] * 3, "XL": [0.3] * 3, "both": [0.25, 0.25, 9.0]}
    seconds = {"S": [1.0, 2.0], "XL": [3.0, 6.0], "both": [2.2, 4.4]}
    found = switching("both", ["S", "XL"], seconds, networks)
    assert found["over_ideal"] == pytest.approx(1.1)
    assert found["overhead"] == pytest.approx((0.25 - 0.2) / 3, abs=1e-6)


def test_a_run_is_compared_with_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine takes twice as long from the second round on."""
    clock = [0.0]

    def work(seconds: float) -> None:
        clock[0] += seconds if clock[0] < 18 else 2 * seconds

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    ratios, beside = measure_beside(lambda: work(4.0), {"half": lambda: work(2.0), "same": lambda: work(4.0)}, 2)
    assert beside == [4.0, 4.0, 4.0, 8.0, 8.0]
    assert ratios == {"half": [2.0, 1.5], "same": [1.0, 1.0]}
