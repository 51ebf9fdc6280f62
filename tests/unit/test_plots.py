"""Figures: the right kind of tensor, one style, and no global state of matplotlib's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

from tstitch.views.plots import (
    COLORS,
    INK,
    PANEL,
    PAPER,
    add_legend,
    color_of,
    contrast,
    new_axes,
    text_color_on,
    to_image,
)

PALETTE = Path(__file__).resolve().parents[2] / "js" / "timeline" / "palette.js"


def test_a_model_has_one_colour_in_figures_and_on_the_page() -> None:
    assert tuple(re.findall(r'"(#[0-9a-f]{6})"', PALETTE.read_text(encoding="utf-8"))) == COLORS


def test_what_is_drawn_can_be_seen_and_read() -> None:
    """WCAG asks for 3 to 1 of lines and areas, and for 4.5 to 1 of text."""
    assert min(contrast(color, PANEL) for color in COLORS) > 3
    assert min(contrast(color, text_color_on(color)) for color in COLORS) > 4.5
    assert min(contrast(INK, PANEL), contrast(INK, PAPER)) > 4.5


def test_a_figure_becomes_an_image_of_the_host() -> None:
    figure, axes = new_axes("Title", "x", "y", width=480, height=320)
    axes.plot([0, 1], [0, 1], color=color_of(0), label="curve")
    add_legend(axes)
    image = to_image(figure)
    assert image.shape == (1, 320, 480, 3)
    assert image.dtype == torch.float32
    assert image.min() >= 0
    assert image.max() <= 1
    corner = [round(value * 255) for value in image[0, 0, 0].tolist()]
    assert "#" + "".join(f"{value:02x}" for value in corner) == PAPER


def test_drawing_touches_neither_pyplot_nor_the_settings() -> None:
    code = """
import sys
import tstitch.views.plots as plots
assert "matplotlib" not in sys.modules
import matplotlib
before = matplotlib.rcParams.copy()
figure, axes = plots.new_axes("Title", "x", "y")
axes.plot([0, 1], label="curve")
plots.add_legend(axes)
plots.to_image(figure)
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
