"""Which plans are tried for a speed-up, the file that remembers them, and the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tstitch.auto.views import report
from tstitch.planning.joint.candidates import STOCK, Budgeted, Candidate
from tstitch.planning.joint.edges import Edges, all_pairs, allowed_triples
from tstitch.planning.joint.record import (
    AutoPlan,
    Trial,
    read_edges,
    read_plan,
    record_path,
    write_edges,
    write_plan,
)
from tstitch.planning.plan.problem import TICKS, Costs

LEVELS = 13
SIGMAS = tuple((1 - step / (LEVELS - 1)) ** 2 * 10 for step in range(LEVELS))
COSTS = (Costs(TICKS // 10), Costs(TICKS))
KEY = {"model": "a"}


def edges(second_order: bool = False) -> Edges:
    """A small model that is as good as the large one at high noise, and far off at low noise."""
    pairs = all_pairs(LEVELS)
    t = np.array([1 - (sigma / SIGMAS[0]) ** 0.5 for sigma in SIGMAS])
    start, stop = t[pairs].T
    large = (stop - start) ** 2
    alone = np.stack([large + (stop - start) * np.maximum(start - 0.4, 0.0), large])
    if not second_order:
        return Edges(SIGMAS, pairs, alone)
    triples = allowed_triples(SIGMAS)
    index = {tuple(pair): place for place, pair in enumerate(pairs.tolist())}
    after = alone[:, [index[start, stop] for _, start, stop in triples.tolist()]]
    return Edges(SIGMAS, pairs, alone, triples, np.stack([after, after]))


def stock(steps: int) -> list[float]:
    return [(1 - step / steps) ** 2 * 10 for step in range(steps + 1)]


def budgeted(speed_up: float, second_order: bool = False) -> Budgeted:
    return Budgeted(edges(second_order), COSTS, (0, 1), int(12 * TICKS / speed_up), 12, stock)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("speed_up", [1.0, 1.5, 3.0, 12.0])
def test_all_candidates_keep_the_budget_and_the_joint_plan_expects_the_least(
    speed_up: float, second_order: bool
) -> None:
    found = budgeted(speed_up, second_order).candidates()
    assert found[0].kind in ("joint plan", STOCK)
    assert all(each.seconds <= 12 / speed_up + 1e-9 for each in found)
    assert all(each.sigmas[0] == SIGMAS[0] for each in found)
    assert all(each.sigmas[-1] == 0 for each in found)
    errors = [each.error for each in found if each.error is not None]
    assert min(errors) == errors[0]
    assert len({(each.sigmas, each.owners) for each in found}) == len(found)


def test_the_small_model_starts_where_it_is_as_good() -> None:
    plan = budgeted(2.0).candidates()[0]
    assert plan.owners[0] == 0
    assert plan.owners[-1] == 1
    members, pattern = plan.numbered(2)
    assert members == (0, 1)
    assert pattern.startswith("1x")


def test_the_stock_scheduler_takes_as_many_steps_as_fit() -> None:
    (found,) = [each for each in budgeted(3.0).candidates() if each.kind == STOCK]
    assert found.owners == (1,) * 4
    assert found.sigmas == tuple(stock(4))
    assert not [each for each in budgeted(13.0).candidates() if each.kind == STOCK]


def test_nothing_is_tried_that_no_model_can_do() -> None:
    assert budgeted(200.0).candidates() == []
    assert budgeted(200.0).fastest_seconds == 0.1


def test_only_used_models_are_numbered_and_the_final_one_is_last() -> None:
    plan = Candidate("joint plan", (3.0, 2.0, 1.0, 0.0), (1, 1, 0), 1.0)
    assert plan.numbered(4) == ((0, 1, 3), "2x2 1x1")
    assert replace(plan, owners=(3, 3, 3)).numbered(4) == ((3,), "1x3")


def plan_of(*kinds: str) -> AutoPlan:
    trials = [
        Trial(Candidate(kind, (3.0, 1.0, 0.0), (0, 1), 1.0 + place / 10, 0.2), 0.1 + place / 10)
        for place, kind in enumerate(kinds)
    ]
    return AutoPlan(("small_model", "model"), tuple(trials), 2.0, 20)


@pytest.mark.parametrize("second_order", [False, True])
def test_edges_and_plans_come_back_from_their_files(tmp_path: Path, second_order: bool) -> None:
    written = edges(second_order)
    write_edges(tmp_path, KEY, written)
    found = read_edges(tmp_path, KEY)
    assert found is not None
    assert found.sigmas == written.sigmas
    assert found.alone == pytest.approx(written.alone, rel=1e-6)
    assert (found.after is None) == (written.after is None)
    plan = plan_of("joint plan", STOCK)
    write_plan(tmp_path, KEY, plan)
    assert read_plan(tmp_path, KEY) == plan
    assert read_plan(tmp_path, {"model": "b"}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"plan": {}},
        {"plan": {"trials": []}},
        {"version": 99},
        {"key": {"model": "c"}},
        {"format": "else"},
    ],
    ids=str,
)
def test_a_damaged_plan_counts_as_none(tmp_path: Path, change: dict[str, object]) -> None:
    write_plan(tmp_path, KEY, plan_of("joint plan"))
    path = record_path(tmp_path, "plan", KEY)
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **change}), encoding="utf-8")
    assert read_plan(tmp_path, KEY) is None


@pytest.mark.parametrize("change", [{"alone": "!"}, {"alone": "AAAA"}, {"sigmas": []}, {"models": 7}], ids=str)
def test_damaged_edges_count_as_none(tmp_path: Path, change: dict[str, object]) -> None:
    write_edges(tmp_path, KEY, edges())
    path = record_path(tmp_path, "edges", KEY)
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **change}), encoding="utf-8")
    assert read_edges(tmp_path, KEY) is None


def test_the_report_says_what_was_chosen_and_why() -> None:
    words = report(plan_of("joint plan", STOCK), 1.5, "euler", ["model is XL"])
    assert "2.00 times as fast as 20 steps of model (1 s in place of 2 s expected); 1.5 was asked for." in words
    assert "Chosen: joint plan, 2 steps: small_model 1, model 2." in words
    assert "2.00 times as close as the stock scheduler with 2 steps of model alone (0.200)" in words
    assert "pattern 1x1 2x1 (1 = small_model, 2 = model)" in words
    assert "sigmas 3, 1, 0" in words
    assert "euler_ancestral" not in words


def test_the_report_says_when_the_stock_scheduler_wins_and_when_it_is_too_slow() -> None:
    assert "no plan is better here" in report(plan_of(STOCK, "joint plan"), 1.5, "euler", [])
    assert "is not quick enough" in report(plan_of("joint plan"), 1.5, "euler", [])
    assert "counted as those of euler" in report(plan_of("joint plan"), 1.5, "euler_ancestral", [])
