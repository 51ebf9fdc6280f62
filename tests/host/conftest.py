"""What the tests on the real ComfyUI need of every version of it."""

from __future__ import annotations

import comfy.utils
import pytest


@pytest.fixture(autouse=True)
def every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer hosts leave out progress that follows the last too soon, and these models are fast."""
    for name in ("PROGRESS_THROTTLE_MIN_INTERVAL", "PROGRESS_THROTTLE_MIN_PERCENT"):
        if hasattr(comfy.utils, name):
            monkeypatch.setattr(comfy.utils, name, 0)
