/** What the graph around a node says: its models' names, and the run that uses it. Reads, never writes. */

/**
 * Only what is read here of the page's own classes, which differ between its versions.
 * @typedef {any} GraphNode
 * @typedef {any} Graph
 * @typedef {{node: GraphNode, slot: number}} Origin
 */

/**
 * What a sampler or scheduler node is set to, by the names of the server's PlannedRun.
 * @typedef {object} Plan
 * @property {number} steps
 * @property {string | null} scheduler null where the node has none of the host's
 * @property {string} sampler_name
 * @property {number} denoise
 * @property {number} start
 * @property {number | null} end
 * @property {boolean} leftover_noise
 */

const MUTED = 2;
const BYPASSED = 4;
const SUBGRAPH_INPUT = "-10"; // ids are numbers in older pages, texts in newer ones
const SUBGRAPH_OUTPUT = "-20";
const LONGEST_WALK = 64;
const MODEL_TYPES = ["MODEL", "GUIDER"];
const PASSED_TYPES = [...MODEL_TYPES, "*"];
/** What a run's noise levels follow from, beside its steps. */
const SETTINGS = ["scheduler", "denoise", "start_at_step", "end_at_step"];
const LEVEL_TYPES = [...PASSED_TYPES, "SIGMAS"];
const STARTER_SHIFT = 3; // of the flow starters, as their files say
const FILE_WIDGET = /^(ckpt|unet|dit|ldm|model|diffusion_model|gguf|checkpoint)(_name)?$/;

/** @param {GraphNode} node */
function isActive({ mode }) {
  return mode !== MUTED && mode !== BYPASSED;
}

/**
 * @param {Graph} graph
 * @param {number | null | undefined} id
 */
function linkOf(graph, id) {
  if (id === null || id === undefined || !graph) {
    return null;
  }
  return graph.getLink?.(id) ?? graph.links?.[id] ?? null;
}

/**
 * The subgraph nodes that stand for `graph` in the graphs around it.
 * @param {Graph} graph
 * @returns {GraphNode[]}
 */
function parentsOf(graph) {
  const root = graph?.rootGraph;
  if (!root || root === graph) {
    return [];
  }
  const graphs = [root, ...(root.subgraphs?.values() ?? [])];
  const nodes = graphs.flatMap((each) => each.nodes ?? []);
  return nodes.filter((/** @type {GraphNode} */ node) => node.subgraph === graph);
}

/**
 * The node and output that a link comes from, through subgraphs in both directions.
 * @param {Graph} graph
 * @param {number | null | undefined} linkId
 * @param {number} [depth]
 * @returns {Origin | null}
 */
function originOf(graph, linkId, depth = 0) {
  const link = linkOf(graph, linkId);
  if (!link || depth > LONGEST_WALK) {
    return null;
  }
  if (String(link.origin_id) === SUBGRAPH_INPUT) {
    const [parent] = parentsOf(graph);
    return parent ? originOf(parent.graph, parent.inputs[link.origin_slot]?.link, depth + 1) : null;
  }
  const node = graph.getNodeById(link.origin_id);
  if (!node) {
    return null;
  }
  if (!node.subgraph || !isActive(node)) {
    return { node, slot: link.origin_slot };
  }
  return originOf(node.subgraph, node.subgraph.outputs?.[link.origin_slot]?.linkIds?.[0], depth + 1);
}

/**
 * @param {GraphNode} node
 * @param {string} name
 * @returns {Origin | null}
 */
function inputOrigin(node, name) {
  const input = node.inputs?.find((/** @type {any} */ each) => each.name === name);
  return input ? originOf(node.graph, input.link) : null;
}

/**
 * Inputs of these types that are linked.
 * @param {GraphNode} node
 * @param {string[]} types
 * @returns {any[]}
 */
function linkedInputs(node, types) {
  const inputs = node.inputs ?? [];
  return inputs.filter((/** @type {any} */ input) => {
    return input.link !== null && input.link !== undefined && types.includes(String(input.type));
  });
}

/**
 * Nodes that read an output, with the input they read it by, through subgraphs in both directions.
 * @param {Graph} graph
 * @param {number[]} linkIds
 * @param {number} [depth]
 * @returns {{node: GraphNode, input: any}[]}
 */
