"""Some hosts accept any value over the API and silently use another; refuse it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection

from ..errors import StitchError

SHOWN = 10  # choices that fit a message


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise StitchError unless `value` is among `choices`."""
    if value in choices:
        return
    if len(choices) <= SHOWN:
        raise StitchError(f"{name} must be one of {', '.join(choices)}, got {value}.")
    close = difflib.get_close_matches(str(value), choices, 1)
    perhaps = f", perhaps {close[0]}" if close else ""
    raise StitchError(
        f"{name} must be one of the {len(choices)} that the node lists, got {value}: choose one of them{perhaps}."
    )


def check_range(name: str, value: float, low: float | None, high: float | None) -> None:
    """Raise StitchError unless `value` lies between `low` and `high`; None is no bound."""
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if not low <= value <= high:
        raise StitchError(f"{name} must lie between {low:g} and {high:g}, got {value:g}.")
