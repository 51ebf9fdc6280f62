"""`python -m training NAME`: train one bundled model and write its safetensors file."""

from __future__ import annotations

import argparse
import sys

from training.data import DatasetMissingError


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py train", description=__doc__)
    parser.add_argument("name", choices=["vae", "classifier", "S", "S-eps", "B", "XL", "Shortcut"])
    args = parser.parse_args()
    try:
        if args.name == "vae":
            from training.autoencoder import train_vae

            train_vae("models/starter_vae.safetensors")
        elif args.name == "classifier":
            from training.classifier import train_classifier

            train_classifier("benchmarks/classifier.safetensors")
        else:
            from training.denoiser import train_denoiser

            train_denoiser(args.name)
    except DatasetMissingError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    main()
