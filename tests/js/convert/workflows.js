// Workflows as the page saves them, from short descriptions, and what must hold of every one.

import assert from "node:assert/strict";
import { KINDS } from "../../../js/convert/nodes.js";

const OTHERS = {
  Loader: { sockets: [], widgets: [], outputs: [["MODEL", "MODEL"]] },
  UNETLoader: { sockets: [], widgets: [["unet_name", "COMBO", ""]], outputs: [["MODEL", "MODEL"]] },
  CheckpointLoaderSimple: { sockets: [], widgets: [["ckpt_name", "COMBO", ""]], outputs: [["MODEL", "MODEL"]] },
  Text: { sockets: [], widgets: [], outputs: [["CONDITIONING", "CONDITIONING"]] },
  Empty: { sockets: [], widgets: [], outputs: [["LATENT", "LATENT"]] },
  VAEDecode: { sockets: [["samples", "LATENT"]], widgets: [], outputs: [["IMAGE", "IMAGE"]] },
  VAEEncode: { sockets: [["pixels", "IMAGE"]], widgets: [], outputs: [["LATENT", "LATENT"]] },
  LatentUpscale: { sockets: [["samples", "LATENT"]], widgets: [], outputs: [["LATENT", "LATENT"]] },
  Reroute: { sockets: [["", "*"]], widgets: [], outputs: [["", "*"]] },
  SetNode: { sockets: [["LATENT", "LATENT"]], widgets: [["name", "STRING", ""]], outputs: [["LATENT", "LATENT"]] },
  GetNode: { sockets: [], widgets: [["name", "STRING", ""]], outputs: [["LATENT", "LATENT"]] },
  PrimitiveNode: { sockets: [], widgets: [["value", "INT", 0], ["control", "COMBO", "fixed"]], outputs: [["INT", "INT"]] },
  ComfyMathExpression: { sockets: [["values.a", "INT"]], widgets: [], outputs: [["INT", "INT"]] },
  ModelSamplingSD3: { sockets: [["model", "MODEL"]], widgets: [["shift", "FLOAT", 3]], outputs: [["MODEL", "MODEL"]] },
  NodeOfMissingPack: {
    sockets: [["model", "MODEL"], ["samples", "LATENT"]],
    widgets: [],
    outputs: [["MODEL", "MODEL"], ["LATENT", "LATENT"]],
  },
  PreviewLatent: { sockets: [["samples", "LATENT"]], widgets: [], outputs: [] },
};

/**
 * `id: [type, inputs, more]`; an input that is a text such as "3" or "3:1" is a link, in backquotes of its own kind:
 * values are given as they are.
 * @param {Record<string, any[]>} nodes
 * @param {{inputs?: [string, string][], outputs?: [string, string, string][]}} [boundary] of a subgraph
 */
export function workflowOf(nodes, boundary) {
  const links = [];
  const made = Object.entries(nodes).map(([id, [type, inputs = {}, more = {}]]) => {
    const kind = KINDS[type] ?? OTHERS[type];
    const widgets = kind.widgets.map(([name]) => name);
    return {
      id: Number(id),
      type,
      pos: [Number(id) * 400, 0],
      size: [320, 200],
      flags: {},
      order: Number(id),
      mode: 0,
      inputs: [...kind.sockets, ...kind.widgets].map(([name, socket]) => ({
        name,
        type: socket,
        link: null,
        ...(widgets.includes(name) ? { widget: { name } } : {}),
      })),
      outputs: kind.outputs.map(([name, output]) => ({ name, type: output, links: [] })),
      properties: {},
      widgets_values: kind.widgets.map(([name, , value]) => (isLink(inputs[name]) ? value : inputs[name] ?? value)),
      ...more,
    };
  });
  const graph = { last_node_id: 99, last_link_id: 0, nodes: made, links, groups: [], version: 0.4 };
  if (boundary) {
    Object.assign(graph, {
      id: "sub",
      inputNode: { id: -10 },
      outputNode: { id: -20 },
      inputs: boundary.inputs.map(([name, type]) => ({ id: name, name, type, linkIds: [] })),
      outputs: boundary.outputs.map(([name, type]) => ({ id: name, name, type, linkIds: [] })),
      state: { lastNodeId: 99, lastLinkId: 0 },
    });
    delete graph.last_node_id;
    delete graph.last_link_id;
  }
  for (const [id, [, inputs = {}]] of Object.entries(nodes)) {
    for (const [name, value] of Object.entries(inputs)) {
      if (isLink(value)) {
        connect(graph, value.link, Number(id), name);
      }
    }
  }
  boundary?.outputs.forEach(([, , link], slot) => connect(graph, link, -20, String(slot)));
  return graph;
}

/** A link to an output, such as "3" or "3:1"; "in:0" is an input of the subgraph. */
export function from(link) {
  return { link };
}

function isLink(value) {
  return typeof value?.link === "string";
}

