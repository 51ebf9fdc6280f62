"""Shared by the records of calibrations and profiles."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelMark:
    """Name and identity of a model."""

    name: str  # for people
    identity: str  # of its weights and patches, see `identity.model_identity`


def is_number(value: Any) -> bool:
    """Whether `value` is finite, and not an integer beyond all floats, which JSON may hold too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
