"""The benchmarks' report is that of their results, whichever of them there are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.__main__ import EVERYTHING, OTHERS, parser
from benchmarks.measure.groups import GROUPS, SUMMARY
from benchmarks.report import figures, model_card, page, readme
from benchmarks.report.lines import Line, front, is_lossless, lines_of, same_widgets, speed_of
from benchmarks.report.page import REPORT, SECTIONS, report
from benchmarks.report.quality import quality_table
from benchmarks.report.tables import Column, count, signed, table_of
from benchmarks.tools import results
from benchmarks.tools.options import Options
from benchmarks.tools.results import read_rows, write_results
from benchmarks.tools.settings import ALONE, ARROW, XL, B, Guide, Part, S, Setting, stitched

MOST_WORDS = 4000


def row_of(setting: Setting, samples: int = 1000, **scores: float) -> dict[str, Any]:
    """As `quality` writes it; XL's operations are 20 a step, S's 1."""
    known = {"fid": 95.0, "fid_vae": 40.0, "precision": 0.8, "recall": 0.7, "accuracy": 0.99, "confidence": 0.8}
    steps = [20.0 if setting.parts[owner].model == "XL" else 1.0 for owner in setting.owners]
    row = {"title": setting.title, "samples": samples, **known, **scores}
    return {"flops": sum(steps), "calls": {}, "seconds": 1.0, "weights": {}, "judge": "", **row}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of results."""
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    for module in (figures, page):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    return tmp_path


def test_the_report_is_that_of_the_results() -> None:
    assert REPORT.read_text(encoding="utf-8") == report()


def test_the_report_can_be_read_to_its_end() -> None:
    assert len(REPORT.read_text(encoding="utf-8").split()) <= MOST_WORDS


@pytest.mark.parametrize("name", figures.FIGURES)
def test_the_figures_are_those_of_the_results(name: str) -> None:
    figure, path = figures.FIGURES[name](), figures.figure_path(name)
    assert path.is_file() == (figure is not None)
    if figure is not None:
        with Image.open(path) as picture:
            assert picture.info["Source"] == figures.drawn(figure)


def test_every_group_has_a_section() -> None:
    """The models alone are in the model card, and the rows of the README at the top."""
    assert set(GROUPS) - set(SECTIONS) == {"main", "models"}
    assert {*OTHERS, *GROUPS} >= set(SECTIONS)


@pytest.mark.parametrize("name", [name for name in GROUPS if name != "planned"])
def test_no_two_rows_of_a_group_have_one_name(name: str) -> None:
    settings = GROUPS[name].settings()
    assert len({setting.title for setting in settings}) == len(set(settings)) == len(settings)


def test_one_name_is_one_setting() -> None:
    settings = {setting for group in GROUPS.values() for setting in group.settings()}
    assert len({setting.title for setting in settings}) == len(settings)


def test_everything_is_measured_in_three_hours() -> None:
    """A row takes three quarters of a minute on average, beside the benchmarks that draw none."""
    rows = {setting.title for group in GROUPS.values() for setting in group.settings()}
    others = sum(minutes for _, minutes in OTHERS.values())
    assert others + 0.75 * len(rows) <= EVERYTHING <= 180
    assert GROUPS["main"].minutes <= 20


def test_the_summary_is_of_the_main_rows() -> None:
    assert set(SUMMARY.values()) < set(GROUPS["main"].settings())


@pytest.mark.parametrize(
    ("setting", "title"),
    [
        (ALONE, "XL 1x20 euler simple cfg 1.5 seed 0"),
        (stitched((S, XL), 0.4, seed=2), f"S{ARROW}XL 1x8 2x12 euler simple cfg 1.5 seed 2"),
        (stitched((Part("XL", 0.5), XL), 0.125, steps=20), f"XL 0.5x{ARROW}XL 1x3 2x17 euler simple cfg 1.5 seed 0"),
        (
            replace(ALONE, cfg=2.0, guide=Guide(XL, "cheap negative", 0.2, 0.8), cache="EasyCache", side=32),
            "XL 1x20 euler simple cfg 2 plain, 0.2 to 0.8 EasyCache, 128 pixels seed 0",
        ),
        (replace(ALONE, guide=Guide(S, start=0.4)), "XL 1x20 euler simple cfg 1.5 weak S, 0.4 to 1 seed 0"),
    ],
)
def test_a_row_is_named_by_all_that_makes_it(setting: Setting, title: str) -> None:
    assert setting.title == title


def test_parts_without_steps_are_left_out() -> None:
    assert stitched((S, XL), 0.0) == ALONE
    assert stitched((S, XL), 1.0) == Setting((S,))
    assert stitched((S, B, XL), 0.25, 0.5, steps=4).owners == (0, 1, 1, 2)


