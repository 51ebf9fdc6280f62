"""Figures as IMAGE tensors, in one style that can be read at the size of a node's preview.

matplotlib is imported when the first figure is drawn, and only its object interface is used: no pyplot, no display,
no global settings. The figures have their own dark background, so they look the same on a dark and a light page.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

PAPER, PANEL, INK, SOFT, FAINT = "#16181c", "#1c1f24", "#f2f2f2", "#c3c8d0", "#8b919c"

#: Of the models in run order, the same as on the page (js/timeline/palette.js): Okabe and Ito's palette, which people
#: with any kind of colour vision can tell apart (Wong, Nature Methods 8, 441, 2011).
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")

#: Of ordered curves, such as the steps of a run: dark to bright in matplotlib's naming.
SEQUENCE = "viridis"

WIDTH, HEIGHT, DPI = 960, 640, 100  # pixels; a preview shows about a third of it
TEXT, TITLE = 19, 22  # points


def new_figure(width: int = WIDTH, height: int = HEIGHT) -> Any:
    """An empty figure of `width` x `height` pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)  # inches
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Any, title: str, xlabel: str, ylabel: str, grid: Literal["both", "x", "y"] = "both") -> None:
    axes.set_facecolor(PANEL)
    axes.set_title(title, color=INK, fontsize=TITLE, fontweight="bold", pad=12)
    axes.set_xlabel(xlabel, color=INK, fontsize=TEXT)
    axes.set_ylabel(ylabel, color=INK, fontsize=TEXT)
    axes.tick_params(colors=INK, labelsize=TEXT - 2, length=0)
    axes.grid(axis=grid, color=FAINT, alpha=0.3, linewidth=1)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)


def new_axes(
    title: str,
    xlabel: str,
    ylabel: str,
    width: int = WIDTH,
    height: int = HEIGHT,
    grid: Literal["both", "x", "y"] = "both",
) -> tuple[Any, Any]:
    """A figure and its only axes, styled."""
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    style_axes(axes, title, xlabel, ylabel, grid)
    return figure, axes


def add_legend(axes: Any, **options: Any) -> None:
    """A legend of the labelled curves, placed by matplotlib."""
    legend = axes.legend(
        fontsize=TEXT - 2, labelcolor=INK, facecolor=PAPER, edgecolor=FAINT, framealpha=0.85, **options
    )
    legend.set_zorder(10)


def short(pattern: str, length: int = 28) -> str:
    """A pattern shortened to leave room for the curves."""
    return pattern if len(pattern) <= length else pattern[: length - 3].rsplit(" ", 1)[0] + " ..."


def color_of(index: int) -> str:
    return COLORS[index % len(COLORS)]


def luminance(color: str) -> float:
    """Relative luminance of "#rrggbb", as WCAG defines it."""
    values = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def text_color_on(color: str) -> str:
    return max((INK, PAPER), key=lambda ink: contrast(ink, color))


def to_image(figure: Any) -> Tensor:
    """The figure as the host's IMAGE: (1, H, W, 3) float32 in [0, 1]."""
    figure.canvas.draw()
    pixels = torch.frombuffer(bytearray(figure.canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = figure.canvas.get_width_height()
    return pixels.reshape(1, height, width, 4)[..., :3].float() / 255
