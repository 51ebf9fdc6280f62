"""`python -m training NAME`: train one bundled model and write its safetensors file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.data import DatasetError
from training.interval import WHOLE, FineTuning, Interval, TrainingInputError

DENOISERS = ("S", "S-eps", "B", "XL")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; `tuning` is None where the recipe is to be followed as it is. Raises TrainingInputError."""
    parser = argparse.ArgumentParser(prog="dev.py train", description=__doc__)
    parser.add_argument("name", choices=["data", "vae", "latents", "decoder", "classifier", *DENOISERS, "Shortcut"])
    parser.add_argument("--count", type=int, help="with latents: of the first pictures only, to travel light")
    tuning = parser.add_argument_group("train a denoiser in another way, and write it elsewhere")
    tuning.add_argument("--out", type=Path, help="the safetensors file to write")
    tuning.add_argument(
        "--interval",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="noise levels t to train for, 1 = noise; 0.82 1 are the first 40 %% of the steps, 0.6 1 those of S-eps",
    )
    tuning.add_argument("--from", dest="start", type=Path, help="begin with these weights, at a quarter of the rate")
    tuning.add_argument("--images", type=int, help="length of the run")
    args = parser.parse_args(arguments)
    changes = (args.out, args.interval, args.start, args.images)
    args.tuning = None
    if args.count is not None and args.name != "latents":
        parser.error(f"--count is for latents, not for {args.name}")
    if any(change is not None for change in changes):
        if args.name not in DENOISERS:
            parser.error(f"--out, --interval, --from and --images are for {', '.join(DENOISERS)}, not for {args.name}")
        if args.out is None:
            parser.error("--interval, --from and --images need --out, so that the bundled weights stay as they are")
        interval = Interval(*args.interval) if args.interval else WHOLE
        args.tuning = FineTuning(args.out, interval, args.start, args.images)
    return args


def main() -> int:
    try:
        args = parse()
        if args.name == "data":
            from training.data import render

            render()
        elif args.name == "latents":
            from training.latents import encode

            encode(args.count)
        elif args.name == "decoder":
            from training.decoder import train_decoder

            train_decoder()
        elif args.name == "vae":
            from training.autoencoder import train_vae

            train_vae("models/starter_vae.safetensors")
        elif args.name == "classifier":
            from training.classifier import train_classifier

            train_classifier("benchmarks/classifier.safetensors")
        else:
            from training.denoiser import train_denoiser

            train_denoiser(args.name, args.tuning)
    except (DatasetError, TrainingInputError) as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    main()
