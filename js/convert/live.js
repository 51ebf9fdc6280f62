/** The graph that is open on the page, read as a chart and changed by a plan. Its own undo takes the change back. */

import { Chart, ENTRY, EXIT } from "./chart.js";
import { placesOf } from "./layout.js";
import { KINDS, VALUE_WIDGETS } from "./nodes.js";

/**
 * Only what is used here of the page's own classes, which differ between its versions.
 * @typedef {any} PageGraph
 * @typedef {any} PageNode
 * @typedef {import("./chart.js").ChartNode} ChartNode
 * @typedef {import("./chart.js").Output} Output
 * @typedef {import("./plan.js").Plan} Plan
 */

/** The page did not take a part of a plan; the message names it. */
export class ApplyError extends Error {}

/**
 * @param {PageGraph} graph
 * @param {any} id
 */
function linkOf(graph, id) {
  return id == null ? undefined : graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id];
}

/**
 * @param {PageGraph} graph the one that is shown
 * @returns {Chart}
 */
export function chartOfPage(graph) {
  const fromLink = (/** @type {any} */ id) => {
    const link = linkOf(graph, id);
    return link ? { node: String(link.origin_id), slot: Number(link.origin_slot) } : null;
  };
  const nodes = graph.nodes.map((/** @type {PageNode} */ node) => chartNode(node, fromLink));
  return new Chart([...nodes, ...boundaries(graph, fromLink)]);
}

/**
 * @param {PageNode} node
 * @param {(id: any) => Output | null} fromLink
 * @returns {ChartNode}
 */
function chartNode(node, fromLink) {
  const type = String(node.type);
  const widgets = node.widgets ?? [];
  /** @type {Record<string, any>} */
  const values = Object.fromEntries(widgets.map((/** @type {any} */ { name, value }) => [name, value]));
  const [first] = VALUE_WIDGETS[type] ?? []; // these call it otherwise, or as what it is connected to is called
  if (first !== undefined && values[first] === undefined) {
    values[first] = widgets[0]?.value;
  }
  return {
    id: String(node.id),
    type,
    mode: node.mode ?? 0,
    title: String(node.title || KINDS[type]?.title || type),
    titled: Boolean(node.title) && !usualTitles(node).includes(node.title),
    inputs: (node.inputs ?? []).map((/** @type {any} */ input) => ({
      name: String(input.name),
      type: String(input.type),
      from: fromLink(input.link),
    })),
    outputs: (node.outputs ?? []).map((/** @type {any} */ output) => String(output.type)),
    values,
    own: node,
  };
}

/**
 * In the page's language.
 * @param {PageNode} node
 */
function usualTitles(node) {
  const type = node.constructor;
  return [type?.title, type?.nodeData?.display_name, KINDS[node.type]?.title, node.type];
}

/**
 * @param {PageGraph} graph
 * @param {(id: any) => Output | null} fromLink
 * @returns {ChartNode[]}
 */
function boundaries(graph, fromLink) {
  if (!graph.inputNode) {
    return [];
  }
  const blank = { type: "", mode: 0, titled: false, inputs: [], outputs: [], values: {}, own: null };
  const inputs = graph.outputs.map((/** @type {any} */ slot, /** @type {number} */ index) => ({
    name: String(index),
    type: String(slot.type),
    from: fromLink(slot.linkIds?.[0]),
  }));
  return [
    { ...blank, id: ENTRY, title: "Inputs", outputs: graph.inputs.map((/** @type {any} */ { type }) => String(type)) },
    { ...blank, id: EXIT, title: "Outputs", inputs },
  ];
}

/**
 * @param {PageGraph} graph
 * @param {Plan} plan
 * @param {(type: string) => PageNode} create
 * @returns {PageNode[]} the new nodes
 */
