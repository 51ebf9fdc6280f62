/** Which samplers of a graph hand a noisy latent from one to the next. */

import { ENTRY, nameOf } from "./chart.js";
import { compareLevels, cutsOf, numberOf, rangeOfSteps, samePosition } from "./levels.js";
import { MOST_STAGES } from "./nodes.js";

/**
 * @typedef {import("./chart.js").Chart} Chart
 * @typedef {import("./chart.js").ChartNode} ChartNode
 * @typedef {import("./chart.js").Output} Output
 * @typedef {import("./levels.js").Cut} Cut
 * @typedef {import("./levels.js").Range} Range
 * @typedef {import("./sentences.js").Sentence} Sentence
 *
 * @typedef {object} Part a sampler of a chain
 * @property {ChartNode} node
 * @property {Range} range
 * @property {Cut[]} cuts of its noise levels; none where it counts steps
 *
 * @typedef {object} Chain
 * @property {Part[]} parts two and more, in run order
 * @property {string[]} passed nodes between them that change nothing
 */

/** Samplers that can hand a noisy latent on. */
const JOINABLE = ["KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"];
/** Samplers that always finish. */
const FINISHING = ["KSampler"];
/** Through these a picture, sound or latent comes from an earlier sampler. */
const PICTURE_TYPES = ["LATENT", "IMAGE", "VIDEO", "AUDIO", "MASK", "*"];
const LONGEST_WAY = 64;
const MOST_NAMES = 4;

/** Why samplers are not joined. */
export class Refusal extends Error {
  /** @param {Sentence} sentence */
  constructor(sentence) {
    super(sentence.kind);
    this.sentence = sentence;
  }
}

/** @param {{type: string} | null | undefined} node */
export function isJoinable(node) {
  return JOINABLE.includes(node?.type ?? "");
}

/**
 * What the latent of a sampler comes from.
 * @typedef {object} Before
 * @property {"nothing" | "sampler" | "muted" | "outside" | "changed" | "loop"} kind
 * @property {ChartNode} [sampler] the one before, also where the latent was changed on the way
 * @property {number} [slot] its output
 * @property {ChartNode[]} [by] what changed the latent on its way, in run order
 * @property {boolean} [redrawn] whether it was a picture in between
 * @property {string[]} passed
 */

/**
 * @param {Chart} chart
 * @param {ChartNode} node
 * @returns {Before}
 */
export function before(chart, node) {
  const from = chart.from(node, "latent_image");
  const { output, passed } = chart.follow(from, node.mode);
  if (!from) {
    return { kind: "nothing", passed };
  }
  if (!output) {
    const muted = passed.some((id) => chart.node(id).mode === 2);
    return { kind: muted ? "muted" : "nothing", passed };
  }
  const origin = chart.node(output.node);
  if (origin.id === ENTRY) {
    return { kind: "outside", passed };
  }
  if (origin === node) {
    return { kind: "loop", passed };
  }
  if (isJoinable(origin) || FINISHING.includes(origin.type)) {
    return { kind: "sampler", sampler: origin, slot: output.slot, passed };
  }
  const found = samplerBehind(chart, origin, node.mode);
  return found ? { kind: "changed", ...found, passed } : { kind: "nothing", passed };
}

/**
 * @param {Chart} chart
 * @param {ChartNode} start the node that made the latent
 * @param {number} mode
 */
function samplerBehind(chart, start, mode) {
  const seen = new Set([start.id]);
  let wave = [{ node: start, redrawn: false, by: [start] }];
  for (let count = 0; wave.length && count < LONGEST_WAY; count++) {
    const next = [];
    for (const { node, redrawn, by } of wave) {
      for (const input of node.inputs.filter(({ from, type }) => from && PICTURE_TYPES.includes(type))) {
        const { output } = chart.follow(input.from, mode);
        const origin = output && chart.node(output.node);
        if (!origin || seen.has(origin.id)) {
          continue;
        }
        seen.add(origin.id);
        const isPicture = redrawn || !["LATENT", "*"].includes(input.type) || origin.type.startsWith("VAEDecode");
        if (isJoinable(origin) || FINISHING.includes(origin.type)) {
          return { sampler: origin, by, redrawn: isPicture };
        }
        next.push({ node: origin, redrawn: isPicture, by: [origin, ...by] });
      }
    }
    wave = next;
  }
  return null;
}

