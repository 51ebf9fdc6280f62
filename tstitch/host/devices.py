"""Devices that work asynchronously."""

from __future__ import annotations

import torch


def synchronize(device: torch.device) -> None:
    """Wait for pending work on `device`, if it is asynchronous."""
    if device.type != "cpu":
        wait = getattr(getattr(torch, device.type, None), "synchronize", None)
        if wait is not None:
            wait()
