"""From a short description of a graph to a workflow file as the page saves it, laid out in columns."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scripts.workflow import Json, default_of, extra_widgets, is_widget, options_of, ordered_inputs

NOTE = "MarkdownNote"
NOTE_COLOURS = {"color": "#432", "bgcolor": "#653"}
GROUP_COLOUR = "#3f789e"
LINE, SLOT, WIDGET, TEXT_BOX, TITLE = 20, 22, 26, 110, 30  # heights in the page, in pixels
COLUMN_GAP, NODE_GAP, GROUP_EDGE = 20, 60, 30
WIDTHS = {NOTE: 440, "CLIPTextEncode": 400, "SaveImage": 460, "SaveVideo": 460, "PreviewAny": 400}
USUAL_WIDTH = 320
PREVIEWS = {"SaveImage": 400, "SaveVideo": 400, "LoadImage": 320, "PreviewAny": 160}
WITH_TIMELINE = {"TStitchKSampler", "TStitchKSamplerAdvanced", "TStitchModelSchedule", "TStitchGuiders"}
PACK_IN_REGISTRY, HOST_IN_REGISTRY = "tstitch", "comfy-core"


class ModelFile(NamedTuple):
    """A file to download: the page offers the link when the file is missing."""

    name: str
    directory: str  # below the host's models folder
    url: str

    def as_property(self) -> Json:
        return {"name": self.name, "url": self.url, "directory": self.directory}

    def as_line(self) -> str:
        return f"- [{self.name}]({self.url}) in `models/{self.directory}`"


class Output(NamedTuple):
    node: Node
    slot: int | str  # number or name

    def number(self, info: Json) -> int:
        return info["output_name"].index(self.slot) if isinstance(self.slot, str) else self.slot


@dataclass(eq=False)
class Node:
    kind: str
    inputs: dict[str, Any]  # by input name: an Output for a link, else the widget's value
    title: str = ""
    models: Sequence[ModelFile] = ()
    id: int = 0

    def __getitem__(self, slot: int | str) -> Output:
        return Output(self, slot)


@dataclass
class Column:
    title: str = ""  # a group with this title is drawn around the column
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Graph:
    """Nodes in columns from left to right; the first column holds the note."""

    name: str
    heading: str
    text: str
    columns: list[Column] = field(default_factory=list)

    def column(self, title: str = "") -> None:
        self.columns.append(Column(title))

    def add(self, kind: str, title: str = "", models: Sequence[ModelFile] = (), **inputs: Any) -> Node:
        node = Node(kind, inputs, title, models, id=2 + len(self.nodes))
        self.columns[-1].nodes.append(node)
        return node

    @property
    def nodes(self) -> list[Node]:
        return [node for column in self.columns for node in column.nodes]

    @property
    def files(self) -> list[ModelFile]:
        return list(dict.fromkeys(model for node in self.nodes for model in node.models))

    def note(self) -> str:
        files = ["", "**Files**", *(model.as_line() for model in self.files)] if self.files else []
        return "\n".join([f"# {self.heading}", self.text, *files])

    def to_workflow(self, object_info: Json) -> Json:
        """The file's content; `object_info` is the server's answer to /object_info."""
        return Writer(self, object_info).workflow()


class Writer:
    def __init__(self, graph: Graph, object_info: Json) -> None:
        self.graph = graph
        self.info = object_info
        self.links: list[list[Any]] = []
        self.groups: list[Json] = []

    def workflow(self) -> Json:
        nodes = [self.note(), *self.laid_out()]
        for order, node in enumerate(nodes):
            node["order"] = order
        self.list_output_links(nodes)
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"tstitch/workflows/{self.graph.name}")),
            "revision": 0,
            "last_node_id": len(nodes),
            "last_link_id": len(self.links),
            "nodes": nodes,
            "links": self.links,
            "groups": self.groups,
            "config": {},
            "extra": {},  # without a view the page shows the whole graph, whatever the size of the window
            "version": 0.4,
        }

    def note(self) -> Json:
        text = self.graph.note()
        node = saved_node(1, NOTE, [0, 0], [WIDTHS[NOTE], note_height(text)])
        return {**node, "title": "Read me", "properties": {}, "widgets_values": [text], **NOTE_COLOURS}

    def laid_out(self) -> list[Json]:
        nodes = []
        x = next_column(0, WIDTHS[NOTE])
        for column in self.graph.columns:
            y, width = 0, max(width_of(node) for node in column.nodes)
            for node in column.nodes:
                height = self.height_of(node)
                nodes.append(self.node(node, [x, y], [width, height]))
                y += self.room_of(node) + TITLE + NODE_GAP
            if column.title:
                self.groups.append(group(len(self.groups) + 1, column.title, x, width, y))
            x = next_column(x, width)
        return nodes

    def node(self, node: Node, position: list[int], size: list[int]) -> Json:
        info = self.info[node.kind]
        known = dict(ordered_inputs(info))
        if unknown := set(node.inputs) - set(known):
            raise ValueError(f"{self.graph.name}: {node.kind} has no input {', '.join(sorted(unknown))}.")
        inputs = [self.input(node, name, spec) for name, spec in known.items()]
        inputs.sort(key=lambda item: "widget" in item)  # the page lists the sockets first
        for slot, item in enumerate(inputs):
            self.link(node, slot, item)
        outputs = [
            {"name": name, "type": kind, "links": []}
            for name, kind in zip(info["output_name"], info["output"], strict=True)
        ]
        saved = saved_node(node.id, node.kind, position, size)
        saved |= {"inputs": inputs, "outputs": outputs, "properties": properties(node)}
        saved["widgets_values"] = self.widget_values(node, known)
        return {**saved, "title": node.title} if node.title else saved

    def input(self, node: Node, name: str, spec: list[Any]) -> Json:
        kind = "COMBO" if isinstance(spec[0], list) else spec[0]
        saved: Json = {"name": name, "type": kind, "link": None}
        if is_widget(spec):
            saved["widget"] = {"name": name}
        if name in self.info[node.kind]["input"].get("optional", {}):
            saved["shape"] = 7
        return saved

    def link(self, node: Node, slot: int, saved_input: Json) -> None:
        source = node.inputs.get(saved_input["name"])
        if not isinstance(source, Output):
            return
        info = self.info[source.node.kind]
        index = source.number(info)
        saved_input["link"] = len(self.links) + 1
        self.links.append([len(self.links) + 1, source.node.id, index, node.id, slot, info["output"][index]])

    def list_output_links(self, nodes: list[Json]) -> None:
        by_id = {node["id"]: node for node in nodes}
        for number, origin, slot, *_ in self.links:
            by_id[origin]["outputs"][slot]["links"].append(number)

    def widget_values(self, node: Node, known: Json) -> list[Any]:
        values: list[Any] = []
        for name, spec in known.items():
            if not is_widget(spec):
                continue
            value = node.inputs.get(name, default_of(spec))
            values.append(default_of(spec) if isinstance(value, Output) else value)
            if extra_widgets(name, spec):
                values.append("image" if options_of(spec).get("image_upload") else "fixed")
        return values

    def room_of(self, node: Node) -> int:
        """Height of a node in Nodes 2.0, which shows every socket and draws all a fifth larger or a little more."""
        return self.height_of(node, with_all_sockets=True) * 4 // 3

    def height_of(self, node: Node, with_all_sockets: bool = False) -> int:
        info = self.info[node.kind]
        inputs = ordered_inputs(info)
        widgets = [(name, spec) for name, spec in inputs if is_widget(spec)]
        sockets = [name for name, spec in inputs if not is_widget(spec)]
        shown = {*sockets} if with_all_sockets else {*node.inputs, *info["input"].get("required", {})}
        used = [name for name in sockets if name in shown]
        boxes = sum(1 for _, spec in widgets if options_of(spec).get("multiline"))
        lines = len(widgets) - boxes + sum(extra_widgets(name, spec) for name, spec in widgets)
        if node.kind in WITH_TIMELINE:
            return height_with_timeline(sockets, used, len(info["output"]), lines)
        height = SLOT * max(len(used), len(info["output"])) + WIDGET * lines + TEXT_BOX * boxes + LINE
        return height + PREVIEWS.get(node.kind, 0)


def height_with_timeline(sockets: list[str], used: list[str], outputs: int, widgets: int) -> int:
    """As the page lays these nodes out, so that nothing is blank under the bar: of numbered sockets one is free."""
    numbered = [name for name in sockets if name[-1].isdigit()]
    free = int(any(name not in used for name in numbered))
    shown = len([name for name in sockets if name not in numbered or name in used]) + free
    models = len([name for name in used if "model" in name or "guider" in name])
    return 20 * max(shown, outputs) + 24 * widgets + 108 + 20 * ((models + 1) // 2)


def saved_node(number: int, kind: str, position: list[int], size: list[int]) -> Json:
    saved: Json = {"id": number, "type": kind, "pos": position, "size": size, "flags": {}, "order": 0, "mode": 0}
    return saved | {"inputs": [], "outputs": []}


def properties(node: Node) -> Json:
    registry = PACK_IN_REGISTRY if node.kind.startswith("TStitch") else HOST_IN_REGISTRY
    found: Json = {"Node name for S&R": node.kind, "cnr_id": registry}
    return found | {"models": [model.as_property() for model in node.models]} if node.models else found


def next_column(x: int, width: int) -> int:
    """Where the column after one at `x` begins: some pages draw nodes a fifth larger and leave them where they are."""
    return x + width * 6 // 5 + GROUP_EDGE + COLUMN_GAP


def width_of(node: Node) -> int:
    return WIDTHS.get(node.kind, USUAL_WIDTH)


def note_height(text: str) -> int:
    """Room for the text at about 55 letters a line; a link takes the room of its title only."""
    shown = [line.split("](")[0] if line.startswith("- [") else line for line in text.splitlines()]
    return 80 + LINE * sum(max(1, math.ceil(len(line) / 55)) + line.startswith("#") for line in shown)


def group(number: int, title: str, x: int, width: int, height: int) -> Json:
    bounding = [x - GROUP_EDGE, -TITLE - 60, width + 2 * GROUP_EDGE, height + 60]
    return {
        "id": number,
        "title": title,
        "bounding": bounding,
        "color": GROUP_COLOUR,
        "font_size": 24,
        "flags": {},
    }
