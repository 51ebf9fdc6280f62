"""The browser of the tests in the page."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .packages import logged
from .project import LOG, DevError

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
CHROMIUM_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
DEBIAN_PACKAGES = ("chromium", "fonts-dejavu-core")


def find_chromium() -> str | None:
    """The program that CHROMIUM names, or else any of its family that is installed."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    return found or next((place for place in CHROMIUM_PLACES if Path(place).is_file()), None)


def set_up_chromium() -> None:
    """Install Debian's Chromium where that can be done without asking; raise one sentence where it cannot."""
    if find_chromium():
        return
    remedy = "install Chromium or Chrome, or name its program in CHROMIUM"
    if not (shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0):
        raise DevError(f"no Chromium was found for the tests in the page: {remedy}.")
    print(f"Installing {' and '.join(DEBIAN_PACKAGES)} ...", flush=True)
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    install = [*quiet, "install", "-y", "--no-install-recommends", *DEBIAN_PACKAGES]
    if logged([*quiet, "update"]) or logged(install) or not find_chromium():
        raise DevError(f"apt-get could not install {' and '.join(DEBIAN_PACKAGES)} (see {LOG}): {remedy}.")
