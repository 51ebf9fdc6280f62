"""Devices that work on while Python goes on."""

from __future__ import annotations

import torch


def synchronize(device: torch.device) -> None:
    """Wait for the work on `device`, where it is done out of order."""
    if device.type != "cpu":
        wait = getattr(getattr(torch, device.type, None), "synchronize", None)
        if wait is not None:
            wait()
