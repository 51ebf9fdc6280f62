"""Turns a released Shortcut checkpoint (a pickle of JAX arrays) into safetensors for Load DiT.

python dev.py convert-shortcut CHECKPOINT [OUTPUT.safetensors] [--raw]. Needs neither JAX nor the host.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from safetensors import SafetensorError

from tstitch.errors import StitchError
from tstitch.families.dit.flax import convert_shortcut


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="dev.py convert-shortcut", description="Turn a released Shortcut checkpoint into safetensors for Load DiT."
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path, nargs="?", help="default: the checkpoint's name with .safetensors")
    parser.add_argument("--raw", action="store_true", help="take the raw weights instead of the averaged ones")
    options = parser.parse_args()
    output = options.output or Path(f"{options.checkpoint}.safetensors")
    try:
        weights = convert_shortcut(options.checkpoint, output, "params" if options.raw else None)
    except (StitchError, SafetensorError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{output}: {sum(tensor.numel() for tensor in weights.values()) / 1e6:.1f} million weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())
