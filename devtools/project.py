"""Where things are, and how a failure is told."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
HOSTS = ROOT / ".host"
LOG = VENV / "setup.log"
PACK = "comfyui-tstitch"


class DevError(Exception):
    """One sentence for the user: what failed, and what to do about it."""
