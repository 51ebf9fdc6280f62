/** Which part of which noise levels a sampler draws, as far as the graph tells. */

import { equal, same, sameOutput } from "./chart.js";

/**
 * @typedef {import("./chart.js").Chart} Chart
 * @typedef {import("./chart.js").ChartNode} ChartNode
 * @typedef {import("./chart.js").Output} Output
 * @typedef {import("./chart.js").Setting} Setting
 *
 * A step of the whole schedule, as a sum of settings: none is the first step.
 * @typedef {Setting[]} Position
 *
 * @typedef {object} Range
 * @property {Position} start
 * @property {Position | null} end null for the end of the schedule
 *
 * Noise levels that are cut from longer ones.
 * @typedef {Range & {output: Output}} Cut
 */

/** Of the host's loaders. */
const FILE_WIDGETS = ["unet_name", "ckpt_name"];

/** @param {number} value @returns {Setting} */
export function constant(value) {
  return { from: null, root: null, value };
}

/**
 * The number of a position; undefined where it is known only in a run.
 * @param {Position} position
 * @returns {number | undefined}
 */
export function numberOf(position) {
  let sum = 0;
  for (const { value } of position) {
    if (typeof value !== "number") {
      return undefined;
    }
    sum += value;
  }
  return sum;
}

/**
 * @param {Position} one
 * @param {Position} other
 */
export function samePosition(one, other) {
  const value = numberOf(one);
  const parts = one.length === other.length && one.every((setting, index) => same(setting, other[index]));
  return parts || (value !== undefined && value === numberOf(other));
}

/**
 * Steps of an advanced KSampler.
 * @param {Chart} chart
 * @param {ChartNode} node
 * @returns {Range}
 */
export function rangeOfSteps(chart, node) {
  const steps = chart.setting(node, "steps");
  const start = chart.setting(node, "start_at_step");
  const end = chart.setting(node, "end_at_step");
  const known = typeof end.value === "number" && typeof steps.value === "number";
  const isWhole = same(end, steps) || (known && end.value >= steps.value) || end.value >= 10000;
  return { start: start.value === 0 && !start.from ? [] : [start], end: isWhole ? null : [end] };
}

/**
 * The cuts that noise levels went through: the whole ones first, those that are read last.
 * @param {Chart} chart
 * @param {Output | null} from
 * @param {number} mode
 * @returns {Cut[]} none where nothing is linked
 */
export function cutsOf(chart, from, mode) {
  const steps = [];
  const seen = new Set();
  let at = chart.follow(from, mode).output;
  while (at && !seen.has(at.node)) {
    seen.add(at.node);
    steps.unshift(at);
    const node = chart.node(at.node);
    if (node.type !== "SplitSigmas" && node.type !== "SplitSigmasDenoise") {
      return applyCuts(chart, steps);
    }
    at = chart.follow(chart.from(node, "sigmas"), mode).output;
  }
  return [];
}

/**
 * @param {Chart} chart
 * @param {Output[]} outputs
 * @returns {Cut[]}
 */
function applyCuts(chart, outputs) {
  /** @type {Cut[]} */
  const cuts = [{ output: outputs[0], start: [], end: null }];
  for (const output of outputs.slice(1)) {
    const { start, end } = cuts[cuts.length - 1];
    const middle = [...start, cutAt(chart, output, outputs[0])];
    cuts.push(output.slot === 0 ? { output, start, end: middle } : { output, start: middle, end });
  }
  return cuts;
}

/**
 * @param {Chart} chart
 * @param {Output} output of a node that splits noise levels
 * @param {Output} whole
 * @returns {Setting}
 */
function cutAt(chart, output, whole) {
  const node = chart.node(output.node);
  if (node.type === "SplitSigmas") {
    return chart.setting(node, "step");
  }
  const scheduler = chart.node(whole.node);
  const direct = sameOutput(chart.follow(chart.from(node, "sigmas"), node.mode).output, whole);
  const steps = scheduler.type === "BasicScheduler" && direct ? chart.setting(scheduler, "steps").value : undefined;
  const { value: denoise, root } = chart.setting(node, "denoise");
  const known = typeof steps === "number" && typeof denoise === "number";
  // A setting that cannot be told stays itself: it is the same as another only where it is one node's.
  return { from: null, root: root ?? { node: node.id, slot: -1 }, value: known ? steps - roundEven(steps * denoise) : undefined };
}

/**
 * As Python rounds.
 * @param {number} value
 */
function roundEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest === 0.5 ? floor + (floor % 2) : Math.round(value);
}

/**
 * Whether two outputs give the same noise levels.
 * @param {Chart} chart
 * @param {Output} one
 * @param {Output} other
 * @returns {"same" | "models" | "other"} `models` where only the model they are computed for is another one
 */
export function compareLevels(chart, one, other) {
  if (sameOutput(one, other)) {
    return "same";
  }
  const [first, second] = [chart.node(one.node), chart.node(other.node)];
  if (first.type !== second.type || !["BasicScheduler", "KarrasScheduler", "ManualSigmas"].includes(first.type)) {
    return "other";
  }
  const names = ["scheduler", "steps", "denoise", "sigmas", "sigma_max", "sigma_min", "rho"];
  if (!names.every((name) => isSame(chart.setting(first, name), chart.setting(second, name)))) {
    return "other";
  }
  const models = [first, second].map((node) => chart.follow(chart.from(node, "model"), node.mode).output);
  return sameOutput(models[0], models[1]) ? "same" : "models";
}

/**
 * @param {Setting} one
 * @param {Setting} other
 */
function isSame(one, other) {
  return same(one, other) || (!one.from && !other.from && equal(one.value, other.value));
}

/**
 * What a model's noise levels are set to by the nodes before it.
 * @param {Chart} chart
 * @param {Output | null} from
 * @param {number} mode
 * @returns {string | null} a text to compare and to show; null where it cannot be told
 */
export function samplingOf(chart, from, mode) {
  const seen = new Set();
  let at = chart.follow(from, mode).output;
  while (at && !seen.has(at.node)) {
    seen.add(at.node);
    const node = chart.node(at.node);
    if (node.type.startsWith("ModelSampling")) {
      const values = Object.entries(node.values).map(([name]) => `${name} ${shown(chart.setting(node, name))}`);
      return values.some((value) => value.endsWith("?")) ? null : [node.type, ...values].join(" ");
    }
    const models = node.inputs.filter((input) => input.from && ["MODEL", "*"].includes(input.type));
    const chosen = chart.switched(node);
    const next = chosen === undefined ? models.filter((input) => input.name === "model")[0]?.from : chosen;
    if (!next) {
      return models.length || node.type === "ComfySwitchNode" || !node.type ? null : "";
    }
    at = chart.follow(next, mode).output;
  }
  return null;
}

/** @param {Setting} setting */
function shown({ value }) {
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value ?? "?");
}

/**
 * The model file behind an output; null where the nodes before it do not name one.
 * @param {Chart} chart
 * @param {Output | null} from
 * @param {number} mode
 * @returns {string | null}
 */
export function modelFile(chart, from, mode) {
  const seen = new Set();
  let at = chart.follow(from, mode).output;
  while (at && !seen.has(at.node)) {
    seen.add(at.node);
    const node = chart.node(at.node);
    const named = FILE_WIDGETS.find((name) => typeof node.values[name] === "string" && !chart.from(node, name));
    if (named) {
      return node.values[named];
    }
    const chosen = chart.switched(node);
    at = chart.follow(chosen === undefined ? chart.from(node, "model") : chosen, mode).output;
  }
  return null;
}
