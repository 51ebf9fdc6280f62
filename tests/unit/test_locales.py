"""Every text of every node in every language."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest

from scripts.locales import SOURCE, TRANSLATIONS, differences, english, paths, read_locale

WIDE_MARKS = "[\N{FULLWIDTH COLON}\N{FULLWIDTH COMMA}\N{IDEOGRAPHIC COMMA}\N{IDEOGRAPHIC FULL STOP}]"
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])", re.ASCII)
VALUE = re.compile(r"\b(?:\d+x\d+|fp8|fp16)\b", re.ASCII)  # what one can type or choose


@pytest.fixture(scope="module")
def source(host_nodes: ModuleType) -> dict[str, Any]:
    return english(
        {
            name: node.GET_NODE_INFO_V1()
            for name, node in host_nodes.NODE_CLASS_MAPPINGS.items()
            if name.startswith("TStitch")
        }
    )


def test_english_says_what_the_nodes_say(source: dict[str, Any]) -> None:
    assert read_locale(SOURCE) == source, "run python -m scripts.locales"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_a_translation_has_every_text_and_no_other(language: str, source: dict[str, Any]) -> None:
    missing, stale = differences(source, read_locale(language))
    assert not missing, f"{language} lacks {missing}"
    assert not stale, f"{language} has {stale}, which no node has"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_a_translation_keeps_numbers_and_values(language: str, source: dict[str, Any]) -> None:
    """A number or a choice that got lost is a translation that no longer says what the English one does."""
    translated = dict(paths(read_locale(language)))
    for place, text in paths(source):
        for pattern in (NUMBER, VALUE):
            lost = set(pattern.findall(text)) - set(pattern.findall(re.sub(WIDE_MARKS, ": ", translated[place])))
            assert not lost or place.endswith(".name"), f"{language} {place} lost {lost}"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_a_translation_is_one(language: str, source: dict[str, Any]) -> None:
    letters = {"ko": "[\uac00-\ud7a3]", "ja": "[\u3040-\u30ff]", "zh": "[\u4e00-\u9fff]"}[language]
    translated = dict(paths(read_locale(language)))
    untouched = [
        place for place, text in translated.items() if place.endswith("tooltip") and not re.search(letters, text)
    ]
    assert untouched == []


def test_what_is_missing_or_stale_is_found() -> None:
    nodes = {"A": {"display_name": "x", "inputs": {"b": {"name": "b", "tooltip": "c"}}}}
    lacking = {"A": {"display_name": " ", "inputs": {"old": {"name": "y"}}}}
    missing, stale = differences(nodes, lacking)
    assert missing == ["A.display_name", "A.inputs.b.name", "A.inputs.b.tooltip"]
    assert stale == ["A.inputs.old.name"]
