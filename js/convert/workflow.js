/** A conversion carried out on a workflow as the page saves it. */

import { ENTRY, EXIT, linkOf } from "./chart.js";
import { placesOf } from "./layout.js";
import { CONTROL, KINDS, widgetNames } from "./nodes.js";

/**
 * @typedef {import("./plan.js").Plan} Plan
 * @typedef {import("./plan.js").NewNode} NewNode
 * @typedef {import("./chart.js").Output} Output
 */

const OPTIONAL = 7; // the page's shape of an input that may stay open

/**
 * @param {any} workflow
 * @param {string | null} subgraph the id of the definition; null for the workflow's own graph
 */
export function graphIn(workflow, subgraph) {
  return subgraph === null ? workflow : definitionsOf(workflow).find((each) => each.id === subgraph);
}

/**
 * @param {any} workflow
 * @returns {any[]}
 */
export function definitionsOf(workflow) {
  return workflow.definitions?.subgraphs ?? [];
}

/**
 * @param {any} workflow
 * @param {string | null} subgraph
 * @param {Plan} plan
 * @returns {any} another one; the given one stays as it is
 */
export function applyToWorkflow(workflow, subgraph, plan) {
  const changed = structuredClone(workflow);
  const editor = new Editor(changed, graphIn(changed, subgraph));
  editor.apply(plan);
  if (subgraph !== null) {
    followWidgets(changed, subgraph, (id, widget) => editor.movedTo(plan, id, widget));
  }
  return changed;
}

class Editor {
  /**
   * @param {any} workflow
   * @param {any} graph the part of it that is changed
   */
  constructor(workflow, graph) {
    this.graph = graph;
    this.ids = new Ids(workflow, graph);
    /** @type {Map<string, string | number>} */
    this.keys = new Map();
  }

  /** @param {Plan} plan */
  apply(plan) {
    const places = placesOf(this.graph, plan, plan.add.map(({ type }) => KINDS[type].size));
    const origins = plan.add.map(({ near }) => this.node(near));
    for (const { key, id } of plan.add) {
      this.keys.set(key, id === null ? this.ids.nextNode() : this.node(id).id);
    }
    // What is read by those that stay is cut before what gives it goes, so that no link is left over.
    plan.readers.forEach(({ node, input }) => this.unlink(node, input));
    plan.remove.forEach((id) => this.remove(id));
    plan.add.forEach((node, index) => this.add(node, places[index], origins[index]));
    plan.add.forEach(({ key, inputs }) => {
      Object.entries(inputs).forEach(([name, output]) => this.link(output, String(this.keys.get(key)), name));
    });
    for (const { node, values, inputs } of plan.change) {
      this.setValues(node, values);
      for (const [name, output] of Object.entries(inputs)) {
        this.unlink(node, name);
        if (output) {
          this.link(output, node, name);
        }
      }
    }
    plan.readers.forEach(({ node, input, from }) => this.link(from, node, input));
  }

  /** @param {string} id */
  node(id) {
    return this.graph.nodes.find((/** @type {any} */ node) => String(node.id) === id);
  }

  /**
   * @param {NewNode} node
   * @param {[number, number]} pos
   * @param {any} origin
   */
  add({ key, type, title, mode, values }, pos, origin) {
    const kind = KINDS[type];
    const colours = Object.fromEntries(
      ["color", "bgcolor"].filter((name) => origin?.[name]).map((name) => [name, origin[name]]),
    );
    const sockets = kind.sockets.map(([name, socket, optional]) => inputSlot(name, socket, optional));
    const widgets = kind.widgets.filter(([name]) => name !== CONTROL);
    this.graph.nodes.push({
      id: this.keys.get(key),
      type,
      pos,
      size: [...kind.size],
      flags: {},
      order: origin?.order ?? 0,
      mode,
      inputs: [
        ...sockets,
        ...widgets.map(([name, widget, , optional]) => ({ ...inputSlot(name, widget, optional), widget: { name } })),
      ],
      outputs: kind.outputs.map(([name, output]) => ({ name, type: output, links: [] })),
      ...(title ? { title } : {}),
      properties: { "Node name for S&R": type, cnr_id: kind.registry },
      widgets_values: kind.widgets.map(([name, , initial]) => values[name] ?? initial),
      ...colours,
    });
  }

