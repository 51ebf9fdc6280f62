"""From a workflow as the page saves it to the prompt that ComfyUI's HTTP API runs."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

Json = dict[str, Any]

NORMAL, MUTED, BYPASSED = 0, 2, 4  # LiteGraph's node modes
PAGE_ONLY = {"Note", "MarkdownNote", "PrimitiveNode", "Reroute"}  # known to the page, not to the server
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


class WorkflowError(ValueError):
    pass


class Link(NamedTuple):
    origin: str  # node id
    slot: int  # output index


def to_prompt(workflow: Json, object_info: Json) -> Json:
    """The API form of `workflow`; `object_info` is the server's answer to /object_info."""
    if workflow.get("definitions", {}).get("subgraphs"):
        raise WorkflowError("This workflow has subgraphs, which this small conversion does not know: unpack them.")
    nodes = {str(node["id"]): node for node in workflow["nodes"]}
    links = read_links(workflow["links"])
    prompt = {}
    for node_id, node in nodes.items():
        if node["type"] in PAGE_ONLY or node.get("mode", NORMAL) != NORMAL:
            continue
        if node["type"] not in object_info:
            raise WorkflowError(f"ComfyUI does not know the node {node['type']} (id {node_id}) of this workflow.")
        values = widget_values(node, object_info[node["type"]])
        prompt[node_id] = {
            "class_type": node["type"],
            "inputs": {**values, **linked_inputs(node, nodes, links)},
            "_meta": {"title": node.get("title", node["type"])},
        }
    return prompt


def read_links(links: list[Any]) -> dict[int, Link]:
    """Links are saved as [id, origin, slot, target, slot, type], or as objects by the newer schema."""
    found = {}
    for link in links:
        if isinstance(link, dict):
            found[link["id"]] = Link(str(link["origin_id"]), link["origin_slot"])
        else:
            found[link[0]] = Link(str(link[1]), link[2])
    return found


def linked_inputs(node: Json, nodes: dict[str, Json], links: dict[int, Link]) -> Json:
    inputs = {}
    for socket in node.get("inputs") or []:
        link = resolve(socket.get("link"), nodes, links)
        if link:
            inputs[socket["name"]] = [link.origin, link.slot]
    return inputs


def resolve(link_id: int | None, nodes: dict[str, Json], links: dict[int, Link]) -> Link | None:
    """The running node behind a link: reroutes and bypassed nodes pass their input on, muted ones give nothing."""
    link = links.get(link_id) if link_id is not None else None
    if link is None or link.origin not in nodes:
        return None
    origin = nodes[link.origin]
    sockets = origin.get("inputs") or []
    if origin["type"] == "Reroute":
        return resolve(sockets[0].get("link"), nodes, links) if sockets else None
    if origin["type"] in PAGE_ONLY or origin.get("mode", NORMAL) == MUTED:
        return None
    if origin.get("mode", NORMAL) == BYPASSED:
        wanted = origin["outputs"][link.slot]["type"]
        same_slot = sockets[link.slot : link.slot + 1]
        through = next((socket for socket in [*same_slot, *sockets] if socket["type"] == wanted), None)
        return resolve(through.get("link"), nodes, links) if through else None
    return link


def widget_values(node: Json, info: Json) -> Json:
    """The values the node's widgets hold, by name; a widget newer than the workflow gets its default."""
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        return dict(saved)
    values = {}
    remaining = list(saved)
    for name, spec in ordered_inputs(info):
        if not is_widget(spec):
            continue
        value = remaining.pop(0) if remaining else default_of(spec)
        values[name] = {"__value__": value} if isinstance(value, list) else value
        del remaining[: extra_widgets(name, spec)]
    return values


def ordered_inputs(info: Json) -> list[tuple[str, list[Any]]]:
    inputs = []
    for group in ("required", "optional"):
        specs = info["input"].get(group, {})
        names = info.get("input_order", {}).get(group, specs)
        inputs += [(name, specs[name]) for name in names]
    return inputs


def options_of(spec: list[Any]) -> Json:
    return spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}


def is_widget(spec: list[Any]) -> bool:
    options = options_of(spec)
    kind = options.get("widgetType", spec[0])  # of a socket that takes several types
    return (isinstance(kind, list) or kind in WIDGET_TYPES) and not options.get("forceInput")


def extra_widgets(name: str, spec: list[Any]) -> int:
    """Widgets the page adds after this one, whose values it saves and the server never sees."""
    options = options_of(spec)
    is_seed = spec[0] == "INT" and name in ("seed", "noise_seed")
    return int(bool(options.get("control_after_generate", is_seed))) + int(bool(options.get("image_upload")))


def default_of(spec: list[Any]) -> Any:
    options = options_of(spec)
    choices = spec[0] if isinstance(spec[0], list) else options.get("options", [])
    return options.get("default", choices[0] if choices else None)


def nodes_of_type(prompt: Json, class_type: str) -> list[str]:
    return [node_id for node_id, node in prompt.items() if node["class_type"] == class_type]


def with_inputs(prompt: Json, node_id: str, **inputs: object) -> Json:
    """A copy of `prompt` in which one node has other inputs."""
    changed = copy.deepcopy(prompt)
    changed[node_id]["inputs"].update(inputs)
    return changed
