/** Everything the bar depends on, read afresh from the node's texts and the graph around it. Reads, never writes. */

import { downstreamRun, isLinked, modelName, planOf, samplingOf, sourcesOf, unknownSetting, valueOf, widgetOf } from "./graph.js";
import { plannedRun } from "./levels.js";
import { ScheduleError, checkSplits, parseSpec, readNumber, readSplits, runOf, stepsOfPattern } from "./schedule.js";

/** @typedef {import("./graph.js").GraphNode} GraphNode */
/** @typedef {import("./kinds.js").Kind} Kind */
/** @typedef {import("./levels.js").LevelsCache} LevelsCache */
/** @typedef {import("./schedule.js").Run} Run */
/** @typedef {import("./schedule.js").Spec} Spec */

/**
 * @typedef {object} Reading
 * @property {Kind} kind of the node
 * @property {string[]} inputs of the stages, in run order
 * @property {string[]} names of the stages' models
 * @property {string} unit
 * @property {string} pattern
 * @property {string} splits
 * @property {Run} run
 * @property {string} note where the steps come from
 * @property {boolean} sure whether the noise levels are those of the models that are connected
 * @property {string} key fingerprint of the graph: all that the noise levels of the run depend on
 * @property {boolean} canPaint whether the node has a pattern
 * @property {boolean} locked whether one of the texts comes over a link
 * @property {boolean} patternLocked whether the pattern does
 * @property {string | undefined} unknown the text whose value is known only in a run
 */

/**
 * Noise levels that a run has measured, and the fingerprint of its graph.
 * @typedef {{key: string | null, sigmas: number[], timesteps: number[], noises: number[] | null}} Measured
 */

const ASSUMED_STEPS = 20;

/**
 * @param {GraphNode} node
 * @param {Kind} kind
 * @param {Pick<LevelsCache, "get">} levels
 * @param {Measured | null} last levels of the last run
 * @returns {Reading}
 */
export function read(node, kind, levels, last) {
  const inputs = kind.stages(node);
  const { plan, sampler } = kind.samples ? { plan: planOf(node), sampler: node } : downstreamRun(node);
  const sampling = samplingOf(node, kind.final);
  const key = JSON.stringify([plan, inputs, sourcesOf(sampler, node, kind.final)]);
  const canPaint = widgetOf(node, "pattern") !== undefined;
  const unit = String(valueOf(node, "unit") ?? "steps");
  const pattern = canPaint ? String(valueOf(node, "pattern") ?? "") : "";
  const splits = String(valueOf(node, kind.splits) ?? "");
  const planned = plan
    ? plannedRun(plan, levels.get(plan, sampling), kind.samples)
    : runOf(assumedSteps(splits, unit, pattern, inputs.length));
  const measured = last?.key === key && last.sigmas.length === planned.steps + 1 ? last : null;
  const setting = plan ? unknownSetting(sampler) : undefined;
  const texts = [kind.splits, "unit", ...(canPaint ? ["pattern"] : [])];
  return {
    kind,
    inputs,
    names: inputs.map((input) => modelName(node, input)),
    unit,
    pattern,
    splits,
    run: measured ? { ...planned, ...levelsOf(measured) } : planned,
    note: stepsNote(planned.steps, plan !== null, kind.samples || sampler !== node, setting),
    sure: (sampling.sure && setting === undefined) || measured !== null,
    key,
    canPaint,
    locked: texts.some((name) => isLinked(node, name)),
    patternLocked: isLinked(node, "pattern"),
    unknown: texts.find((name) => valueOf(node, name) === undefined),
  };
}

/** @param {Measured} measured */
function levelsOf({ sigmas, timesteps, noises = null }) {
  return { sigmas, timesteps, noises };
}

/**
 * The steps of a run that nothing tells: as many as the texts speak of, or the host's default.
 * @param {string} splits
 * @param {string} unit
 * @param {string} pattern
 * @param {number} stages
 */
function assumedSteps(splits, unit, pattern, stages) {
  try {
    const spec = parseSpec(splits, unit, pattern, stages);
    const last = unit === "step" ? Math.max(0, ...spec.splits) : 0;
    return stepsOfPattern(spec.pattern) || Math.max(ASSUMED_STEPS, last);
  } catch {
    return ASSUMED_STEPS; // the sentence comes from where the texts are shown
  }
}

/**
 * @param {number} steps
 * @param {boolean} planned whether the sampler tells them
 * @param {boolean} connected whether there is a sampler
 * @param {string | undefined} setting one whose value is known only in a run
 */
function stepsNote(steps, planned, connected, setting) {
  const count = `${steps} ${steps === 1 ? "step" : "steps"}`;
  if (!planned) {
    return `${count} assumed: ${connected ? "the sampler's are known only in a run" : "connect a sampler"}`;
  }
  return setting === undefined ? count : `${count}; ${setting} comes over a link`;
}

/**
 * @param {Reading} reading
 * @returns {Spec}
 * @throws {ScheduleError}
 */
export function parse({ kind, names, unit, pattern, splits, unknown }) {
  const stages = names.length;
  if (unknown) {
    throw new ScheduleError(`${unknown} comes over a link, so the bar cannot show it before the run.`);
  }
  if (!kind.isNumber) {
    return parseSpec(splits, unit, pattern, stages);
  }
  const split = readNumber(kind.splits, splits);
  checkSplits([split], unit, kind.splits);
  return { stages, splits: [split], unit, pattern: [] };
}

/**
 * As `parse`, but also where there are fewer splits than the models need, so that one can be added.
 * @param {Reading} reading
 * @returns {Spec | null}
 */
export function parseLoosely(reading) {
  try {
    return parse(reading);
  } catch {
    // The sentence is on the bar already.
  }
  try {
    if (reading.pattern.trim()) {
      return null;
    }
    const splits = readSplits(reading.splits);
    checkSplits(splits, reading.unit);
    return { stages: reading.names.length, splits, unit: reading.unit, pattern: [] };
  } catch {
    return null;
  }
}