  /**
   * @param {string} id
   * @param {Record<string, any>} values
   */
  setValues(id, values) {
    const node = this.node(id);
    const saved = node.widgets_values;
    if (saved && !Array.isArray(saved)) {
      Object.assign(saved, values);
      return;
    }
    const names = widgetNames(node.type);
    const defaults = KINDS[node.type].widgets;
    const list = [...(saved ?? [])];
    names.forEach((name, index) => {
      list[index] = values[name] ?? list[index] ?? defaults[index][2];
    });
    node.widgets_values = list;
  }

  /** @param {string} id */
  remove(id) {
    const node = this.node(id);
    for (const link of this.graph.links.map(linkOf)) {
      if (String(link.origin) === id || String(link.target) === id) {
        this.removeLink(link.id);
      }
    }
    this.graph.nodes = this.graph.nodes.filter((/** @type {any} */ each) => each !== node);
  }

  // --- links

  /**
   * @param {Output} from
   * @param {string} target
   * @param {string} name of the input
   */
  link(from, target, name) {
    const origin = this.keys.get(from.node) ?? from.node;
    const source = this.outputSlot(String(origin), from.slot);
    const [socket, slot] = this.inputSlot(target, name);
    const id = this.ids.nextLink();
    const ends = { origin_id: this.idOf(String(origin)), origin_slot: from.slot, target_id: this.idOf(target), target_slot: slot };
    const type = source.type ?? socket.type;
    this.graph.links.push(
      this.ids.linksAreLists ? [id, ends.origin_id, ends.origin_slot, ends.target_id, ends.target_slot, type] : { id, ...ends, type },
    );
    listed(source, String(origin) === ENTRY).push(id);
    if (target === EXIT) {
      listed(socket, true).push(id);
    } else {
      socket.link = id;
    }
  }

  /**
   * @param {string} target
   * @param {string} name
   */
  unlink(target, name) {
    const [socket] = this.inputSlot(target, name);
    const ids = target === EXIT ? [...(socket.linkIds ?? [])] : [socket.link];
    ids.filter((id) => id != null).forEach((id) => this.removeLink(id));
  }

  /** @param {any} id */
  removeLink(id) {
    const link = this.graph.links.map(linkOf).find((/** @type {any} */ each) => each.id === id);
    this.graph.links = this.graph.links.filter((/** @type {any} */ each) => linkOf(each).id !== id);
    if (!link) {
      return;
    }
    const source = this.outputSlot(String(link.origin), link.slot);
    const name = String(link.origin) === ENTRY ? "linkIds" : "links";
    if (source?.[name]) {
      source[name] = source[name].filter((/** @type {any} */ each) => each !== id);
    }
    if (String(link.target) === EXIT) {
      const slot = this.graph.outputs[link.targetSlot];
      slot.linkIds = slot.linkIds?.filter((/** @type {any} */ each) => each !== id);
    }
    for (const input of this.node(String(link.target))?.inputs ?? []) {
      input.link = input.link === id ? null : input.link;
    }
    this.leaveReroutes(id);
  }

  /**
   * The points that a link was drawn through.
   * @param {any} id
   */
  leaveReroutes(id) {
    const extra = this.graph.extra ?? {};
    const holders = [this.graph, extra];
    for (const holder of holders) {
      if (Array.isArray(holder.reroutes)) {
        for (const reroute of holder.reroutes) {
          reroute.linkIds = reroute.linkIds?.filter((/** @type {any} */ each) => each !== id);
        }
        holder.reroutes = holder.reroutes.filter((/** @type {any} */ { linkIds, floating }) => floating || linkIds?.length !== 0);
      }
    }
    if (Array.isArray(extra.linkExtensions)) {
      extra.linkExtensions = extra.linkExtensions.filter((/** @type {any} */ each) => each.id !== id);
    }
  }

  /**
   * @param {string} id
   * @param {number} slot
   */
  outputSlot(id, slot) {
    return id === ENTRY ? this.graph.inputs[slot] : this.node(id)?.outputs?.[slot];
  }

  /**
   * @param {string} id
   * @param {string} name
   * @returns {[any, number]}
   */
  inputSlot(id, name) {
    if (id === EXIT) {
      return [this.graph.outputs[Number(name)], Number(name)];
    }
    const node = this.node(id);
    const slot = node.inputs.findIndex((/** @type {any} */ input) => input.name === name);
    if (slot >= 0) {
      return [node.inputs[slot], slot];
    }
    const [, type] = KINDS[node.type]?.widgets.find(([widget]) => widget === name) ?? [name, "*"];
    const socket = { ...inputSlot(name, type), widget: { name } };
    node.inputs.push(socket);
    return [socket, node.inputs.length - 1];
  }

