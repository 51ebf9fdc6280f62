"""Import the host's modules outside its server, on the CPU when there is no GPU."""

import torch


def prepare_host() -> None:
    """Call before any other import of `comfy`: the host picks its device at import."""
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