/**
 * @param {Chart} chart
 * @param {ChartNode} node
 * @returns {Part}
 */
export function partOf(chart, node) {
  if (node.type === "KSamplerAdvanced") {
    return { node, range: rangeOfSteps(chart, node), cuts: [] };
  }
  const cuts = cutsOf(chart, chart.from(node, "sigmas"), node.mode);
  return { node, range: cuts.at(-1) ?? { start: [], end: null }, cuts };
}

/**
 * Why the sampler before does not hand a noisy latent on that the other goes on from; null where it does.
 * @param {Chart} chart
 * @param {Before} link
 * @param {ChartNode} node
 * @returns {Sentence | null}
 */
export function obstacle(chart, link, node) {
  const b = nameOf(node);
  const a = link.sampler ? nameOf(link.sampler) : "";
  if (link.kind !== "sampler" || !link.sampler) {
    return unlinked(link, node);
  }
  if (FINISHING.includes(link.sampler.type)) {
    return { kind: "finished", values: { a, b } };
  }
  if (link.sampler.mode !== node.mode) {
    return { kind: "off", values: { a, b } };
  }
  if (link.slot !== 0) {
    return { kind: "denoised", values: { a, b } };
  }
  const [first, second] = [partOf(chart, link.sampler), partOf(chart, node)];
  if (!first.range.end && !isMeantAsChain(chart, first, second)) {
    return { kind: "finished", values: { a, b } };
  }
  if (link.sampler.type !== node.type) {
    return { kind: "kinds", values: { a, b } };
  }
  if (node.type === "KSamplerAdvanced") {
    return isSecondPass(chart, first, second) ? { kind: "secondPass", values: { a, b } } : null;
  }
  const [one, other] = [first.cuts[0], second.cuts[0]];
  const isOneRun = one && other && compareLevels(chart, one.output, other.output) !== "other";
  return isOneRun ? null : { kind: "otherLevels", values: { a, b } };
}

/**
 * Whether the second advanced KSampler draws over a picture of the first, instead of going on with it.
 * @param {Chart} chart
 * @param {Part} first
 * @param {Part} second
 */
function isSecondPass(chart, first, second) {
  const [from, to] = [numberOf(first.range.start), numberOf(second.range.start)];
  if (from !== undefined && to !== undefined && to <= from) {
    return true;
  }
  const cleans = chart.setting(first.node, "return_with_leftover_noise").value === "disable";
  const adds = chart.setting(second.node, "add_noise").value === "enable";
  return cleans && adds && !samePosition(first.range.end ?? [], second.range.start);
}

/**
 * Whether a first sampler that runs to the end was meant to hand noise on, by the settings of both.
 * @param {Chart} chart
 * @param {Part} first
 * @param {Part} second
 */
function isMeantAsChain(chart, { node: a }, { node: b, range }) {
  const leaves = chart.setting(a, "return_with_leftover_noise").value === "enable";
  const goesOn = chart.setting(b, "add_noise").value === "disable" && range.start.length > 0;
  return a.type === "KSamplerAdvanced" && leaves && goesOn;
}

/**
 * @param {Before} link
 * @param {ChartNode} node
 * @returns {Sentence}
 */
function unlinked(link, node) {
  const b = nameOf(node);
  const a = link.sampler ? nameOf(link.sampler) : "";
  switch (link.kind) {
    case "changed":
      return { kind: link.redrawn ? "redrawn" : "changed", values: { a, b, nodes: named(link.by ?? []) } };
    case "muted":
      return { kind: "muted", values: { b } };
    case "outside":
      return { kind: "outside", values: { b } };
    case "loop":
      return { kind: "loop", values: { b } };
    default:
      return { kind: "alone", values: { b } };
  }
}

/**
 * @param {ChartNode[]} nodes
 */
function named(nodes) {
  const titles = nodes.map((node) => `“${nameOf(node)}”`);
  return titles.length > MOST_NAMES ? [...titles.slice(0, MOST_NAMES), "…"].join(", ") : titles.join(", ");
}

