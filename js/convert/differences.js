/** What one loop will do in another way than the chain did. */

import { nameOf, same } from "./chart.js";
import { compareLevels, numberOf, samePosition, samplingOf } from "./levels.js";

/**
 * @typedef {import("./chart.js").Chart} Chart
 * @typedef {import("./chart.js").ChartNode} ChartNode
 * @typedef {import("./chain.js").Chain} Chain
 * @typedef {import("./chain.js").Part} Part
 * @typedef {import("./sentences.js").Sentence} Sentence
 */

/** Samplers without memory or noise of their own: a chain of them draws what one loop draws. */
const EXACT = ["euler", "ddim", "euler_cfg_pp"];

/**
 * @param {Chart} chart
 * @param {Chain} chain
 * @returns {Sentence[]}
 */
export function differencesOf(chart, { parts }) {
  const found = parts.slice(1).flatMap((part, index) => between(chart, parts[index], part));
  const name = samplerName(chart, parts[parts.length - 1].node);
  if (!EXACT.includes(name)) {
    found.push({ kind: "history", values: { x: name } });
  }
  return found;
}

/**
 * @param {Chart} chart
 * @param {Part} first
 * @param {Part} second
 * @returns {Sentence[]}
 */
function between(chart, first, second) {
  const titles = { a: nameOf(first.node), b: nameOf(second.node) };
  const found = first.cuts.length ? ofSigmas(chart, first, second) : ofSteps(chart, first, second);
  return [...found, ...ofNoise(chart, second), ...ofPosition(chart, first, second), ...ofModels(chart, first, second)].map(
    ({ kind, values }) => ({ kind, values: { ...titles, ...values } }),
  );
}

/**
 * @param {Chart} chart
 * @param {Part} first
 * @param {Part} second
 */
function ofSteps(chart, { node: a }, { node: b }) {
  /** @type {Sentence[]} */
  const found = [];
  for (const [name, kind] of [["steps", "steps"], ["sampler_name", "sampler"], ["scheduler", "scheduler"]]) {
    const [one, other] = [chart.setting(a, name), chart.setting(b, name)];
    if (!same(one, other)) {
      found.push({ kind, values: { x: one.value ?? "?", y: other.value ?? "?" } });
    }
  }
  if (chart.setting(a, "return_with_leftover_noise").value !== "enable") {
    found.push({ kind: "cleaned", values: {} });
  }
  return found;
}

/**
 * @param {Chart} chart
 * @param {Part} first
 * @param {Part} second
 */
function ofSigmas(chart, first, second) {
  /** @type {Sentence[]} */
  const found = [];
  const [x, y] = [samplerName(chart, first.node), samplerName(chart, second.node)];
  if (x !== y) {
    found.push({ kind: "sampler", values: { x, y } });
  }
  if (compareLevels(chart, first.cuts[0].output, second.cuts[0].output) === "models") {
    found.push({ kind: "levelsModel", values: {} });
  }
  return found;
}

/**
 * @param {Chart} chart
 * @param {Part} second
 * @returns {Sentence[]}
 */
function ofNoise(chart, { node }) {
  const adds = addsNoise(chart, node);
  if (adds === false) {
    return [];
  }
  return [{ kind: adds ? "noise" : "noNoise", values: {} }];
}

/**
 * @param {Chart} chart
 * @param {ChartNode} node
 * @returns {boolean | undefined} undefined where that is known only in a run
 */
function addsNoise(chart, node) {
  if (node.type === "SamplerCustomAdvanced") {
    const { output } = chart.follow(chart.from(node, "noise"), node.mode);
    const source = output && chart.node(output.node);
    return source?.type === "DisableNoise" ? false : source?.type === "RandomNoise" ? true : undefined;
  }
  const { value } = chart.setting(node, "add_noise");
  return value === undefined ? undefined : value === true || value === "enable";
}

/**
 * @param {Chart} chart
 * @param {Part} first
 * @param {Part} second
 * @returns {Sentence[]}
 */
function ofPosition(chart, { node, range }, { range: { start } }) {
  const end = range.end ?? [chart.setting(node, "steps")];
  if (samePosition(end, start)) {
    return [];
  }
  const [x, y] = [numberOf(end), numberOf(start)];
  if (x === undefined || y === undefined) {
    return [{ kind: "gapUnknown", values: {} }];
  }
  return [{ kind: "gap", values: { x, y } }];
}

/**
 * @param {Chart} chart
 * @param {Part} first
 * @param {Part} second
 * @returns {Sentence[]}
 */
function ofModels(chart, first, second) {
  if (first.cuts.length) {
    return []; // the levels come from a node of their own
  }
  const [x, y] = [first, second].map(({ node }) => samplingOf(chart, chart.from(node, "model"), node.mode));
  return x === null || y === null || x === y ? [] : [{ kind: "levels", values: { x: x || "-", y: y || "-" } }];
}

/**
 * @param {Chart} chart
 * @param {ChartNode} node
 * @returns {string}
 */
function samplerName(chart, node) {
  if (node.type === "KSamplerAdvanced") {
    return String(chart.setting(node, "sampler_name").value ?? "?");
  }
  const { output } = chart.follow(chart.from(node, "sampler"), node.mode);
  const source = output && chart.node(output.node);
  if (!source) {
    return "?";
  }
  return source.type === "KSamplerSelect" ? String(chart.setting(source, "sampler_name").value ?? "?") : source.title;
}
