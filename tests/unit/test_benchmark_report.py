"""The benchmarks' report is that of their results."""

from __future__ import annotations

import pytest
from PIL import Image

from benchmarks import figures, findings
from benchmarks import report as report_module
from benchmarks import rows as rows_module
from benchmarks.quality import GROUPS
from benchmarks.report import REPORT, SECTIONS, report, timed_columns
from benchmarks.rows import RESULTS, Reference, Spread, front, speed_of, twenty_steps


def test_the_report_is_that_of_the_results() -> None:
    assert REPORT.read_text(encoding="utf-8") == report()


@pytest.mark.parametrize("name", figures.FIGURES)
def test_the_figures_are_those_of_the_results(name: str) -> None:
    figure = figures.FIGURES[name](rows_module.read(name))
    with Image.open(RESULTS / f"{name}.png") as picture:
        assert picture.info["Source"] == figures.drawn(figure)


def test_the_front_is_what_nothing_beats_in_both() -> None:
    rows = [
        {"key": f"{calls} {fid}", "fid": fid, "calls": {"XL": calls}}
        for fid, calls in ((0.4, 20), (0.5, 12), (0.6, 14), (0.5, 10), (0.9, 4))
    ]
    assert [(row["fid"], row["calls"]["XL"]) for row in front(rows)] == [(0.4, 20), (0.5, 10), (0.9, 4)]


def rows_of(fids: dict[int, float]) -> list[dict[str, object]]:
    """S to XL in ten steps, by how many S takes, in any order."""
    rows = []
    for first, fid in fids.items():
        calls = {name: count for name, count in (("S", first), ("XL", 10 - first)) if count}
        models = "\N{RIGHTWARDS ARROW}".join(calls)
        row = {
            "key": f"{first} seed 0",
            "models": models,
            "calls": calls,
            "steps": 10,
            "sampler": "euler",
            "cfg": "1",
            "fid": fid,
        }
        rows.append({**row, "accuracy": 0.9})
    return rows


