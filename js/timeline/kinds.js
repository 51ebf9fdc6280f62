/** The nodes that hold a schedule, and how each of them writes it. */

import { stageInputs } from "./graph.js";

/** @typedef {import("./graph.js").GraphNode} GraphNode */

/**
 * How a node writes its schedule.
 * @typedef {object} Kind
 * @property {string} splits name of the widget with the splits: a text, or one number
 * @property {boolean} isNumber
 * @property {boolean} samples whether the node itself is the sampler
 * @property {string} final input of the finishing stage
 * @property {(node: GraphNode) => string[]} stages inputs in run order
 */

/** @type {Kind} */
const SAMPLER = {
  splits: "fraction",
  isNumber: true,
  samples: true,
  final: "model",
  stages: () => ["small_model", "model"],
};

/**
 * @param {string} prefix
 * @param {string} final
 * @returns {Kind}
 */
function joining(prefix, final) {
  const inputs = { prefix, first: `${prefix}1`, final };
  return { splits: "splits", isNumber: false, samples: false, final, stages: (node) => stageInputs(node, inputs) };
}

/** @type {Record<string, Kind>} by node id */
export const KINDS = {
  TStitchKSampler: SAMPLER,
  TStitchKSamplerAdvanced: SAMPLER,
  TStitchModelSchedule: joining("model_", "final_model"),
  TStitchGuiders: joining("guider_", "final_guider"),
};
