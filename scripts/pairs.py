"""`python -m scripts.pairs`: writes docs/pairs.md, the model families of the host by the latents they read."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy.cli_args import args
from comfyui_version import __version__

PAGE = Path(__file__).resolve().parent.parent / "docs" / "pairs.md"


def text() -> str:
    from tstitch.pairs.families import table  # the host looks for its device when it is imported

    return f"""# Which families go together

By ComfyUI {__version__}'s own list of models: families in one row read the same latents, so their models can be stages
of one run. **or** stands between families with different text encoders: there, give each model its own conditioning
(`small_positive` and `small_negative`, or Stitch Guiders). Names without a space are the host's own.

That two models read the same latents does not mean that they draw alike: T-Stitch Calibrate tells. Models for an input
of their own (inpainting, image to video, upscaling) need that input in their conditioning.

![T-Stitch Pairs on twenty files](pairs.png)

Of your own files, the node T-Stitch Pairs tells the same, with their sizes and roles: here of a folder of twenty files,
and of those that go with SDXL.

## Families

{table()}
"""


def main() -> int:
    args.cpu = not torch.cuda.is_available()
    PAGE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
