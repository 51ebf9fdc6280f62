"""Tables of quality rows. What all lines share is said once, above the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.report.lines import Line, Reference, is_lossless, lines_of, timed, xl_alone
from benchmarks.report.tables import Column, count, signed, table_of
from benchmarks.tools.settings import Setting

#: What may differ between the lines of a group, in the order of the columns.
WIDGETS: dict[str, Callable[[Line], str]] = {
    "models": lambda line: line.setting.models,
    "steps": lambda line: line.setting.pattern,
    "sampler": lambda line: line.setting.sampler,
    "cfg": lambda line: f"{line.setting.cfg:g}",
    "guidance": lambda line: line.setting.guidance,
    "other": lambda line: line.setting.extras,
    "pictures": lambda line: str(line.samples),
    "seeds": lambda line: str(line.seeds),
}
ALWAYS = ("models", "steps")


def optional(value: float | None, text: Callable[[float], str]) -> str:
    return "" if value is None else text(value)


def scores(reference: Reference) -> list[Column]:
    lossless = {True: "yes", False: "no", None: ""}
    return [
        Column("FID", lambda line: f"{line.mean('fid'):.1f}"),
        Column("spread", lambda line: optional(line.spread("fid"), lambda value: f"{value:.1f}")),
        Column("against XL", lambda line: optional(line.added("fid"), lambda value: signed(value, 1))),
        Column("no loss", lambda line: lossless[is_lossless(line)]),
        Column("style", lambda line: f"{line.mean('accuracy'):.3f}"),
        Column("attributes", lambda line: f"{line.mean('confidence'):.3f}"),
        Column("operations", lambda line: optional(line.by_operations, lambda value: f"{value:.2f}x")),
        Column("time", lambda line: optional(timed(line, reference), lambda value: f"{value:.2f}x")),
    ]


def quality_table(settings: Sequence[Setting], reference: Reference = xl_alone) -> str:
    """What has been drawn of `settings`; empty where nothing has."""
    lines = lines_of(settings, reference)
    if not lines:
        return ""
    texts = {name: [text(line) for line in lines] for name, text in WIDGETS.items()}
    varying = [name for name in WIDGETS if name in ALWAYS or len(set(texts[name])) > 1]
    columns = [Column(name, WIDGETS[name]) for name in varying]
    shared = {name: values[0] for name, values in texts.items() if name not in varying}
    missing = len({setting.run for setting in settings}) - len(lines)
    parts = [caption(shared), spread_sentence(lines)]
    parts += [f"{count(missing, 'row')} of this group not measured yet."] if missing else []
    return f"{' '.join(filter(None, parts))}\n\n{table_of([*columns, *scores(reference)], lines)}"


def caption(shared: dict[str, str]) -> str:
    """What every line has."""
    words = {
        "sampler": lambda value: value,
        "cfg": lambda value: f"cfg {value}",
        "guidance": lambda value: "" if value == "none" else f"{value} guidance",
        "other": lambda value: value,
        "pictures": lambda value: f"{count(int(value), 'picture')} per row",
        "seeds": lambda value: count(int(value), "seed"),
    }
    found = [words[name](value) for name, value in shared.items() if name in words]
    text = ", ".join(filter(None, found))
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def spread_sentence(lines: Sequence[Line]) -> str:
    """How far the seeds of the reference differ: what a difference must exceed to mean anything."""
    known = [Line(line.setting, line.reference, {}) for line in lines if line.reference]
    if not known:
        return ""
    most = max(known, key=lambda line: line.seeds)
    fid, accuracy = most.spread("fid"), most.spread("accuracy")
    if fid is None or accuracy is None:
        return "XL alone has been drawn with one seed only, so its spread is not known."
    return f"{count(most.seeds, 'seed')} of XL alone differ by {fid:.1f} in FID and {accuracy:.3f} in style accuracy."
