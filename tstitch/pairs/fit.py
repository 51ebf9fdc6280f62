"""What two models can be to each other: plain values and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

#: The part of the steps that a small model usually draws for nothing.
FRACTION = 0.4
#: Models whose sizes differ by less than this are of one size: neither makes the other faster.
ONE_SIZE = 1.3

STARTS, FINISHES, EQUALS = "starts", "finishes", "equal"
ROLES = {
    STARTS: "draws its early steps (small_model), or is the weak model of Small-Model Guidance",
    FINISHES: "finishes (model), and the chosen one draws its early steps",
    EQUALS: "of one size: takes steps of its own, such as high and low noise, or another style",
}


@dataclass(frozen=True)
class Fit:
    role: str  # one of ROLES, of the other model
    speed_up: float  # of the pair against the larger model alone
    own_prompt: bool  # whether each needs the conditioning of its own text encoder


def fit(chosen: int, other: int, same_text: bool) -> Fit:
    """chosen, other: parameters of each, which the work of a step grows with."""
    ratio = other / max(chosen, 1)
    role = STARTS if ratio * ONE_SIZE < 1 else FINISHES if ratio > ONE_SIZE else EQUALS
    return Fit(role, speed_up(min(ratio, 1 / ratio) if ratio else 0.0), not same_text)


def speed_up(ratio: float, fraction: float = FRACTION) -> float:
    """ratio: work of a step of the small model, as a part of the large one's."""
    return 1 / (1 - fraction + fraction * ratio)


def size_text(parameters: int) -> str:
    """Such as 860 M or 14.3 B."""
    if parameters < 1_000_000_000:
        return f"{parameters / 1e6:.3g} M"
    return f"{parameters / 1e9:.3g} B"
