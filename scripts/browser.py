"""A real ComfyUI page in headless Chromium, as a person at it would use it."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Response, sync_playwright

from devtools.chromium import find_chromium
from devtools.project import PACK
from scripts.workflow import Json

READY_SECONDS = 300
RUN_SECONDS = 900
STATE_SECONDS = 120  # until it is said that a state is not reached: the machine may be busy
SETTLE_FRAMES = 5  # the page draws, and renders its Vue parts, a few frames after a change
AUTOSAVE_MILLISECONDS = 900
UNDO_MILLISECONDS = 100  # newer pages count what changes this soon after a step as a part of it

VUE_NODES = "Comfy.VueNodes.Enabled"

#: What a page without this pack writes too, while it loads: 1.25.10, 1.32.9, and 1.58.1 the last two, one of them as an
#: older server does not know what it asks for.
ERRORS_OF_THE_PAGE = (
    re.compile(r"Cannot read properties of undefined \(reading 'id'\)\s+at onChange"),
    re.compile(r"Attempted to cleanup event listeners for graph that was never set up"),
    re.compile(r"^Failed to load resource"),  # those of this pack are counted by address instead
    re.compile(r"^Error fetching file size"),  # of missing models: nothing here is let out to the network
    re.compile(r"^404 \S+/docs/\w+/\w+\.md$"),  # help in the page's language, asked for before the one for all
    re.compile(r"^ComfyApp graph accessed before initialization"),
    re.compile(r"^Link not found \d+$"),  # frontend 1.25, of any node that is removed from inside a subgraph
    re.compile(r"\bJobsApiError: Failed to fetch jobs: 404"),
)


class PageError(RuntimeError):
    pass


class Box(NamedTuple):
    """A rectangle of the window in pixels."""

    x: float
    y: float
    width: float
    height: float


@contextmanager
def running_browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        raise PageError("no Chromium was found: install Chromium or Chrome, or name its program in CHROMIUM")
    arguments = [
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to run as root with it
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def change_setting(address: str, name: str, value: object) -> None:
    """Set what the page reads when it is loaded next."""
    request = urllib.request.Request(
        f"http://{address}/settings/{name}",
        data=json.dumps(value).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def write_settings(base: Path, settings: Json) -> None:
    """What the page of a server with this base folder starts with."""
    path = base / "user" / "default" / "comfy.settings.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(settings), encoding="utf-8")


class ComfyPage:
    """One tab. Node ids are execution ids: "7", or "2:1" for node 1 inside the subgraph node 2."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.errors: list[str] = []
        self.errors_of_loading: list[str] = []
        page.set_default_timeout(READY_SECONDS * 1000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._note(f"{error.message}\n{error.stack}"))
        page.on("response", self._on_response)
        page.route(lambda url: address not in url and url.startswith("http"), lambda route: route.abort())
        page.add_init_script(path=Path(__file__).with_suffix(".js"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(message.text)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and (f"/{PACK}/" in response.url or "tstitch" in response.url.lower()):
            self._note(f"{response.status} {response.url}")

    def _note(self, text: str) -> None:
        if not any(known.search(text) for known in ERRORS_OF_THE_PAGE):
            self.errors.append(text)

    # --- the page

    def open(self) -> None:
        self.page.goto(f"http://{self.address}/", wait_until="domcontentloaded")
        self._wait_until_ready()

    def reload(self) -> None:
        self.page.reload(wait_until="domcontentloaded")
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        self.wait_for("window.app?.graph && window.LiteGraph?.registered_node_types?.TStitchKSampler", READY_SECONDS)
        with suppress(PageError):  # the page restores the last workflow after all else; it may have been an empty one
            self.wait_for("app.graph.nodes.length > 0", 4)
        self.settle(3)
        self.evaluate("() => driver.watch()")
        self.errors_of_loading = list(self.errors)

    def has_vue_nodes(self) -> bool:
        """Whether nodes are drawn by Nodes 2.0; a page that does not know it takes no notice of the setting."""
        return bool(self.evaluate("() => LiteGraph.vueNodesMode === true"))

    def evaluate(self, script: str, argument: object = None) -> Any:
        return self.page.evaluate(script, argument)

    def wait_for(self, condition: str, seconds: float = STATE_SECONDS, argument: object = None) -> None:
        """Until the JavaScript expression (or function of `argument`) is true."""
        script = condition if "=>" in condition else f"() => Boolean({condition})"
        try:
            self.page.wait_for_function(script, arg=argument, timeout=seconds * 1000)
        except Error as error:
            if "Timeout" not in error.message:
                raise
            raise PageError(f"after {seconds:g} s it is still not true that {condition}") from None

    def settle(self, times: int = 1) -> None:
        """Let the page draw: as many frames, however long one takes on this machine."""
        self.evaluate("count => driver.frames(count)", SETTLE_FRAMES * times)

    def screenshot(self, path: Path, box: Box | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = None if box is None else {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
        self.page.screenshot(path=path, clip=clip)  # type: ignore[arg-type]
        return path

    # --- the graph

    def load(self, workflow: Json | Path) -> None:
        if isinstance(workflow, Path):
            workflow = json.loads(workflow.read_text(encoding="utf-8"))
        self.evaluate("workflow => app.loadGraphData(workflow)", workflow)
        self.settle()

    def clear(self) -> None:
        self.load({"last_node_id": 0, "last_link_id": 0, "nodes": [], "links": [], "groups": [], "version": 0.4})

    def workflow(self) -> Json:
        """As the page saves it."""
        return self.evaluate("() => JSON.parse(JSON.stringify((app.graph.rootGraph ?? app.graph).serialize()))")

    def prompt(self) -> Json:
        """As the page sends it to the server."""
        return self.evaluate("async () => (await app.graphToPrompt()).output")

    def nodes(self) -> dict[str, str]:
        """Node type by id, of the graph that is shown."""
        return dict(self.evaluate("() => app.graph.nodes.map(node => [String(node.id), node.type])"))

    def node_of_type(self, kind: str) -> str:
        found = [node_id for node_id, its_kind in self.nodes().items() if its_kind == kind]
        if len(found) != 1:
            raise PageError(f"the graph has {len(found)} nodes of type {kind}, not one")
        return found[0]

    def add(self, kind: str, at: tuple[float, float] = (100, 100), **values: object) -> str:
        """Add a node, set its widgets to `values`, and return its id."""
        return self.evaluate("([kind, at, values]) => driver.add(kind, at, values)", [kind, list(at), values])

    def remove(self, node: str) -> None:
        self.evaluate("id => { const node = driver.locate(id); node.graph.remove(node); }", node)

    def connect(self, origin: str, output: int | str, target: str, name: str) -> None:
        if not self.evaluate("link => driver.connect(...link)", [origin, output, target, name]):
            raise PageError(f"the page did not connect {origin}.{output} with {target}.{name}")

    def disconnect(self, node: str, name: str) -> None:
        script = "([id, name]) => { const node = driver.locate(id); node.disconnectInput(node.findInputSlot(name)); }"
        self.evaluate(script, [node, name])

    def inputs(self, node: str) -> dict[str, bool]:
        """Whether it is linked, by the name of the input slot; widgets that can be linked are among them."""
        return {slot["name"]: slot["linked"] for slot in self.evaluate("id => driver.inputs(id)", node)}

    def widgets(self, node: str) -> Json:
        """The saved widgets' values by name."""
        return self.evaluate("id => driver.widgets(id)", node)

    def set_widget(self, node: str, name: str, value: object) -> None:
        self.evaluate("([id, name, value]) => driver.set(id, name, value)", [node, name, value])

    def box(self, node: str) -> Box:
        return Box(*self.evaluate("id => driver.box(id)", node))

    def show(self, node: str, scale: float = 1.0) -> None:
        """Bring the node to the middle of the window."""
        self.evaluate("([id, scale]) => driver.show(id, scale)", [node, scale])
        self.settle()

    def fit(self, nodes: Iterable[str], box: Box, edge: float = 50) -> None:
        """Show these nodes as large as `box` of the window has room for."""
        self.evaluate("([ids, box, edge]) => driver.fit(ids, box, edge)", [list(nodes), list(box), edge])
        self.settle()

    # --- undo and the page's own memory

    def wait_for_autosave(self) -> None:
        """The page keeps the open workflow for its next load, half a second after the last change."""
        self.evaluate("() => app.api.dispatchEvent(new CustomEvent('graphChanged', { detail: app.graph.serialize() }))")
        self.page.wait_for_timeout(AUTOSAVE_MILLISECONDS)

    def check_changes(self) -> None:
        """Let the page note a step that can be undone, as it does when a key or the mouse is let go."""
        self.evaluate("() => app.extensionManager.workflow.activeWorkflow.changeTracker.checkState()")
        self.page.wait_for_timeout(UNDO_MILLISECONDS)

    def undo(self) -> None:
        self.evaluate("() => app.extensionManager.workflow.activeWorkflow.changeTracker.undo()")
        self.settle(2)

    def redo(self) -> None:
        self.evaluate("() => app.extensionManager.workflow.activeWorkflow.changeTracker.redo()")
        self.settle(2)

    # --- runs

    def queue(self) -> None:
        """Queue the workflow once and do not wait. Equal prompts are cached: change a seed."""
        self.evaluate("() => app.queuePrompt(0, 1)")

    def runs_finished(self) -> int:
        return int(self.evaluate("() => driver.finished().length"))

    def wait_for_runs(self, total: int, seconds: float = RUN_SECONDS) -> None:
        """Until as many runs have ended since the page was loaded; raise PageError if the last one failed."""
        self.wait_for("total => driver.finished().length >= total", seconds, total)
        end = self.evaluate("() => driver.finished().at(-1)")
        if end["kind"] != "execution_success":
            detail = end["detail"] or {}
            raise PageError(f"{end['kind']}: {detail.get('node_type')}: {detail.get('exception_message')}")
        self.settle()

    def run(self, seconds: float = RUN_SECONDS) -> None:
        """Queue the workflow and wait until it has run."""
        before = self.runs_finished()
        self.queue()
        self.wait_for_runs(before + 1, seconds)

    def events(self, kind: str) -> list[Json]:
        """What the server told this page since it was loaded: [{kind, detail, at}]."""
        return self.evaluate("kind => driver.events.filter(event => event.kind === kind)", kind)