def test_the_command_line_chooses_rows() -> None:
    args = parser().parse_args(["tradeoff", "seam", "--samples", "500", "--seeds", "1", "--rows", "B"])
    chosen = Options(args.samples, args.seeds, args.rows).chosen(GROUPS["tradeoff"].settings())
    assert [setting.models for setting in chosen] == [f"B{ARROW}XL"] * 4 + ["B"]
    with pytest.raises(SystemExit):
        parser().parse_args(["--samples", "0"])
    assert parser().parse_args([]).names == []


# --- Any results -----------------------------------------------------------------------------------------------------


def test_a_report_can_be_made_of_nothing(folder: Path) -> None:
    assert report().count("## ") == 0
    assert readme.numbers() == "Not measured yet with these weights: run `python dev.py bench main`."
    figures.main()
    assert list(folder.iterdir()) == []
    assert "Not measured yet" in model_card.quality_table()


@pytest.mark.parametrize("name", GROUPS)
def test_a_report_can_be_made_of_one_group(folder: Path, name: str) -> None:
    write_results("quality", [row_of(setting) for setting in GROUPS[name].settings()])
    text = report()
    assert name in ("main", "models") or f"(`{name}`)" in text
    assert "old" not in readme.with_numbers(f"a\n{readme.MARK}old\n{readme.END}\nb")
    assert model_card.quality_table()


def test_a_report_can_be_made_of_half_a_group(folder: Path) -> None:
    settings = GROUPS["tradeoff"].settings()
    write_results("quality", [row_of(setting) for setting in settings[4:8]])
    text = SECTIONS["tradeoff"].body()
    assert "rows of this group not measured yet" in text
    assert report()


def test_all_groups_fit_in_one_report(folder: Path) -> None:
    settings = {setting for group in GROUPS.values() for setting in group.settings()}
    write_results("quality", [row_of(setting, fid=90 + len(setting.title) / 10) for setting in settings])
    text = report()
    assert len(text.split()) <= MOST_WORDS - 1200  # what the timed tables take
    figures.main()
    assert {path.name for path in folder.glob("*.png")} == {f"{name}.png" for name in figures.FIGURES}
    assert "results/tradeoff.png" in report()


def test_figures_without_results_are_deleted(folder: Path) -> None:
    figures.figure_path("tradeoff").write_bytes(b"old")
    figures.main()
    assert not figures.figure_path("tradeoff").exists()


def test_results_are_written_one_line_a_row(folder: Path) -> None:
    write_results("quality", [row_of(ALONE), row_of(stitched((S, XL), 0.4))], note="words")
    text = (folder / "quality.json").read_text(encoding="utf-8")
    assert sum(line.startswith("  {") for line in text.splitlines()) == 2
    assert json.loads(text)["setting"] == {"note": "words"}
    assert [row["title"] for row in read_rows("quality")] == [ALONE.title, stitched((S, XL), 0.4).title]


# --- What is compared with what --------------------------------------------------------------------------------------


def line_of(setting: Setting, fids: dict[int, float], reference: dict[int, float], **scores: float) -> Line:
    rows = {seed: row_of(setting, fid=fid, **scores) for seed, fid in fids.items()}
    alone = {seed: row_of(ALONE, fid=fid) for seed, fid in reference.items()}
    return Line(setting, rows, alone, alone)


SEEDS_OF_XL = {0: 95.0, 1: 97.0, 2: 96.0}


@pytest.mark.parametrize(
    ("fids", "accuracy", "expected"),
    [
        ({0: 97.0}, 0.99, True),
        ({0: 97.1}, 0.99, False),
        ({0: 90.0}, 0.99, True),
        ({0: 95.0}, 0.98, False),
        ({0: 97.5, 1: 98.5, 2: 97.0}, 0.99, True),  # by 1.67 on average
    ],
)
def test_a_loss_is_more_than_seeds_differ(fids: dict[int, float], accuracy: float, expected: bool) -> None:
    assert is_lossless(line_of(stitched((S, XL), 0.4), fids, SEEDS_OF_XL, accuracy=accuracy)) is expected


def test_without_seeds_a_loss_is_not_known() -> None:
    assert is_lossless(line_of(stitched((S, XL), 0.4), {0: 90.0}, {0: 95.0})) is None
    assert is_lossless(line_of(stitched((S, XL), 0.4), {0: 90.0}, {})) is None


def test_a_run_is_compared_from_the_same_noise() -> None:
    line = line_of(stitched((S, XL), 0.4), {0: 96.0, 2: 99.0}, SEEDS_OF_XL)
    assert line.added("fid") == pytest.approx((1.0 + 3.0) / 2)
    assert line.spread("fid") == 3.0
    assert line.by_operations == pytest.approx(400 / (8 + 12 * 20))


