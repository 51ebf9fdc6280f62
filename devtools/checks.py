"""Style, types and all tests: `python dev.py test`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from .chromium import set_up_chromium
from .hosts import NEW_FRONTEND, NEW_HOST, NEW_PAGE, OLD_HOST, OLD_PAGE, own_comfyui, own_page
from .packages import set_up_node, venv_python
from .processes import environment, run_all
from .project import ROOT, DevError

NO_TESTS_COLLECTED = 5  # pytest's exit status
CORES = min(os.cpu_count() or 1, 4)  # more than four test processes need much memory
#: The whole suite on several cores, each file in one process: models of a file are made once.
SIDE_BY_SIDE = ["-n", str(CORES), "--dist", "loadfile"]
#: The markers of the browser tests; each renderer has a server and a browser of its own.
RENDERERS = ("classic", "nodes2")


class Tested(NamedTuple):
    """A ComfyUI to test with."""

    title: str
    host: Path
    page: Path | None  # of packages, where not that in .venv is served
    marked: str  # which tests, besides those in the page; none where empty


def tested() -> list[Tested]:
    own = own_comfyui()
    if own:
        return [Tested(f"ComfyUI in {own}", own, own_page(), "not browser")]
    return [
        Tested(f"ComfyUI {NEW_HOST.comfyui}", NEW_HOST.folder, None, "not browser"),
        Tested(f"ComfyUI {OLD_HOST.comfyui}", OLD_HOST.folder, OLD_PAGE.folder, "host"),
        Tested(f"frontend {NEW_FRONTEND}", NEW_HOST.folder, NEW_PAGE.folder, ""),
    ]


class Outcome(NamedTuple):
    title: str
    ok: bool
    counts: dict[str, int]  # of tests by result; empty for a check that is not pytest
    reason: str = ""  # why it could not even start
    seconds: float = 0.0

    def __str__(self) -> str:
        words = self.reason or pytest_words(self.counts) or ("ok" if self.ok else "failed")
        return f"{self.title:<36}{words}" + (f" ({self.seconds:.0f} s)" if self.seconds >= 1 else "")


class Check(NamedTuple):
    """A program whose exit status tells whether all is well."""

    title: str
    command: list[str]
    env: dict[str, str] | None = None
    is_pytest: bool = False
    may_be_empty: bool = False

    def start(self, report: Path, output: Path | None) -> subprocess.Popen[bytes]:
        command = [*self.command, f"--junitxml={report}"] if self.is_pytest else self.command
        if output is None:
            return subprocess.Popen(command, cwd=ROOT, env=self.env)
        with output.open("wb") as file:
            return subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=file, stderr=subprocess.STDOUT)

    def outcome(self, status: int, report: Path, seconds: float) -> Outcome:
        ok = status == 0 or (status == NO_TESTS_COLLECTED and self.is_pytest and self.may_be_empty)
        return Outcome(self.title, ok, counts_of(report) if self.is_pytest else {}, seconds=seconds)


def run_checks(checks: Sequence[Check], at_once: int = 1) -> list[Outcome]:
    """The output of a check is shown as it comes where they run one by one, else when the check has ended."""
    outcomes: dict[int, Outcome] = {}
    started: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        reports = [Path(name) / f"{number}.xml" for number in range(len(checks))]
        outputs = [report.with_suffix(".log") if at_once > 1 else None for report in reports]

        def start(number: int) -> subprocess.Popen[bytes]:
            if at_once == 1:
                section(checks[number].title)
            started[number] = time.monotonic()
            return checks[number].start(reports[number], outputs[number])

        def ended(number: int, status: int) -> None:
            output = outputs[number]
            if output is not None:
                section(checks[number].title)
                print(output.read_text(encoding="utf-8", errors="replace"), end="", flush=True)
            outcomes[number] = checks[number].outcome(status, reports[number], time.monotonic() - started[number])

        run_all([partial(start, number) for number in range(len(checks))], at_once, ended)
    return [outcomes[number] for number in range(len(checks))]


def counts_of(report: Path) -> dict[str, int]:
    """Tests by result, as pytest has written them down."""
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    except (FileNotFoundError, ElementTree.ParseError):  # pytest was stopped, or the disk is full
        return {}
    failed, errors, skipped, total = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("failures", "errors", "skipped", "tests")
    )
    return {"failed": failed, "passed": total - failed - errors - skipped, "skipped": skipped, "errors": errors}


def pytest_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def section(title: str) -> None:
    print(f"\n=== {title} ===", flush=True)


def refused(titles: Sequence[str], error: DevError) -> list[Outcome]:
    """What a missing tool leaves of the checks that need it."""
    print(f"\n{error}", flush=True)
    return [Outcome(title, False, {}, str(error)) for title in titles]


PYTHON_TOOLS = {"ruff format": ["ruff", "format", "--check"], "ruff check": ["ruff", "check"], "mypy": ["mypy"]}
PAGE_TOOLS = {
    "eslint": ["node_modules/eslint/bin/eslint.js", "js", "scripts", "training", "tests/js"],
    "types of js/ (tsc)": ["node_modules/typescript/bin/tsc", "--project", "tsconfig.json"],
    "unit tests of js/": ["--test", *map(str, sorted(ROOT.glob("tests/js/**/*.test.js")))],
}


def static_checks() -> list[Outcome]:
    """Style and types, and the tests of js/ that need no page: a core each."""
    checks = [Check(title, [str(venv_python()), "-m", *words]) for title, words in PYTHON_TOOLS.items()]
    lacking: list[Outcome] = []
    try:
        set_up_node()
        node = shutil.which("node") or "node"
        checks += [Check(title, [node, *words]) for title, words in PAGE_TOOLS.items()]
    except DevError as error:
        lacking = refused(list(PAGE_TOOLS), error)
    return run_checks(checks, CORES) + lacking


def pytest_check(title: str, where: Tested, arguments: list[str], may_be_empty: bool) -> Check:
    # The models of the tests are tiny: a second thread only waits for the first.
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    env = environment(where.host, OMP_NUM_THREADS=threads, COMFYUI_PAGE=str(where.page or ""))
    command = [str(venv_python()), "-m", "pytest", *arguments]
    return Check(title, command, env, is_pytest=True, may_be_empty=may_be_empty)


def host_tests(arguments: list[str]) -> list[Outcome]:
    checks = [
        pytest_check(
            f"tests on {each.title}",
            each,
            ["-m", each.marked, *(arguments or SIDE_BY_SIDE)],
            may_be_empty=each.marked == "host" or bool(arguments),
        )
        for each in tested()
        if each.marked
    ]
    return run_checks(checks)


def browser_tests(arguments: list[str]) -> list[Outcome]:
    """As many pages at a time as there are cores.

    A page keeps a core busy: of 285 CPU seconds of one run, its scripts took 170, drawing without a GPU 60, the server
    45, the test itself 10. More runs at once only slow one another down, until tests reach their time limits.
    """
    checks = [
        pytest_check(
            f"{renderer} page of {each.title}",
            each,
            ["-m", f"browser and {renderer}", *(arguments or ["tests/browser"])],
            may_be_empty=bool(arguments),
        )
        for each in tested()
        for renderer in RENDERERS
    ]
    try:
        set_up_chromium()
    except DevError as error:
        return refused([check.title for check in checks], error)
    return run_checks(checks, CORES)


def closing_line(outcomes: list[Outcome], seconds: float) -> str:
    """All test runs in one line of pytest's own form; a check that is not a test and failed counts as an error."""
    counts = {"failed": 0, "passed": 0, "skipped": 0, "errors": 0}
    for outcome in outcomes:
        for name, number in outcome.counts.items():
            counts[name] += number
        if not outcome.ok and not (outcome.counts.get("failed") or outcome.counts.get("errors")):
            counts["errors"] += 1
    return f" {pytest_words(counts) or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")


def run_packs(folder: Path, arguments: list[str]) -> int:
    """The packs that a person has cloned into `folder`, with what they need installed beside ComfyUI."""
    if not folder.is_dir():
        raise DevError(f"--packs names {folder}, which is no folder: clone the packs to test into one.")
    os.environ["TSTITCH_PACKS"] = str(folder)
    chosen = ["-m", "packs", "-s", *(arguments or ["tests/packs"])]
    outcomes = run_checks(
        [pytest_check(f"packs on {each.title}", each, chosen, may_be_empty=False) for each in tested() if each.marked]
    )
    section("summary")
    print(*outcomes, sep="\n")
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def run_tests(arguments: list[str]) -> int:
    started = time.monotonic()
    outcomes = [*static_checks(), *host_tests(arguments), *browser_tests(arguments)]
    section("summary")
    print(*outcomes, sep="\n")
    print(closing_line(outcomes, time.monotonic() - started), flush=True)
    return 0 if all(outcome.ok for outcome in outcomes) else 1
