"""Every help page shows its node; `python -m scripts.pictures` makes the pictures from the real page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).resolve().parents[2] / "js" / "docs"


@pytest.mark.parametrize("page", sorted(DOCS.glob("TStitch*.md")), ids=lambda page: page.stem)
def test_a_help_page_has_the_picture_of_its_node(page: Path) -> None:
    assert f"]({page.stem}.png)" in page.read_text(encoding="utf-8")
    with Image.open(page.with_suffix(".png")) as picture:
        assert picture.width > 250
        assert picture.height > 60


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_a_help_page_links_to_no_other_page(page: Path) -> None:
    """ComfyUI's help panel finds pictures beside the page, but not pages."""
    assert not re.search(r"(?<!!)\[[^]]*\]\((?!https://)", page.read_text(encoding="utf-8"))
