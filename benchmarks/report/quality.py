"""Tables of quality rows. What all lines share is said once, above the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.report.lines import Line, Reference, is_lossless, lines_of, speed_of, spread_of, timed, xl_alone
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


def scores(reference: Reference, against: str) -> list[Column]:
    lossless = {True: "yes", False: "no", None: ""}
    return [
        Column("FID", lambda line: f"{line.mean('fid'):.2f}"),
        Column("spread", lambda line: optional(line.spread("fid"), lambda value: f"{value:.2f}")),
        Column(f"against {against}", lambda line: optional(line.added("fid"), lambda value: signed(value, 2))),
        Column("no loss", lambda line: lossless[is_lossless(line)]),
        Column("style", lambda line: f"{line.mean('accuracy'):.3f}"),
        Column("attributes", lambda line: f"{line.mean('confidence'):.3f}"),
        Column("operations", lambda line: optional(line.by_operations, lambda value: f"{value:.2f}x")),
        Column("time", lambda line: optional(timed(line, reference), lambda value: f"{value:.2f}x")),
    ]


def quality_table(settings: Sequence[Setting], reference: Reference = xl_alone, against: str = "XL") -> str:
    """What has been drawn of `settings`, compared with `reference`; empty where nothing has."""
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
    rows = table_of([*columns, *scores(reference, against)], lines)
    return "\n\n".join(filter(None, [" ".join(filter(None, parts)), rows, best_sentence(lines, varying)]))


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
    """How far seeds of XL alone differ: what a difference must exceed to mean anything."""
    most = max((line.alone for line in lines), key=len)
    fid, accuracy = spread_of(most, "fid"), spread_of(most, "accuracy")
    if fid is None or accuracy is None:
        return "The spread of XL alone is not known yet."
    return f"{count(len(most), 'seed')} of XL alone differ by {fid:.2f} in FID and {accuracy:.3f} in style accuracy."


def best_sentence(lines: Sequence[Line], varying: Sequence[str]) -> str:
    """The best row and the fastest without loss, by name."""
    compared = [line for line in lines if line.reference and line.samples == max(each.samples for each in lines)]
    if len(compared) < 2:
        return ""
    best = min(compared, key=lambda line: line.mean("fid"))
    text = f"Lowest FID: {name_of(best, varying)}, {best.mean('fid'):.2f}."
    speed, lossless = speed_of(compared), [line for line in compared if is_lossless(line)]
    if not lossless:
        return text
    fastest = max(lossless, key=speed)
    return f"{text} Fastest without loss: {name_of(fastest, varying)}, {speed(fastest):.2f}x."


def name_of(line: Line, varying: Sequence[str]) -> str:
    """What tells a row from the others."""
    texts = {name: WIDGETS[name](line) for name in varying if name not in ("pictures", "seeds")}
    return ", ".join(f"cfg {text}" if name == "cfg" else text for name, text in texts.items() if text)