  /** @param {string} id as the page writes it */
  idOf(id) {
    return id === ENTRY || id === EXIT ? Number(id) : this.node(id).id;
  }

  /**
   * @param {Plan} plan
   * @param {string} id
   * @param {string} widget
   * @returns {[string, string] | null}
   */
  movedTo({ moved, remove }, id, widget) {
    const place = moved[id]?.[widget];
    if (place) {
      return [String(this.keys.get(place[0]) ?? place[0]), place[1]];
    }
    return remove.includes(id) && !this.node(id) ? null : [id, widget];
  }
}

/** New ids for nodes and links, and how this graph writes them. */
class Ids {
  /**
   * @param {any} workflow
   * @param {any} graph
   */
  constructor(workflow, graph) {
    this.graph = graph;
    this.graphs = [workflow, ...definitionsOf(workflow)];
    const [sample] = graph.links;
    this.linksAreLists = sample === undefined ? graph === workflow && !workflow.state : Array.isArray(sample);
    this.asText = graph.nodes.some((/** @type {any} */ node) => typeof node.id === "string");
    const nodes = this.graphs.flatMap((each) => [
      each.last_node_id,
      each.state?.lastNodeId,
      ...each.nodes.map((/** @type {any} */ node) => Number(node.id)),
    ]);
    const links = this.graphs.flatMap((each) => [
      each.last_link_id,
      each.state?.lastLinkId,
      ...each.links.map((/** @type {any} */ link) => Number(linkOf(link).id)),
    ]);
    this.lastNode = largest(nodes);
    this.lastLink = largest(links);
  }

  nextNode() {
    this.lastNode += 1;
    this.note("last_node_id", "lastNodeId", this.lastNode);
    return this.asText ? String(this.lastNode) : this.lastNode;
  }

  nextLink() {
    this.lastLink += 1;
    this.note("last_link_id", "lastLinkId", this.lastLink);
    return this.lastLink;
  }

  /**
   * @param {string} flat
   * @param {string} nested
   * @param {number} value
   */
  note(flat, nested, value) {
    for (const graph of [this.graph, this.graphs[0]]) {
      if (graph[flat] !== undefined) {
        graph[flat] = value;
      }
      if (graph.state?.[nested] !== undefined) {
        graph.state[nested] = value;
      }
    }
  }
}

/** @param {any[]} numbers */
function largest(numbers) {
  return numbers.reduce((most, number) => (Number.isFinite(number) && number > most ? number : most), 0);
}

/**
 * @param {string} name
 * @param {string} type
 * @param {boolean} [optional]
 */
function inputSlot(name, type, optional) {
  return { name, type, link: null, ...(optional ? { shape: OPTIONAL } : {}) };
}

/**
 * @param {any} slot
 * @param {boolean} isBoundary
 * @returns {any[]}
 */
function listed(slot, isBoundary) {
  const name = isBoundary ? "linkIds" : "links";
  slot[name] ??= [];
  return slot[name];
}

/**
 * Widgets and previews inside a subgraph that are shown on the nodes that stand for it.
 * @param {any} workflow
 * @param {string} subgraph
 * @param {(id: string, widget: string) => [string, string] | null} movedTo
 */
function followWidgets(workflow, subgraph, movedTo) {
  for (const graph of [workflow, ...definitionsOf(workflow)]) {
    for (const { type, properties } of graph.nodes) {
      if (type !== subgraph || !properties) {
        continue;
      }
      if (Array.isArray(properties.proxyWidgets)) {
        properties.proxyWidgets = properties.proxyWidgets.flatMap((/** @type {any} */ [id, widget, ...more]) => {
          const place = movedTo(String(id), widget);
          return place ? [[...place, ...more]] : [];
        });
      }
      if (Array.isArray(properties.previewExposures)) {
        properties.previewExposures = properties.previewExposures.filter((/** @type {any} */ { sourceNodeId }) =>
          graphIn(workflow, subgraph).nodes.some((/** @type {any} */ node) => String(node.id) === String(sourceNodeId)),
        );
      }
    }
  }
}
