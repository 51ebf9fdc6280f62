"""What is shipped, and what the registry reads about it."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tstitch_testing.package import REGISTRY_TOOL, ROOT, pack_by_registry_tool, packed_files

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import pip._vendor.tomli as tomllib

SHIPPED = {"__init__.py", "js", "locales", "models", "nodes", "tstitch", "workflows"}
PAPERS = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "requirements.txt"}
MEGABYTE = 1024**2


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_only_what_runs_is_shipped() -> None:
    assert {Path(name).parts[0] for name in packed_files()} == SHIPPED | PAPERS


@pytest.mark.skipif(REGISTRY_TOOL is None, reason="comfy-cli is not installed")
def test_the_registrys_own_tool_packs_the_same(tmp_path: Path) -> None:
    with zipfile.ZipFile(pack_by_registry_tool(tmp_path)) as archive:
        assert sorted(archive.namelist()) == list(packed_files())
        assert all(archive.read(name) == (ROOT / name).read_bytes() for name in packed_files())


@pytest.mark.parametrize("folder", sorted(SHIPPED - {"__init__.py"}))
def test_all_of_a_shipped_folder_is(folder: str) -> None:
    """A careless pattern, such as docs/ for /docs/, would leave help pages out."""
    kept = {".py", ".js", ".md", ".json", ".jpg", ".png", ".safetensors", ".css", ".svg"}
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kept and "__pycache__" not in path.parts
    }
    assert there - set(packed_files()) == set(), "new files must be added to git"


def test_the_starter_models_fit_the_promised_size() -> None:
    weights = [ROOT / name for name in packed_files() if name.endswith(".safetensors")]
    assert {path.parent.name for path in weights} == {"models"}
    assert sum(path.stat().st_size for path in weights) < 30 * MEGABYTE


def test_the_page_gets_no_script_that_is_not_ours() -> None:
    """The host imports every script below js/ into every user's page."""
    scripts = [name for name in packed_files() if name.startswith("js/") and name.endswith(".js")]
    assert not [name for name in scripts if re.search(r"test|spec|node_modules", name)]


def test_the_registry_has_what_it_shows() -> None:
    tool, meta = project()["tool"]["comfy"], project()["project"]
    assert set(tool) >= {"PublisherId", "DisplayName", "Icon", "Banner", "requires-comfyui"}
    assert "comfyui" not in meta["name"].lower()
    assert re.fullmatch(r"\d+\.\d+\.\d+", meta["version"])
    assert meta["urls"]["Repository"].startswith("https://github.com/")
    for key, ratio in (("Icon", 1.0), ("Banner", 21 / 9)):
        width, height = Image.open(ROOT / "docs" / Path(tool[key]).name).size
        assert width / height == pytest.approx(ratio, rel=0.02)


def test_the_requirements_are_those_of_the_project_and_pin_nothing() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert set(lines) <= set(project()["project"]["dependencies"])
    assert not [line for line in lines if "==" in line or line.startswith("torch")]


def test_the_changelog_names_the_version() -> None:
    assert project()["project"]["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_locale_has_the_same_files() -> None:
    languages = {path.name: sorted(file.name for file in path.iterdir()) for path in (ROOT / "locales").iterdir()}
    assert set(languages) == {"en", "ko", "ja", "zh"}
    assert len({json.dumps(files) for files in languages.values()}) == 1


def test_a_change_runs_the_same_tests_as_a_developer() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "python dev.py test" in workflow
    assert "dev.py test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