/**
 * The links between samplers, by the one that reads.
 * @param {Chart} chart
 * @returns {Map<string, Before>}
 */
export function links(chart) {
  const samplers = [...chart.nodes.values()].filter(isJoinable);
  return new Map(samplers.map((node) => [node.id, before(chart, node)]));
}

/**
 * The chain that a sampler is in.
 * @param {Chart} chart
 * @param {string} id
 * @returns {Chain}
 * @throws {Refusal}
 */
export function chainOf(chart, id) {
  const node = chart.nodes.get(id);
  if (!node || !isJoinable(node)) {
    throw new Refusal({ kind: "noSampler", values: { b: node ? nameOf(node) : id } });
  }
  const known = links(chart);
  const ids = [id, ...downstream(chart, known, id)];
  const passed = [];
  for (let link = known.get(id); link?.sampler && !obstacle(chart, link, chart.node(ids[0])); ) {
    if (ids.includes(link.sampler.id)) {
      throw new Refusal({ kind: "loop", values: { b: nameOf(node) } });
    }
    ids.unshift(link.sampler.id);
    link = known.get(link.sampler.id);
  }
  if (ids.length < 2) {
    throw new Refusal(nearestObstacle(chart, known, node));
  }
  if (ids.length > MOST_STAGES) {
    throw new Refusal({ kind: "tooMany", values: { count: ids.length, most: MOST_STAGES } });
  }
  if (comesFrom(chart, chart.node(ids[0]), ids)) {
    throw new Refusal({ kind: "loop", values: { b: nameOf(node) } });
  }
  for (const each of ids.slice(1)) {
    passed.push(...(known.get(each)?.passed ?? []));
  }
  return { parts: ids.map((each) => partOf(chart, chart.node(each))), passed };
}

/**
 * Whether what a node reads was made, on any way, by one of these nodes.
 * @param {Chart} chart
 * @param {ChartNode} start
 * @param {string[]} ids
 */
function comesFrom(chart, start, ids) {
  const seen = new Set();
  const waiting = [start];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    for (const { from } of node.inputs) {
      const origin = from && chart.nodes.get(from.node);
      if (origin && ids.includes(origin.id)) {
        return true;
      }
      if (origin && !seen.has(origin)) {
        seen.add(origin);
        waiting.push(origin);
      }
    }
  }
  return false;
}

/**
 * The samplers after one, as long as it is one that goes on with its noisy latent.
 * @param {Chart} chart
 * @param {Map<string, Before>} known
 * @param {string} id
 */
function downstream(chart, known, id) {
  /** @type {string[]} */
  const found = [];
  for (let at = id; ; ) {
    const next = [...known].find(([reader, link]) => {
      return link.sampler?.id === at && link.kind === "sampler" && !obstacle(chart, link, chart.node(reader));
    });
    if (!next || next[0] === id || found.includes(next[0])) {
      return found;
    }
    at = next[0];
    found.push(at);
  }
}

/**
 * @param {Chart} chart
 * @param {Map<string, Before>} known
 * @param {ChartNode} node
 * @returns {Sentence}
 */
function nearestObstacle(chart, known, node) {
  const reason = obstacle(chart, /** @type {Before} */ (known.get(node.id)), node);
  if (reason && reason.kind !== "alone") {
    return reason;
  }
  for (const [id, link] of known) {
    if (link.sampler?.id === node.id) {
      return obstacle(chart, link, chart.node(id)) ?? { kind: "alone", values: { b: nameOf(node) } };
    }
  }
  return { kind: "alone", values: { b: nameOf(node) } };
}

/**
 * All chains of a graph, each by its last sampler, and why other samplers that follow one another are none.
 * @param {Chart} chart
 * @returns {{last: string[], refused: Sentence[]}}
 */
export function survey(chart) {
  const known = links(chart);
  const joined = new Set();
  const last = [];
  const refused = [];
  for (const [id, link] of known) {
    const reason = obstacle(chart, link, chart.node(id));
    if (!reason) {
      joined.add(id);
      joined.add(link.sampler?.id);
    } else if (link.sampler) {
      refused.push(reason);
    }
  }
  for (const id of joined) {
    if (downstream(chart, known, id).length === 0) {
      last.push(id);
    }
  }
  return { last, refused };
}
