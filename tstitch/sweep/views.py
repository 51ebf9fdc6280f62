"""A sweep for people: the labelled grid, the plot of speed and quality, and the table."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..views.plots import INK, PAPER, SOFT, TEXT, add_legend, color_of, new_axes, short, to_image
from ..views.similarity import cosine_similarity, psnr, ssim
from .run import Run

CELL_RANGE = (160, 512)  # pixels of a picture's longer side
MAX_SIDE = 8192  # pixels of the whole grid, as far as the smallest cells allow
GAP = 8
TIME_LINES = 2  # at the end of a caption: seconds, and speed-up


@dataclass(frozen=True)
class Quality:
    """Similarity of a run to the reference, over its whole batch."""

    cosine: float  # of the latents
    psnr: float  # of the pictures, dB; infinite where they are equal
    ssim: float  # of the pictures


def decoded(vae: Any, samples: Tensor) -> Tensor:
    """Pictures (N, H, W, 3) in [0, 1]; of a video, its middle frame."""
    images = vae.decode(samples)
    if images.ndim == 5:
        images = images[:, images.shape[1] // 2]
    return images[..., :3].float().cpu().clamp(0, 1)


def reference_of(runs: Sequence[Run]) -> int:
    """The run with the fewest steps of the small model: fraction 0 if it is in the list."""
    return min(range(len(runs)), key=lambda index: runs[index].small_steps)


def qualities(runs: Sequence[Run], pictures: Sequence[Tensor]) -> list[Quality]:
    index = reference_of(runs)
    return [
        Quality(
            float(cosine_similarity(run.samples, runs[index].samples).mean()),
            float(psnr(images[None], pictures[index][None])),
            float(ssim(images, pictures[index]).mean()),
        )
        for run, images in zip(runs, pictures, strict=True)
    ]


def draw_grid(runs: Sequence[Run], pictures: Sequence[Tensor]) -> Tensor:
    """One column per run, one row per item of the batch, label and seconds underneath. IMAGE (1, H, W, 3)."""
    width, height = cell_size(pictures[0], len(runs))
    columns, rows = len(runs), len(pictures[0])
    big, small = (load_font(max(14, round(width * share))) for share in (0.16, 0.14))
    reference = runs[reference_of(runs)].seconds
    captions = [[*wrapped(run.entry.label, big, width), *seconds_texts(run.seconds, reference)] for run in runs]
    line = round(big.size * 1.35)
    foot = max(map(len, captions)) * line + GAP
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP + foot), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, (images, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = GAP + column * (width + GAP)
        for row, picture in enumerate(images):
            sheet.paste(as_cell(picture, (width, height)), (left, GAP + row * (height + GAP)))
        top = GAP + rows * (height + GAP)
        for index, text in enumerate(caption):
            is_time = index >= len(caption) - TIME_LINES
            place = (left + width // 2, top + index * line)
            pen.text(place, text, SOFT if is_time else INK, small if is_time else big, anchor="ma")
    return torch.from_numpy(np.array(sheet)).float()[None] / 255


def cell_size(pictures: Tensor, columns: int) -> tuple[int, int]:
    """(width, height) of a picture (N, H, W, 3) in the grid."""
    rows, height, width = pictures.shape[:3]
    longer = max(height, width)
    side = min(max(longer, CELL_RANGE[0]), CELL_RANGE[1], MAX_SIDE // max(rows, columns))
    scale = max(side, 64) / longer
    return max(1, round(width * scale)), max(1, round(height * scale))


def as_cell(picture: Tensor, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray((picture * 255).round().byte().numpy()).resize(size, Image.Resampling.BICUBIC)


def load_font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines that fit into `width` pixels, where the words allow."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def seconds_texts(seconds: float, reference: float) -> tuple[str, str]:
    return f"{_readable(seconds)} s", f"{reference / seconds:.2f}x" if seconds > 0 else "-"


def speed_quality_figure(runs: Sequence[Run], found: Sequence[Quality]) -> Tensor:
    """Similarity to the reference against seconds, with a line through the runs without a pattern. IMAGE."""
    reference = short(runs[reference_of(runs)].entry.label)
    figure, axes = new_axes("Speed and likeness", "seconds", f"likeness to {reference}")
    line = sorted((run.seconds, index) for index, run in enumerate(runs) if not run.entry.spec.pattern)
    for number, (label, name) in enumerate({"SSIM of the pictures": "ssim", "cosine of the latents": "cosine"}.items()):
        values = [getattr(quality, name) for quality in found]
        axes.plot([run.seconds for run in runs], values, "o", color=color_of(number), markersize=10, label=label)
        axes.plot([x for x, _ in line], [values[index] for _, index in line], color=color_of(number), linewidth=3)
    for run, quality in zip(runs, found, strict=True):
        beside = bool(run.entry.spec.pattern)
        axes.annotate(
            short(run.entry.label),
            (run.seconds, quality.ssim),
            (12, 0) if beside else (0, -10),
            textcoords="offset points",
            ha="left" if beside else "center",
            va="center" if beside else "top",
            color=INK,
            fontsize=TEXT - 3,
        )
    axes.margins(0.1, 0.15)
    add_legend(axes, loc="best")
    return to_image(figure)


def table(runs: Sequence[Run], found: Sequence[Quality]) -> str:
    """One line per run: schedule, steps of the small model, seconds, speed-up, similarity to the reference."""
    reference = runs[reference_of(runs)]
    width = max(8, *(len(run.entry.label) for run in runs))
    lines = [f"{'schedule':<{width}}  small steps   seconds  speed-up   cosine  PSNR dB    SSIM"]
    for run, quality in zip(runs, found, strict=True):
        steps = f"{run.small_steps}/{len(run.schedule.owners)}"
        speed = f"{reference.seconds / run.seconds:.2f}x" if run.seconds > 0 else "-"
        db = "equal" if quality.psnr == math.inf else f"{quality.psnr:.2f}"
        lines.append(
            f"{run.entry.label:<{width}}  {steps:>11}  {_readable(run.seconds):>8}  {speed:>8}  {quality.cosine:7.4f}"
            f"  {db:>7}  {quality.ssim:6.4f}"
        )
    lines.append(f"Likeness is to {reference.entry.label}.")
    return "\n".join(lines)


def _readable(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 100 else f"{seconds:.2f}"
