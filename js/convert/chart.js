/** One graph as plain values, read from a workflow that the page saved or from a prompt of the API. */

import { KINDS, widgetNames } from "./nodes.js";

/**
 * @typedef {{node: string, slot: number}} Output of a node
 * @typedef {{name: string, type: string, from: Output | null}} Input
 * @typedef {object} ChartNode
 * @property {string} id
 * @property {string} type
 * @property {number} mode as the page numbers them
 * @property {string} title as a person reads it
 * @property {boolean} titled whether a person gave it that title
 * @property {string} [name] what to call it in a sentence: with its id where others have the same title
 * @property {Input[]} inputs those that are linked, and sockets that could be
 * @property {string[]} outputs types
 * @property {Record<string, any>} values of widgets, as far as they are known
 * @property {any} own what it was read from
 *
 * What an input is set to.
 * @typedef {object} Setting
 * @property {Output | null} from what is linked to it
 * @property {Output | null} root the node behind reroutes that gives the value
 * @property {any} value undefined where it is known only in a run
 */

export const MUTED = 2;
export const BYPASSED = 4;

/** A subgraph's own inputs and outputs, as nodes with these ids. */
export const ENTRY = "-10";
export const EXIT = "-20";

/** No workflow is larger by far; a file of this many nodes would only make the page hang. */
const MOST_NODES = 20_000;

/** The graph cannot be read; the message is a sentence for the person. */
export class GraphError extends Error {}

export class Chart {
  /** @param {Iterable<ChartNode>} nodes */
  constructor(nodes) {
    /** @type {Map<string, ChartNode>} */
    this.nodes = new Map();
    for (const node of nodes) {
      if (this.nodes.size >= MOST_NODES) {
        throw new GraphError(`This graph has more than ${MOST_NODES} nodes.`);
      }
      this.nodes.set(node.id, node);
    }
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const { title } of this.nodes.values()) {
      counts.set(title, (counts.get(title) ?? 0) + 1);
    }
    for (const node of this.nodes.values()) {
      node.name = (counts.get(node.title) ?? 0) > 1 ? `${node.title} #${node.id}` : node.title;
    }
  }

  /** A copy whose nodes and inputs can be changed. */
  copy() {
    return new Chart(
      [...this.nodes.values()].map((node) => ({
        ...node,
        inputs: node.inputs.map((input) => ({ ...input })),
        values: { ...node.values },
      })),
    );
  }

  /** @param {string} id */
  node(id) {
    return /** @type {ChartNode} */ (this.nodes.get(id));
  }

  /**
   * @param {ChartNode} node
   * @param {string} name
   */
  from(node, name) {
    return node.inputs.find((input) => input.name === name)?.from ?? null;
  }

  /**
   * Who reads any output of a node.
   * @param {string} id
   * @returns {{node: ChartNode, input: Input, slot: number}[]}
   */
  readers(id) {
    const found = [];
    for (const node of this.nodes.values()) {
      for (const input of node.inputs) {
        if (input.from?.node === id) {
          found.push({ node, input, slot: input.from.slot });
        }
      }
      if (node.type === "GetNode" && this.setNode(node)?.id === id) {
        found.push({ node, input: { name: "", type: "*", from: null }, slot: 0 });
      }
    }
    return found;
  }

  /**
   * The node that gives what an output passes on: behind reroutes, bypassed nodes, and pairs of Set and Get.
   * @param {Output | null} output
   * @param {number} mode of the nodes in question: when they are bypassed themselves, others that are count as running
   * @returns {{output: Output | null, passed: string[]}} null where nothing comes, as from a muted node
   */
  follow(output, mode = 0) {
    /** @type {string[]} */
    const passed = [];
    let at = output;
    while (at) {
      const node = this.nodes.get(at.node);
      if (!node || passed.includes(node.id)) {
        return { output: null, passed };
      }
      const next = this.passedOn(node, at.slot, mode);
      if (next === undefined) {
        return { output: at, passed };
      }
      passed.push(node.id);
      at = next;
    }
    return { output: null, passed };
  }

  /**
   * What a node passes on instead of making something of its own; undefined where it does make it.
   * @param {ChartNode} node
   * @param {number} slot
   * @param {number} mode
   * @returns {Output | null | undefined}
   */
  passedOn(node, slot, mode) {
    if (node.mode === MUTED && mode !== MUTED) {
      return null;
    }
    if (node.type === "Reroute") {
      return node.inputs[0]?.from ?? null;
    }
    if (node.type === "GetNode") {
      const source = this.setNode(node);
      return source ? { node: source.id, slot: 0 } : null;
    }
    if (node.type === "SetNode") {
      return node.inputs[0]?.from ?? null;
    }
    if (node.mode === BYPASSED && mode !== BYPASSED) {
      const wanted = node.outputs[slot];
      const through = [node.inputs[slot], ...node.inputs].find((input) => input?.type === wanted);
      return through?.from ?? null;
    }
    return undefined;
  }

  /** @param {ChartNode} get */
  setNode(get) {
    const name = get.values.name;
    return [...this.nodes.values()].find((node) => node.type === "SetNode" && name && node.values.name === name);
  }

  /**
   * @param {ChartNode} node
   * @param {string} name
   * @returns {Setting}
   */
  setting(node, name) {
    const from = this.from(node, name);
    if (!from) {
      return { from, root: null, value: node.values[name] };
    }
    const root = this.follow(from, node.mode).output;
    return { from, root, value: this.valueOf(root) };
  }

  /**
   * The value that an output will have, where that is already known.
   * @param {Output | null} output
   * @param {number} [depth]
   * @returns {any}
   */
  valueOf(output, depth = 0) {
    const node = output && this.nodes.get(output.node);
    if (!node || depth > 32) {
      return undefined;
    }
    if (node.type.startsWith("Primitive")) {
      const from = this.from(node, "value");
      return from ? this.valueOf(this.follow(from, node.mode).output, depth + 1) : node.values.value;
    }
    const chosen = this.switched(node);
    return chosen === undefined ? undefined : this.valueOf(this.follow(chosen, node.mode).output, depth + 1);
  }

  /**
   * What a switch of the host lets through; undefined where that is known only in a run, or the node is none.
   * @param {ChartNode} node
   * @returns {Output | null | undefined}
   */
  switched(node) {
    if (node.type !== "ComfySwitchNode") {
      return undefined;
    }
    const on = this.setting(node, "switch").value;
    return typeof on === "boolean" ? this.from(node, on ? "on_true" : "on_false") : undefined;
  }
}