def test_only_rows_of_as_many_pictures_are_compared(folder: Path) -> None:
    pair = stitched((S, XL), 0.4)
    write_results("quality", [row_of(ALONE, 500), row_of(pair, 500, fid=97.0), row_of(pair, 1000, fid=91.0)])
    (line,) = lines_of([pair])
    assert (line.samples, line.mean("fid"), line.added("fid")) == (1000, 91.0, None)
    write_results("quality", [row_of(ALONE, 500), row_of(ALONE, 1000), row_of(pair, 1000, fid=91.0)])
    assert lines_of([pair])[0].added("fid") == -4.0


def test_a_solver_is_compared_with_itself() -> None:
    pair = stitched((S, XL), 0.4, sampler="uni_pc", steps=10, chained=True, seed=1)
    assert same_widgets(pair) == stitched((XL,), sampler="uni_pc", steps=10, seed=1)
    assert same_widgets(replace(ALONE, shift=1.0)) == replace(ALONE, shift=1.0)


def test_what_all_rows_share_is_said_once(folder: Path) -> None:
    settings = [ALONE, stitched((S, XL), 0.4), stitched((S, XL), 0.2)]
    write_results("quality", [row_of(setting) for setting in settings[:2]])
    text = quality_table(settings)
    assert text.startswith("Euler, cfg 1.5, plain guidance, 1 000 pictures per row, 1 seed. The spread of XL")
    assert "1 row of this group not measured yet." in text
    assert "|models|steps|FID|against XL|style|attributes|operations|" in text
    assert f"|S{ARROW}XL|1x8 2x12|95.00|0.00|0.990|0.800|1.61x|" in text


def test_seeds_make_a_spread(folder: Path) -> None:
    rows = [row_of(setting, fid=fid) for setting, fid in zip(ALONE.seeded(0, 1, 2), (95.0, 97.0, 96.0), strict=True)]
    write_results("quality", [*rows, row_of(stitched((S, XL), 0.4), fid=98.0)])
    text = quality_table([*ALONE.seeded(0, 1, 2), stitched((S, XL), 0.4)])
    assert text.endswith("Lowest FID: XL, 1x20, 96.00. Fastest without loss: XL, 1x20, 1.00x.")
    assert "3 seeds of XL alone differ by 2.00 in FID and 0.000 in style accuracy." in text
    assert "|XL|1x20|3|96.00|2.00|0.00|yes|" in text
    assert f"|S{ARROW}XL|1x8 2x12|1|98.00||+3.00|no|" in text


def test_a_chain_is_compared_with_one_loop(folder: Path) -> None:
    loop = stitched((S, XL), 0.4, steps=10, sampler="uni_pc")
    write_results("quality", [row_of(loop), row_of(replace(loop, chained=True), fid=98.5)])
    text = SECTIONS["seam"].body()
    assert "|against one loop|" in text
    assert f"|S{ARROW}XL|1x4 2x6|two samplers|98.50|+3.50|" in text


def test_the_front_is_what_nothing_beats_in_both() -> None:
    lines = [
        line_of(replace(ALONE, owners=(0,) * steps), {0: fid}, {0: 95.0})
        for fid, steps in ((0.4, 20), (0.5, 12), (0.6, 14), (0.5, 10), (0.9, 4))
    ]
    assert [(line.mean("fid"), line.setting.steps) for line in front(lines)] == [(0.4, 20), (0.5, 10), (0.9, 4)]


def test_rows_are_ranked_by_wall_time_where_all_are_timed(folder: Path) -> None:
    pair, other = stitched((S, XL), 0.4), stitched((B, XL), 0.4)
    lines = [line_of(setting, {0: 95.0}, {0: 95.0}) for setting in (ALONE, pair, other)]
    times = [{"run": ALONE.run, "speedup": 1.0}, {"run": pair.run, "speedup": 1.2}]
    write_results("wall_time", times)
    assert speed_of(lines[:2])(lines[1]) == 1.2
    assert speed_of(lines)(lines[1]) == lines[1].by_operations


def test_empty_columns_are_left_out() -> None:
    columns = [Column("number", str), Column("nothing", lambda _: ""), Column("twice", lambda value: str(2 * value))]
    assert table_of(columns, [1, 2]) == "|number|twice|\n|:--|--:|\n|1|2|\n|2|4|"


def test_numbers_are_written_plainly() -> None:
    assert [count(1, "seed"), count(3, "seed"), count(20_000, "picture")] == ["1 seed", "3 seeds", "20 000 pictures"]
    assert [signed(0.04, 1), signed(-0.04, 1), signed(1.25, 2), signed(-2.0, 1)] == ["0.0", "0.0", "+1.25", "-2.0"]