function connect(graph, text, target, name) {
  const [origin, slot = "0"] = text.split(":");
  const originId = origin === "in" ? -10 : Number(origin);
  const id = graph.links.length + 1;
  const find = (number) => graph.nodes.find((node) => node.id === number);
  const source = originId === -10 ? graph.inputs[Number(slot)] : find(originId).outputs[Number(slot)];
  (source.links ?? source.linkIds).push(id);
  let targetSlot = Number(name);
  if (target === -20) {
    graph.outputs[targetSlot].linkIds.push(id);
  } else {
    targetSlot = find(target).inputs.findIndex((input) => input.name === name);
    assert.ok(targetSlot >= 0, `${find(target).type} has no ${name}`);
    find(target).inputs[targetSlot].link = id;
  }
  const ends = { origin_id: originId, origin_slot: Number(slot), target_id: target, target_slot: targetSlot };
  graph.links.push(graph.state ? { id, ...ends, type: source.type } : [id, ...Object.values(ends), source.type]);
  if (graph.state) {
    graph.state.lastLinkId = id;
  } else {
    graph.last_link_id = id;
  }
}

/** The settings of an advanced KSampler in a chain. */
export function steps(start, end, more = {}) {
  return {
    add_noise: start === 0 ? "enable" : "disable",
    noise_seed: 7,
    control_after_generate: "fixed",
    steps: 20,
    cfg: 5,
    start_at_step: start,
    end_at_step: end,
    return_with_leftover_noise: end < 20 ? "enable" : "disable",
    ...more,
  };
}

/** Two loaders, two prompts and an empty latent, with the ids 1 to 5. */
export const SOURCES = { 1: ["Loader"], 2: ["Loader"], 3: ["Text"], 4: ["Text"], 5: ["Empty"] };

/** The inputs of a sampler with the prompts of SOURCES. */
export function prompted(model, latent, more = {}) {
  return { model: from(model), positive: from("3"), negative: from("4"), latent_image: from(latent), ...more };
}

/** Base and refiner, a decode after them. */
export function twoSamplers(first = {}, second = {}) {
  return {
    ...SOURCES,
    6: ["KSamplerAdvanced", prompted("1", "5", { ...steps(0, 8), ...first })],
    7: ["KSamplerAdvanced", prompted("2", "6", { ...steps(8, 10000), ...second })],
    8: ["VAEDecode", { samples: from("7") }],
  };
}

export function nodeOfType(graph, type) {
  const found = graph.nodes.filter((node) => node.type === type);
  assert.equal(found.length, 1, `${found.length} nodes of type ${type}`);
  return found[0];
}

/** The widgets' values by name. */
export function valuesOf(node) {
  return Object.fromEntries(KINDS[node.type].widgets.map(([name], index) => [name, node.widgets_values[index]]));
}

/** What an input reads, as "node:slot"; undefined where it is open. */
export function originOf(graph, node, name) {
  const id = node.inputs.find((input) => input.name === name)?.link;
  const link = graph.links.map(asObject).find((each) => each.id === id);
  return link && `${link.origin_id}:${link.origin_slot}`;
}

export function asObject(link) {
  if (!Array.isArray(link)) {
    return link;
  }
  const [id, origin_id, origin_slot, target_id, target_slot, type] = link;
  return { id, origin_id, origin_slot, target_id, target_slot, type };
}

/** Every link is known at both of its ends, no id is there twice, and our nodes have all that they need. */
export function checkGraph(graph) {
  const links = new Map(graph.links.map(asObject).map((link) => [link.id, link]));
  assert.equal(links.size, graph.links.length, "a link's id is there twice");
  const nodes = new Map(graph.nodes.map((node) => [String(node.id), node]));
  assert.equal(nodes.size, graph.nodes.length, "a node's id is there twice");
  for (const { id, origin_id, origin_slot, target_id, target_slot } of links.values()) {
    const given = String(origin_id) === "-10" ? graph.inputs[origin_slot].linkIds : nodes.get(String(origin_id))?.outputs[origin_slot]?.links;
    assert.ok(given?.includes(id), `link ${id} is not known at its origin ${origin_id}:${origin_slot}`);
    const read =
      String(target_id) === "-20" ? graph.outputs[target_slot].linkIds : [nodes.get(String(target_id))?.inputs[target_slot]?.link];
    assert.ok(read.includes(id), `link ${id} is not known at its target ${target_id}:${target_slot}`);
  }
  const ends = [
    ...graph.nodes.flatMap((node) => [
      ...(node.outputs ?? []).flatMap((output) => output.links ?? []),
      ...(node.inputs ?? []).map((input) => input.link).filter((id) => id != null),
    ]),
    ...[...(graph.inputs ?? []), ...(graph.outputs ?? [])].flatMap((slot) => slot.linkIds ?? []),
  ];
  for (const id of ends) {
    assert.ok(links.has(id), `link ${id} is dangling`);
  }
  for (const node of graph.nodes.filter(({ type }) => type.startsWith("TStitch"))) {
    for (const [name, , optional] of KINDS[node.type].sockets) {
      assert.ok(optional || originOf(graph, node, name), `${node.type} lacks ${name}`);
    }
  }
}