/** @param {ChartNode} node */
export function nameOf(node) {
  return node.name ?? node.title;
}

/**
 * Whether two settings are the same in every run: one source, or values that are known and equal now.
 * @param {Setting} one
 * @param {Setting} other
 */
export function same(one, other) {
  if (one.root && other.root && sameOutput(one.root, other.root)) {
    return true;
  }
  return one.value !== undefined && equal(one.value, other.value);
}

/**
 * @param {Output | null} one
 * @param {Output | null} other
 */
export function sameOutput(one, other) {
  return one?.node === other?.node && one?.slot === other?.slot;
}

/**
 * As values of widgets: the page saves numbers a little off.
 * @param {any} one
 * @param {any} other
 */
export function equal(one, other) {
  if (typeof one === "number" && typeof other === "number") {
    return Math.abs(one - other) <= 1e-9 * Math.max(Math.abs(one), Math.abs(other));
  }
  return one === other;
}

/**
 * @param {any} graph a workflow, or the definition of a subgraph in one
 * @returns {Chart}
 */
export function chartOfWorkflow(graph) {
  if (!Array.isArray(graph?.nodes) || !Array.isArray(graph.links)) {
    throw new GraphError("This is no workflow: it has no list of nodes and links.");
  }
  const links = new Map(graph.links.map(linkOf).map((/** @type {any} */ link) => [link.id, link]));
  const fromLink = (/** @type {any} */ id) => {
    const link = id == null ? undefined : links.get(id);
    return link ? { node: String(link.origin), slot: Number(link.slot) } : null;
  };
  const nodes = graph.nodes.map((/** @type {any} */ own) => {
    const type = String(own.type);
    return {
      id: String(own.id),
      type,
      mode: own.mode ?? 0,
      title: String(own.title || KINDS[type]?.title || type),
      titled: Boolean(own.title) && own.title !== KINDS[type]?.title,
      inputs: (own.inputs ?? []).map((/** @type {any} */ { name, type: kind, link }) => ({
        name: String(name),
        type: String(kind),
        from: fromLink(link),
      })),
      outputs: (own.outputs ?? []).map((/** @type {any} */ output) => String(output.type)),
      values: savedValues(type, own.widgets_values),
      own,
    };
  });
  return new Chart([...nodes, ...boundaries(graph, fromLink)]);
}

