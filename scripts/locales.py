"""`python -m scripts.locales`: writes locales/en from the nodes, and says what the translations lack."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.client import fetch_object_info
from scripts.server import free_port, running_server
from scripts.workflow import Json, options_of, ordered_inputs

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "locales"
SOURCE, TRANSLATIONS = "en", ("ko", "ja", "zh")
FILE = "nodeDefs.json"


def english(object_info: Json) -> Json:
    """The texts of our nodes, in the shape in which the page reads translations."""
    ours = {name: info for name, info in object_info.items() if name.startswith("TStitch")}
    return {name: node_texts(ours[name]) for name in sorted(ours)}


def node_texts(info: Json) -> Json:
    inputs = {name: texts(name, options_of(spec).get("tooltip")) for name, spec in ordered_inputs(info)}
    tooltips = info.get("output_tooltips") or []
    outputs = {
        str(number): texts(name, tooltips[number] if number < len(tooltips) else None)
        for number, name in enumerate(info["output_name"])
    }
    node: Json = {"display_name": info["display_name"], "description": info["description"], "inputs": inputs}
    return node | ({"outputs": outputs} if outputs else {})


def texts(name: str, tooltip: str | None) -> Json:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


def read_locale(language: str) -> Json:
    path = FOLDER / language / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_locale(language: str, content: Json) -> None:
    (FOLDER / language).mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (FOLDER / language / FILE).write_text(text + "\n", encoding="utf-8")


def paths(content: Json, start: str = "") -> Iterator[tuple[str, str]]:
    """Every text with its place, such as TStitchKSampler.inputs.model.tooltip."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from paths(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value


def differences(source: Json, translation: Json) -> tuple[list[str], list[str]]:
    """Places that the translation lacks, and those that the nodes no longer have."""
    wanted, found = dict(paths(source)), dict(paths(translation))
    missing = [place for place in wanted if not found.get(place, "").strip()]
    return missing, [place for place in found if place not in wanted]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tstitch-locales-") as base:
        host = Path(os.environ["COMFYUI_PATH"])
        with running_server(host, Path(base), free_port(), cpu=True) as server:
            source = english(asyncio.run(fetch_object_info(server.address)))
    write_locale(SOURCE, source)
    complete = True
    for language in TRANSLATIONS:
        missing, stale = differences(source, read_locale(language))
        print(*(f"{language} lacks {place}" for place in missing), sep="\n")
        print(*(f"{language} has {place}, which no node has" for place in stale), sep="\n")
        complete &= not missing and not stale
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