function readersOf(graph, linkIds, depth = 0) {
  if (depth > LONGEST_WALK) {
    return [];
  }
  return [...(linkIds ?? [])].flatMap((id) => {
    const link = linkOf(graph, id);
    if (!link) {
      return [];
    }
    if (String(link.target_id) === SUBGRAPH_OUTPUT) {
      return parentsOf(graph).flatMap((parent) => {
        return readersOf(parent.graph, parent.outputs?.[link.target_slot]?.links, depth + 1);
      });
    }
    const node = graph.getNodeById(link.target_id);
    if (!node) {
      return [];
    }
    if (!node.subgraph || !isActive(node)) {
      return [{ node, input: node.inputs?.[link.target_slot] }];
    }
    return readersOf(node.subgraph, node.subgraph.inputs?.[link.target_slot]?.linkIds, depth + 1);
  });
}

/**
 * @param {GraphNode} node
 * @param {string} name
 * @returns {any} the widget, or undefined
 */
export function widgetOf(node, name) {
  return node.widgets?.find((/** @type {any} */ widget) => widget.name === name);
}

/**
 * Whether the value of a widget comes over a link.
 * @param {GraphNode} node
 * @param {string} name
 */
export function isLinked(node, name) {
  return (node.inputs ?? []).some((/** @type {any} */ input) => {
    return input.widget?.name === name && input.link !== null && input.link !== undefined;
  });
}

/**
 * The value of a widget, or of the primitive that is linked to it; undefined where it is only known in a run.
 * @param {GraphNode} node
 * @param {string} name
 */
export function valueOf(node, name) {
  if (!isLinked(node, name)) {
    return widgetOf(node, name)?.value;
  }
  return linkedValue(node.graph, node.inputs.find((/** @type {any} */ each) => each.widget?.name === name).link);
}

/**
 * @param {Graph} start
 * @param {number} id
 * @returns {any} undefined where it is only known in a run
 */
function linkedValue(start, id) {
  let graph = start;
  let link = id;
  for (let count = 0; count < LONGEST_WALK; count++) {
    const origin = originOf(graph, link);
    if (!origin) {
      return promotedWidget(graph, link)?.value;
    }
    const { node } = origin;
    if (node.type === "TStitchSplitSteps") {
      return splitSteps(node, origin.slot);
    }
    // The page's own primitive names its widget after the one that it took over.
    const value = node.type === "PrimitiveNode" ? node.widgets?.[0] : widgetOf(node, "value");
    if (value && !isLinked(node, "value")) {
      return value.value;
    }
    if (!value && !isReroute(node)) {
      return undefined;
    }
    const input = value
      ? node.inputs.find((/** @type {any} */ each) => each.widget?.name === "value")
      : node.inputs[0];
    graph = node.graph;
    link = input.link;
  }
  return undefined;
}

/**
 * What Split Steps gives: all steps as a text, or the first one.
 * @param {GraphNode} node
 * @param {number} slot
 */
function splitSteps(node, slot) {
  const others = (node.inputs ?? []).filter((/** @type {any} */ { widget, link }) => !widget && link != null);
  const steps = [
    valueOf(node, "step_1"),
    ...others.map((/** @type {any} */ { link }) => linkedValue(node.graph, link)),
  ];
  if (steps.some((step) => step === undefined)) {
    return undefined;
  }
  return slot === 0 ? steps.join(", ") : steps[0];
}

/**
 * The widget of a subgraph's node that sets what is linked to the subgraph's input inside it.
 * @param {Graph} graph
 * @param {number | null | undefined} linkId
 * @param {number} [depth]
 * @returns {any} the widget, or undefined
 */
function promotedWidget(graph, linkId, depth = 0) {
  const link = linkOf(graph, linkId);
  if (!link || String(link.origin_id) !== SUBGRAPH_INPUT || depth > LONGEST_WALK) {
    return undefined;
  }
  const [parent] = parentsOf(graph);
  const input = parent?.inputs[link.origin_slot];
  if (!input || (input.link !== null && input.link !== undefined)) {
    return input && promotedWidget(parent.graph, input.link, depth + 1);
  }
  return parent.getWidgetFromSlot?.(input) ?? widgetOf(parent, input.widget?.name);
}

/** @param {GraphNode} node */
function isReroute(node) {
  return String(node.type).startsWith("Reroute") && node.inputs?.length === 1;
}

/**
 * The input's names of a node's stages in run order: the numbered ones that are in use, and the finishing one.
 * @param {GraphNode} node
 * @param {{prefix: string, first: string, final: string}} kind
 */
