"""The demo's results: one labelled picture, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

CELL, GAP, MARGIN, LABELS = 128, 6, 16, 170  # pixels
INK, FAINT, PAPER = "#1a1a1a", "#666666", "#ffffff"


class Row(NamedTuple):
    fraction: float
    seconds: float
    images: list[Image.Image]


def draw_sheet(rows: Sequence[Row], columns: Sequence[str], title: str) -> Image.Image:
    """Classes as columns, one band of images per row; `title` stands on top."""
    top = MARGIN + 64
    lines = [band(row, len(columns)) for row in rows]
    heights = [len(line) * (CELL + GAP) + GAP for line in lines]
    sheet = Image.new("RGB", (MARGIN * 2 + LABELS + len(columns) * (CELL + GAP), top + sum(heights) + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, font(20))
    for index, name in enumerate(columns):
        pen.text((column_x(index) + CELL // 2, top - 8), name, INK, font(15), anchor="ms")
    y = top
    for row, line, height in zip(rows, lines, heights, strict=True):
        draw_labels(pen, y, row, rows[0])
        for i, images in enumerate(line):
            for j, image in enumerate(images):
                sheet.paste(enlarge(image), (column_x(j), y + i * (CELL + GAP)))
        y += height
    return sheet


def band(row: Row, width: int) -> list[list[Image.Image]]:
    return [row.images[i : i + width] for i in range(0, len(row.images), width)]


def column_x(index: int) -> int:
    return MARGIN + LABELS + index * (CELL + GAP)


def draw_labels(pen: ImageDraw.ImageDraw, y: int, row: Row, reference: Row) -> None:
    pen.text((MARGIN, y + 20), f"fraction {row.fraction:g}", INK, font(20))
    pen.text((MARGIN, y + 48), describe(row.fraction), FAINT, font(14))
    pen.text((MARGIN, y + 70), f"{row.seconds:.2f} s   {speed_up(row, reference)}", INK, font(16))


def describe(fraction: float) -> str:
    """What a fraction means, for people who see the picture alone."""
    if fraction <= 0:
        return "large model only"
    return "small model only" if fraction >= 1 else f"small model first: {fraction:.0%}"


def speed_up(row: Row, reference: Row) -> str:
    return f"{reference.seconds / row.seconds:.1f}x" if row.seconds else "-"


def enlarge(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((CELL, CELL), Image.Resampling.BICUBIC)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'fraction':>8}  {'sampling':>10}  {'speed-up':>8}  {'images':>6}"]
    for row in rows:
        lines.append(
            f"{row.fraction:>8g}  {row.seconds:>8.2f} s  {speed_up(row, rows[0]):>8}  {len(row.images):>6}",
        )
    return "\n".join(lines)
