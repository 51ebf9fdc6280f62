"""The model files of the host's folders, and which of them go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import folder_paths

from ..errors import StitchError
from .facts import ModelFacts, facts_of
from .fit import FRACTION, ROLES, fit, size_text
from .header import read_header

FOLDERS = ("diffusion_models", "checkpoints")  # of the host, in which people keep models

#: What a file was found to be, or why not, by path, time and size.
_known: dict[tuple[str, int, int], ModelFacts | str] = {}


class Entry(NamedTuple):
    name: str
    facts: ModelFacts | None
    problem: str = ""


def model_names() -> list[str]:
    return list(dict.fromkeys(name for folder in FOLDERS for name in folder_paths.get_filename_list(folder)))


def file_times() -> str:
    """A text that changes when a file comes, goes or is replaced."""
    return "\n".join(f"{name} {_time_of(name)}" for name in model_names())


def _time_of(name: str) -> int:
    path = _path_of(name)
    try:
        return path.stat().st_mtime_ns if path else 0
    except OSError:
        return 0


def _path_of(name: str) -> Path | None:
    paths = (folder_paths.get_full_path(folder, name) for folder in FOLDERS)
    path = next(filter(None, paths), None)
    return Path(path) if path else None


def entry_of(name: str) -> Entry:
    path = _path_of(name)
    if path is None:
        return Entry(name, None, f"The file {name} is not there any more.")
    found = examined(path, name)
    return Entry(name, None, found) if isinstance(found, str) else Entry(name, found)


def latents_of(names: Sequence[str]) -> dict[str, dict[str, str | int]]:
    """What the page asks: for the files that are known, their latents and a number that stands for them."""
    kinds: list[Entry] = []
    found: dict[str, dict[str, str | int]] = {}
    for entry in map(entry_of, dict.fromkeys(names)):
        if entry.facts is None:
            continue
        group = next((number for number, each in enumerate(kinds) if _reads_the_same(each, entry)), len(kinds))
        if group == len(kinds):
            kinds.append(entry)
        found[entry.name] = {"latents": entry.facts.latents, "group": group}
    return found


def examined(path: Path, name: str) -> ModelFacts | str:
    """What the file is, or in a sentence why that cannot be told."""
    try:
        status = path.stat()
    except OSError as error:
        return f"The file {name} cannot be read: {error.strerror}."
    key = (str(path), status.st_mtime_ns, status.st_size)
    if key not in _known:
        try:
            _known[key] = facts_of(read_header(path, name))
        except StitchError as error:
            _known[key] = str(error)
    return _known[key]


def all_table(entries: Sequence[Entry]) -> str:
    """Every file, by the latents it reads and then by size."""
    groups: list[list[Entry]] = []
    for entry in entries:
        if entry.facts is None:
            continue
        group = next((each for each in groups if _reads_the_same(each[0], entry)), None)
        if group is None:
            groups.append([entry])
        else:
            group.append(entry)
    lines = []
    for group in sorted(groups, key=lambda each: (-len(each), each[0].name)):
        lines += [f"## {_facts(group[0]).latents}", "", "| file | family | size |", "|---|---|--:|"]
        lines += [
            f"| {entry.name} | {_facts(entry).family} | {size_text(_facts(entry).parameters)} |"
            for entry in sorted(group, key=lambda each: _facts(each).parameters)
        ]
        lines.append("")
    return "\n".join([*lines, *_problems(entries)]).strip() or "There are no model files in these folders."


def pairs_table(chosen: Entry, entries: Sequence[Entry]) -> str:
    """Which files can join `chosen`, in which role, and what the pair saves. Raises StitchError."""
    if chosen.facts is None:
        raise StitchError(chosen.problem)
    facts = chosen.facts
    others = [entry for entry in entries if entry.name != chosen.name and _reads_the_same(chosen, entry)]
    heading = f"# {chosen.name}\n\n{facts.family}, {size_text(facts.parameters)}, {facts.latents} latents"
    if not others:
        return f"{heading}\n\nNo other file reads these latents. Low-Resolution Model makes it its own small model."
    lines = [f"| file | family | size | role | text encoder | at {FRACTION:g} |", "|---|---|--:|---|---|--:|"]
    for entry in sorted(others, key=lambda each: _facts(each).parameters):
        other = _facts(entry)
        found = fit(facts.parameters, other.parameters, other.text == facts.text)
        text = "own conditioning" if found.own_prompt else "the same"
        saved = f"{found.speed_up:.2f}x"
        size = size_text(other.parameters)
        lines.append(f"| {entry.name} | {other.family} | {size} | {ROLES[found.role]} | {text} | {saved} |")
    return "\n".join([heading, "", *lines])


def _problems(entries: Sequence[Entry]) -> list[str]:
    problems = [f"- {entry.problem}" for entry in entries if entry.facts is None]
    return ["## Not told", "", *problems] if problems else []


def _reads_the_same(one: Entry, other: Entry) -> bool:
    return other.facts is not None and one.facts is not None and one.facts.shares_latents(other.facts)


def _facts(entry: Entry) -> ModelFacts:
    assert entry.facts is not None
    return entry.facts
