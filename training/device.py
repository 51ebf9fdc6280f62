"""Where training runs: on the first CUDA device when there is one, else on the CPU; checkpoints fit both."""

from __future__ import annotations

import torch
from torch import Tensor

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> torch.autocast:
    """bfloat16 for matrix products and convolutions, on either device."""
    return torch.autocast(DEVICE.type, torch.bfloat16)


def pictures_to_device(pictures: Tensor) -> Tensor:
    """As `to_device`, in the layout in which convolutions are fastest."""
    return to_device(pictures).contiguous(memory_format=torch.channels_last)


def to_device(tensor: Tensor) -> Tensor:
    """On the training device, by a copy that the host need not wait for."""
    if DEVICE.type == "cpu":
        return tensor
    return tensor.pin_memory().to(DEVICE, non_blocking=True)