@pytest.fixture
def seeds_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much with every sampler and guidance."""
    for module in (findings, rows_module):
        monkeypatch.setattr(module, "seed_spread", lambda group: Spread(0.02, 0.01))


@pytest.mark.usefixtures("seeds_differ")
@pytest.mark.parametrize(
    ("fids", "expected"),
    [
        ({0: 0.3, 2: 0.32, 4: 0.33, 10: 0.4}, "0.2 (1.11x)"),
        ({0: 0.3, 2: 0.31, 4: 0.321, 10: 0.3}, "0.2 (1.11x)"),  # what comes after a loss does not count
        ({4: 0.25, 2: 0.31, 10: 0.32, 0: 0.3}, "1 (2.00x)"),
        ({0: 0.3, 2: 0.35, 10: 0.36}, "0 (1.00x)"),
    ],
)
def test_the_lossless_fraction_is_the_last_before_a_loss(
    monkeypatch: pytest.MonkeyPatch, fids: dict[int, float], expected: str
) -> None:
    monkeypatch.setattr(rows_module, "seconds_alone", lambda: {"S": 1.0, "XL": 2.0})
    statement = findings.largest_lossless(rows_of(fids))
    assert statement.endswith(f"S\N{RIGHTWARDS ARROW}XL {expected}.")


@pytest.mark.usefixtures("seeds_differ")
@pytest.mark.parametrize(("accuracy", "expected"), [(0.89, "0.2 (1.11x)"), (0.889, "0 (1.00x)")])
def test_a_loss_of_accuracy_is_a_loss(monkeypatch: pytest.MonkeyPatch, accuracy: float, expected: str) -> None:
    monkeypatch.setattr(rows_module, "seconds_alone", lambda: {"S": 1.0, "XL": 2.0})
    rows = rows_of({0: 0.3, 2: 0.31, 10: 0.4})
    rows[1]["accuracy"] = accuracy
    assert findings.largest_lossless(rows).endswith(f"XL {expected}.")


def test_seeds_are_compared_with_the_same_guidance_and_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    found_by = {
        "spread": ((0.31, 0.85), (0.33, 0.862), (0.32, 0.855)),
        "spread_guided": ((0.4, 0.97), (0.44, 0.971)),
        "spread_ddim": ((0.34, 0.86), (0.345, 0.864)),
    }
    rows = {
        group: [{"models": "XL", "fid": fid, "accuracy": accuracy} for fid, accuracy in values]
        + [{"models": "S", "fid": 9.0, "accuracy": 0.1}]
        for group, values in found_by.items()
    }
    monkeypatch.setattr(rows_module, "read", lambda name: {"rows": rows[name]})
    found = {
        (sampler, cfg): rows_module.seed_spread(rows_module.spread_of({"sampler": sampler, "cfg": cfg}))
        for sampler, cfg in (("dpmpp_2m", "1"), ("dpmpp_2m", "2"), ("dpmpp_2m", "2 1"), ("ddim", "1"))
    }
    assert found == {
        ("dpmpp_2m", "1"): Spread(0.02, 0.012),
        ("dpmpp_2m", "2"): Spread(0.04, 0.001),
        ("dpmpp_2m", "2 1"): Spread(0.04, 0.001),
        ("ddim", "1"): Spread(0.005, 0.004),
    }


@pytest.mark.usefixtures("seeds_differ")
def test_the_lossless_fraction_is_told_with_its_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "seconds_alone", lambda: {"S": 1.0, "XL": 2.0})
    monkeypatch.setattr(rows_module, "wall_times", lambda: {"0": {"speedup": 1.25}, "2": {"speedup": 1.5}})
    assert findings.largest_lossless(rows_of({0: 0.3, 2: 0.31, 10: 0.4})).endswith("0.2 (1.11x, 1.20x as timed).")


def test_tables_have_wall_times_where_all_rows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"0": {"speedup": 0.5, "seconds": 2.0}, "5": {"speedup": 1.25, "seconds": 0.8}}
    for module in (report_module, rows_module):
        monkeypatch.setattr(module, "wall_times", lambda: times)
    rows = rows_of({0: 0.3, 5: 0.4, 2: 0.4})
    assert timed_columns(rows[:2], lambda _: Reference({}, "0")) == [["2.000", "1.00x"], ["0.800", "2.50x"]]
    assert timed_columns(rows, lambda _: Reference({}, "0")) == [[], [], []]
    assert timed_columns(rows[:1], lambda _: Reference({}, "unknown")) == [[]]


def test_rows_are_ranked_by_wall_time_where_all_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "seconds_alone", lambda: {"S": 1.0, "XL": 2.0})
    times = {twenty_steps({}).run: {"speedup": 1.0}, "0": {"speedup": 1.5}, "5": {"speedup": 1.25}}
    monkeypatch.setattr(rows_module, "wall_times", lambda: times)
    rows = rows_of({0: 0.3, 5: 0.4, 2: 0.4})
    timed, called = speed_of(rows[:2]), speed_of(rows)
    assert [timed(row) for row in rows[:2]] == [1.5, 1.25]
    assert called(rows[1]) > called(rows[2]) > called(rows[0])


@pytest.mark.parametrize("name", [name for name in SECTIONS if name in GROUPS])
def test_every_table_of_quality_has_wall_times(name: str) -> None:
    """The references are runs that have been timed."""
    results = rows_module.read(name)
    assert results is not None
    assert "as timed" in SECTIONS[name][1](results)


def test_a_group_that_has_only_begun_is_shown() -> None:
    assert "0 of 30 rows so far" in SECTIONS["ddim_100"][1]({"rows": [], "samples": 5000, "settings": 30})


def test_fewer_steps_are_compared_at_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "seconds_alone", lambda: {"S": 1.0, "XL": 10.0})
    rows = rows_of({4: 0.5})
    alone = {"models": "XL", "cfg": "1"}
    rows += [{"key": f"XL {n}", **alone, "calls": {"XL": n}, "steps": n, "fid": n / 100} for n in (5, 6, 7)]
    assert findings.fewer_steps_instead(rows).endswith("0.4 with 10 steps has 0.500, XL with 6 0.060.")


@pytest.mark.usefixtures("seeds_differ")
def test_the_fastest_lossless_row_is_found_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "seconds_alone", lambda: {"S": 1.0, "XL": 10.0})
    plain = {
        "key": "",
        "models": "XL",
        "pattern": "",
        "sampler": "euler",
        "cfg": "1",
        "seed": 0,
        "chained": False,
        "cache": 0.0,
        "accuracy": 0.9,
    }
    rows = [
        plain | {"key": f"{calls}", "calls": {"XL": calls}, "fid": fid, "pattern": f"1x{calls}", "cfg": cfg}
        for calls, fid, cfg in ((20, 0.3, "1"), (12, 0.32, "1"), (8, 0.31, "2, 1"), (5, 0.321, "1"))
    ]
    assert findings.fastest_lossless(rows).endswith(
        "XL 1x8 cfg 2, 1, 2.50x (FID 0.310 against 0.300, accuracy 0.900 against 0.900)."
    )


def test_orders_are_named_at_each_share() -> None:
    patterns = {"1x2 2x2": 0.1, "2x2 1x2": 0.2, "1x1 2x1 1x1 2x1": 0.3, "2x1 1x2 2x1": 0.4}
    rows = [{"pattern": pattern, "calls": {"S": 2, "XL": 2}, "fid": fid} for pattern, fid in patterns.items()]
    rows.append({"pattern": "2x3 1x1", "calls": {"S": 1, "XL": 3}, "fid": 0.5})
    assert findings.orders(rows) == (
        "FID with 50 % of the steps on S small first 0.100, large first 0.200, interleaved 0.300, large-small-large"
        " 0.400; with 25 % of the steps on S large first 0.500."
    )


def test_a_solver_is_compared_with_itself() -> None:
    rows = [
        {"models": models, "sampler": sampler, "steps": 10, "fid": fid}
        for sampler, fids in (("ddim", (0.3, 0.35)), ("euler", (0.4, 0.39)))
        for models, fid in zip(("XL", f"S{findings.ARROW}XL"), fids, strict=True)
    ]
    assert findings.by_solver(rows).endswith("at 10 steps ddim +0.050, euler -0.010.")


def test_mixtures_are_compared_within_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "seconds_alone", lambda: {"S": 0.0, "XL": 10.0})
    rows = []
    for seed, alone, mixed in ((0, 0.30, 0.31), (1, 0.33, 0.32), (2, 0.40, 0.43)):
        rows.append({"key": "XL", "models": "XL", "calls": {"XL": 20}, "fid": alone, "seed": seed})
        calls = {"S": 10, "XL": 10}
        models = f"S{findings.ARROW}XL"
        rows.append({"key": "p", "models": models, "pattern": "p", "calls": calls, "fid": mixed, "seed": seed})
    assert findings.over_seeds(rows).endswith("XL p (2.00x) +0.010 (-0.010 to +0.030).")


def test_one_loop_comes_before_the_chain() -> None:
    rows = [
        {"sampler": "euler", "steps": steps, "chained": chained, "fid": fid}
        for steps, chained, fid in ((20, True, 0.4), (20, False, 0.3), (10, False, 0.5), (10, True, 0.6))
    ]
    assert findings.chains(rows).endswith("of one loop: euler +0.100 at 20 steps, +0.100 at 10 steps.")