/**
 * A link as the page saves it: a list in workflows, an object in subgraphs.
 * @param {any} link
 */
export function linkOf(link) {
  if (Array.isArray(link)) {
    const [id, origin, slot, target, targetSlot, type] = link;
    return { id, origin, slot, target, targetSlot, type };
  }
  const { id, origin_id: origin, origin_slot: slot, target_id: target, target_slot: targetSlot, type } = link ?? {};
  return { id, origin, slot, target, targetSlot, type };
}

/**
 * @param {any} graph
 * @param {(id: any) => Output | null} fromLink
 * @returns {ChartNode[]}
 */
function boundaries(graph, fromLink) {
  if (!graph.inputNode && !graph.outputNode) {
    return [];
  }
  const blank = { type: "", mode: 0, title: "", titled: false, inputs: [], outputs: [], values: {}, own: null };
  const outputs = (graph.inputs ?? []).map((/** @type {any} */ slot) => String(slot.type));
  const inputs = (graph.outputs ?? []).map((/** @type {any} */ slot, /** @type {number} */ index) => ({
    name: String(index),
    type: String(slot.type),
    from: fromLink(slot.linkIds?.[0]),
  }));
  return [
    { ...blank, id: ENTRY, title: "Inputs", outputs },
    { ...blank, id: EXIT, title: "Outputs", inputs },
  ];
}

/**
 * @param {string} type
 * @param {any} saved in the widgets' order, or by name
 * @returns {Record<string, any>}
 */
function savedValues(type, saved) {
  const names = widgetNames(type);
  if (saved && typeof saved === "object" && !Array.isArray(saved)) {
    return { ...saved };
  }
  const defaults = KINDS[type]?.widgets ?? [];
  const values = Object.fromEntries(defaults.map(([name, , value]) => [name, value]));
  names.forEach((name, index) => {
    if (Array.isArray(saved) && index < saved.length) {
      values[name] = saved[index];
    }
  });
  return values;
}

/**
 * @param {any} prompt in the API's form
 * @returns {Chart}
 */
export function chartOfPrompt(prompt) {
  const isPrompt =
    prompt && typeof prompt === "object" && !Array.isArray(prompt) &&
    Object.values(prompt).every((node) => typeof node?.class_type === "string");
  if (!isPrompt) {
    throw new GraphError("This is no prompt of the API: each of its nodes needs a class_type.");
  }
  const nodes = Object.entries(prompt).map(([id, own]) => {
    const type = own.class_type;
    const inputs = [];
    /** @type {Record<string, any>} */
    const values = Object.fromEntries((KINDS[type]?.widgets ?? []).map(([name, , value]) => [name, value]));
    for (const [name, value] of Object.entries(own.inputs ?? {})) {
      if (isReference(value)) {
        inputs.push({ name, type: "*", from: { node: String(value[0]), slot: value[1] } });
      } else {
        values[name] = value;
      }
    }
    const title = String(own._meta?.title || KINDS[type]?.title || type);
    const titled = title !== KINDS[type]?.title && title !== type;
    return { id, type, mode: 0, title, titled, inputs, outputs: [], values, own };
  });
  return new Chart(nodes);
}

/** @param {any} value */
function isReference(value) {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === "string" && Number.isInteger(value[1]);
}