export function applyToPage(graph, plan, create) {
  const made = new Map(plan.add.map(({ key, type }) => [key, create(type)]));
  const find = (/** @type {string} */ id) => made.get(id) ?? byId(graph, id);
  addNodes(graph, plan, made);
  const link = (/** @type {Output} */ from, /** @type {string} */ target, /** @type {string} */ name) => {
    connect(graph, find(from.node), from, target === EXIT ? null : find(target), name);
  };
  for (const { key, inputs } of plan.add) {
    Object.entries(inputs).forEach(([name, from]) => link(from, key, name));
  }
  for (const { node, values, inputs } of plan.change) {
    setValues(find(node), values);
    for (const [name, from] of Object.entries(inputs)) {
      if (from) {
        link(from, node, name);
      } else {
        disconnect(find(node), name);
      }
    }
  }
  plan.readers.forEach(({ node, input, from }) => link(from, node, input));
  plan.remove.map(find).forEach((node) => graph.remove(node));
  followWidgets(graph, plan, made);
  return [...made.values()];
}

/**
 * @param {PageGraph} graph
 * @param {string} id
 */
function byId(graph, id) {
  return graph.nodes.find((/** @type {PageNode} */ node) => String(node.id) === id);
}

/**
 * @param {PageGraph} graph
 * @param {Plan} plan
 * @param {Map<string, PageNode>} made
 */
function addNodes(graph, plan, made) {
  const sizes = plan.add.map(({ key }) => made.get(key).size);
  const places = placesOf(graph, plan, sizes);
  plan.add.forEach(({ key, title, mode, near, values }, index) => {
    const node = made.get(key);
    const origin = byId(graph, near);
    node.pos = places[index];
    if (title) {
      node.title = title;
    }
    if (origin?.color) {
      Object.assign(node, { color: origin.color, bgcolor: origin.bgcolor });
    }
    graph.add(node);
    node.mode = mode;
    setValues(node, values);
  });
}

/**
 * @param {PageNode} node
 * @param {Record<string, any>} values
 */
function setValues(node, values) {
  for (const [name, value] of Object.entries(values)) {
    const widget = node.widgets?.find((/** @type {any} */ each) => each.name === name);
    if (widget) {
      widget.value = value;
      widget.callback?.(value);
    }
  }
}

/**
 * @param {PageGraph} graph
 * @param {PageNode | undefined} origin undefined for the subgraph's own inputs
 * @param {Output} from
 * @param {PageNode | null} target null for the subgraph's own outputs
 * @param {string} name of the input
 */
function connect(graph, origin, from, target, name) {
  const slot = target ? target.inputs.findIndex((/** @type {any} */ input) => input.name === name) : Number(name);
  if (slot < 0) {
    throw new ApplyError(`${target?.title} has no input ${name}`);
  }
  let made;
  if (!target) {
    made = graph.outputs[slot].connect(origin.outputs[from.slot], origin);
  } else if (from.node === ENTRY) {
    made = graph.inputs[from.slot].connect(target.inputs[slot], target);
  } else {
    made = origin.connect(from.slot, target, slot);
  }
  if (!made) {
    throw new ApplyError(`the page does not connect ${origin?.title ?? "the subgraph's input"} to ${name}`);
  }
}

/**
 * @param {PageNode} node
 * @param {string} name
 */
function disconnect(node, name) {
  const slot = node.inputs.findIndex((/** @type {any} */ input) => input.name === name);
  if (slot >= 0 && node.inputs[slot].link != null) {
    node.disconnectInput(slot);
  }
}

/**
 * Widgets inside a subgraph that are shown on the nodes that stand for it.
 * @param {PageGraph} graph
 * @param {Plan} plan
 * @param {Map<string, PageNode>} made
 */
function followWidgets(graph, { moved, remove }, made) {
  const root = graph.rootGraph ?? graph;
  const graphs = [root, ...(root.subgraphs?.values() ?? [])];
  for (const node of graphs.flatMap((each) => each.nodes ?? [])) {
    const shown = node.subgraph === graph ? node.properties?.proxyWidgets : null;
    if (!Array.isArray(shown) || !shown.some(([id]) => remove.includes(String(id)))) {
      continue;
    }
    node.properties.proxyWidgets = shown.flatMap(([id, widget, ...more]) => {
      if (!remove.includes(String(id))) {
        return [[id, widget, ...more]];
      }
      const place = moved[String(id)]?.[widget];
      return place ? [[String(made.get(place[0])?.id ?? place[0]), place[1], ...more]] : [];
    });
  }
}