export function stageInputs(node, { prefix, first, final }) {
  const numbered = (node.inputs ?? [])
    .filter((/** @type {any} */ input) => {
      return input.name !== first && input.name.startsWith(prefix) && isFed(node, input);
    })
    .map((/** @type {any} */ input) => String(input.name))
    .sort();
  return [first, ...numbered, final];
}

/**
 * Whether the page will send what is linked to an input: not what is muted, or bypassed with nothing to pass on.
 * @param {GraphNode} node
 * @param {any} input
 */
function isFed(node, input) {
  let origin = originOf(node.graph, input.link);
  for (let count = 0; origin && count < LONGEST_WALK; count++) {
    const each = origin.node;
    if (each.mode === MUTED) {
      return false;
    }
    if (each.mode !== BYPASSED && !isReroute(each)) {
      return true;
    }
    const [source] = linkedInputs(each, PASSED_TYPES);
    origin = source ? originOf(each.graph, source.link) : null;
  }
  return false;
}

/**
 * What a person calls the model at an input: the title they gave a node on its way, or else the loader's file.
 * @param {GraphNode} node
 * @param {string} input
 * @returns {string} the input's own name where nothing is connected
 */
export function modelName(node, input) {
  let origin = inputOrigin(node, input);
  let name = input;
  let scales = "";
  for (let count = 0; origin && count < LONGEST_WALK; count++) {
    const each = origin.node;
    const passes = each.mode === BYPASSED || isReroute(each);
    const sources = modelSources(each);
    if (!passes) {
      name = fileName(each) ?? String(each.title ?? each.type);
      if (hasOwnTitle(each)) {
        return String(each.title) + scales;
      }
      if (sources.length !== 1) {
        return name + scales;
      }
      scales = scaleText(each) + scales;
    }
    origin = sources.length ? originOf(each.graph, sources[0].link) : null;
  }
  return name + scales;
}

/**
 * What Low-Resolution Model adds to the name of its model, such as " 0.5x".
 * @param {GraphNode} node
 */
function scaleText(node) {
  const scale = node.type === "TStitchLowResolution" ? valueOf(node, "scale") : 1;
  return typeof scale === "number" && scale < 1 ? ` ${scale}x` : "";
}

/**
 * The linked inputs that a model may come from; a guided model is the one that draws.
 * @param {GraphNode} node
 */
function modelSources(node) {
  const sources = linkedInputs(node, isReroute(node) ? PASSED_TYPES : MODEL_TYPES);
  return node.type === "TStitchGuidance" ? sources.filter(({ name }) => name === "model") : sources;
}

/** @param {GraphNode} node */
function hasOwnTitle(node) {
  const standard = [node.constructor?.title, node.constructor?.nodeData?.display_name, node.type];
  return Boolean(node.title) && !standard.includes(node.title);
}

/** @param {GraphNode} node */
function fileName(node) {
  const widget = node.widgets?.find((/** @type {any} */ each) => {
    return FILE_WIDGET.test(each.name) && typeof each.value === "string" && each.value;
  });
  if (!widget) {
    return null;
  }
  return String(widget.value.split(/[\\/]/).at(-1)).replace(/\.(safetensors|sft|ckpt|pth?|bin|gguf)$/i, "");
}

/**
 * The kind of noise schedule of the model at an input, as far as the nodes on its way tell.
 * @param {GraphNode} node
 * @param {string} input
 * @returns {{sampling: string, shift: number, sure: boolean}}
 */
export function samplingOf(node, input) {
  let origin = inputOrigin(node, input);
  for (let count = 0; origin && count < LONGEST_WALK; count++) {
    const each = origin.node;
    if (each.mode !== BYPASSED) {
      const known = knownSampling(each);
      if (known) {
        return { ...known, sure: true };
      }
    }
    const [source] = linkedInputs(each, PASSED_TYPES);
    origin = source ? originOf(each.graph, source.link) : null;
  }
  return { sampling: "eps", shift: 1, sure: false };
}

/** @param {GraphNode} node */
function knownSampling(node) {
  const type = String(node.comfyClass ?? node.type);
  if (type === "ModelSamplingSD3" || type === "ModelSamplingAuraFlow") {
    const shift = Number(valueOf(node, "shift"));
    return shift > 0 ? { sampling: "flow", shift } : null;
  }
  if (type === "TStitchLoadStarter" && valueOf(node, "model") !== "S-eps") {
    return { sampling: "flow", shift: valueOf(node, "model") === "Shortcut" ? 1 : STARTER_SHIFT };
  }
  return null;
}

