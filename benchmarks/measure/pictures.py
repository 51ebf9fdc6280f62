"""The same people by several runs, side by side: writes `results/pictures.png`."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from benchmarks.measure.groups import HALF, RULE, SUMMARY
from benchmarks.tools.results import RESULTS
from benchmarks.tools.settings import ALONE, XL, S, Setting, stitched
from benchmarks.tools.studio import studio
from scripts.sheet import INK, PAPER, font
from training.data import SIZE, STYLES

SEED = 3
LABELS, MARGIN, GAP = 300, 12, 4  # pixels
ROWS: dict[str, Setting] = {
    "XL alone": ALONE,
    "S alone": Setting((S,)),
    "first 40 % by S": stitched((S, XL), RULE),
    "first 60 % by S": stitched((S, XL), 0.6),
    "first 40 % at half size": stitched((HALF, XL), RULE),
    "first 60 % at half size": stitched((HALF, XL), 0.6),
    "all at half size": Setting((HALF,)),
    "XL guided by S, cfg 2": SUMMARY["guidance by S (weak model, cfg 2)"],
    "S first, then guided by S": SUMMARY["both: S first, then XL guided by S"],
    "the same in 10 steps": SUMMARY["both in 10 steps"],
}


def main() -> None:
    labels = torch.arange(len(STYLES))
    strips = {}
    for words, setting in tqdm(ROWS.items(), desc="pictures", unit="row"):
        strips[words] = studio().decoded(studio().sample(setting, labels, SEED))
    RESULTS.mkdir(exist_ok=True)
    sheet(strips).quantize(256).save(RESULTS / "pictures.png", optimize=True)


def sheet(strips: dict[str, Tensor]) -> Image.Image:
    """A row of words and pictures each, at twice their size."""
    side = 2 * SIZE
    width = LABELS + len(STYLES) * (side + GAP) + MARGIN
    result = Image.new("RGB", (width, len(strips) * (side + GAP) + 2 * MARGIN), PAPER)
    pen = ImageDraw.Draw(result)
    for row, (words, pixels) in enumerate(strips.items()):
        top = MARGIN + row * (side + GAP)
        pen.text((MARGIN, top + side // 2), words, INK, font(20), anchor="lm")
        for column, picture in enumerate(pixels):
            values = ((picture.permute(1, 2, 0) + 1) * 127.5).round().numpy().astype(np.uint8)
            large = Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC)
            result.paste(large, (LABELS + column * (side + GAP), top))
    return result
