"""Devices that work asynchronously."""

from __future__ import annotations

from typing import Any

import torch

#: Kinds of device that keep time themselves, so that nobody has to wait for them to know it.
WITH_EVENTS = ("cuda", "xpu")


def synchronize(device: torch.device) -> None:
    """Wait for pending work on `device`, if it is asynchronous."""
    if device.type != "cpu":
        wait = getattr(getattr(torch, device.type, None), "synchronize", None)
        if wait is not None:
            wait()


class EventClock:
    """Of a device's own work, by its events: to mark a moment waits for nothing."""

    def __init__(self, kind: str) -> None:
        self._event = getattr(torch, kind).Event

    def mark(self) -> Any:
        event = self._event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float | None:
        """Seconds; None where the device has not come to `end`."""
        return start.elapsed_time(end) / 1000 if end.query() else None


def clock_of(device: torch.device) -> EventClock | None:
    """None where every call is done when Python goes on, or where there are no events."""
    return EventClock(device.type) if device.type in WITH_EVENTS else None