/**
 * What the noise levels of a sampler's run come from, beside its plan: the nodes before it, and what they are set to.
 * @param {GraphNode} sampler
 * @param {GraphNode} node the one with the schedule: of its models only the finishing one has a say, of its texts none
 * @param {string} final
 */
export function sourcesOf(sampler, node, final) {
  const seen = new Map([[sampler, ""]]);
  for (const each of seen.keys()) {
    for (const input of linkedInputs(each, LEVEL_TYPES)) {
      const origin = each !== node || input.name === final ? originOf(each.graph, input.link) : null;
      if (origin && !seen.has(origin.node)) {
        seen.set(origin.node, origin.node === node ? "" : settingsOf(origin));
      }
    }
  }
  return [...seen.values()];
}

/** @param {Origin} origin */
function settingsOf({ node, slot }) {
  const values = (node.widgets ?? []).map((/** @type {any} */ widget) => valueOf(node, widget.name));
  return [node.type, node.mode, slot, ...values].join("\n");
}

/**
 * The run that a node's output is used in.
 * @param {GraphNode} node
 * @returns {{plan: Plan | null, sampler: GraphNode}} the node itself where no sampler is found; no plan where the
 *   sampler does not tell its steps
 */
export function downstreamRun(node) {
  const seen = new Set();
  let outputs = [{ graph: node.graph, links: node.outputs?.[0]?.links }];
  while (outputs.length && seen.size < LONGEST_WALK) {
    const readers = outputs.flatMap(({ graph, links }) => readersOf(graph, links));
    outputs = [];
    for (const { node: reader } of readers) {
      if (seen.has(reader) || reader.mode === MUTED) {
        continue;
      }
      seen.add(reader);
      if (isActive(reader) && !givesSigmasOnly(reader)) {
        const plan = planOf(reader) ?? planOfSigmas(reader);
        if (plan || linkedInputs(reader, ["SIGMAS"]).length) {
          return { plan, sampler: reader };
        }
      }
      for (const output of reader.outputs ?? []) {
        if (PASSED_TYPES.includes(String(output.type))) {
          outputs.push({ graph: reader.graph, links: output.links });
        }
      }
    }
  }
  return { plan: null, sampler: node };
}

/**
 * Whether a node is a scheduler: it reads a model, but what follows makes the run.
 * @param {GraphNode} node
 */
function givesSigmasOnly({ outputs }) {
  return outputs?.length > 0 && outputs.every((/** @type {any} */ output) => output.type === "SIGMAS");
}

/**
 * The first of a run's settings whose value comes over a link and is known only in the run.
 * @param {GraphNode} sampler
 * @returns {string | undefined}
 */
export function unknownSetting(sampler) {
  return SETTINGS.find((name) => isLinked(sampler, name) && valueOf(sampler, name) === undefined);
}

/**
 * @param {GraphNode} node
 * @returns {Plan | null} null where the node's own widgets do not tell the steps of a run
 */
export function planOf(node) {
  const steps = Number(valueOf(node, "steps"));
  const outputs = (node.outputs ?? []).map((/** @type {any} */ output) => String(output.type));
  const makes = outputs.includes("LATENT") || outputs.includes("SIGMAS");
  const samples = makes || widgetOf(node, "sampler_name") !== undefined; // detailers and upscalers give pictures
  if (!samples || !Number.isInteger(steps) || steps < 1) {
    return null;
  }
  const scheduler = valueOf(node, "scheduler");
  const end = Number(valueOf(node, "end_at_step") ?? NaN);
  return {
    steps,
    scheduler: typeof scheduler === "string" ? scheduler : null,
    sampler_name: String(valueOf(node, "sampler_name") ?? "euler"),
    denoise: Number(valueOf(node, "denoise") ?? 1),
    start: Number(valueOf(node, "start_at_step") ?? 0),
    end: Number.isFinite(end) ? end : null,
    leftover_noise: valueOf(node, "return_with_leftover_noise") === "enable",
  };
}

/**
 * The plan of the scheduler node whose SIGMAS a sampler reads.
 * @param {GraphNode} node
 * @returns {Plan | null}
 */
function planOfSigmas(node) {
  let [input] = linkedInputs(node, ["SIGMAS"]);
  for (let count = 0; input && count < LONGEST_WALK; count++) {
    const origin = originOf(node.graph, input.link);
    if (!origin) {
      return null;
    }
    if (!isReroute(origin.node)) {
      return planOf(origin.node);
    }
    node = origin.node;
    input = node.inputs[0];
  }
  return null;
}
