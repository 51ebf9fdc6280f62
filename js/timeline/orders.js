/** The usual orders of models, as patterns with the steps of a run filled in: a start to edit. Pure. */

import { patternOf, roundHalfUp } from "./schedule.js";

/** Part of the steps that all models but the finishing one share. */
const SMALL = 0.4;
/** Part of the steps that the large model has before them, where it begins (FlowBlending, arXiv 2512.24724). */
const EARLY = 0.2;

/**
 * @param {number} stages in run order, the large model last
 * @param {number} steps
 * @returns {{name: string, pattern: string}[]} those in which every model has a step
 */
export function usualOrders(stages, steps) {
  if (stages < 2) {
    return [];
  }
  const small = smallModels(stages, roundHalfUp(SMALL * steps));
  const large = (/** @type {number} */ count) => new Array(Math.max(count, 0)).fill(stages - 1);
  const early = roundHalfUp(EARLY * steps);
  const rest = steps - small.length;
  const orders = {
    "small, large": [...small, ...large(rest)],
    "large, small, large": [...large(early), ...small, ...large(rest - early)],
    "large, small": [...large(rest), ...[...small].reverse()],
    interleaved: Array.from({ length: steps }, (_, step) => (((step - steps) % stages) + stages) % stages),
  };
  return Object.entries(orders)
    .filter(([, owners]) => owners.length === steps && new Set(owners).size === stages)
    .map(([name, owners]) => ({ name, pattern: patternOf(owners) }));
}

/**
 * The steps of all models but the last, shared out evenly.
 * @param {number} stages
 * @param {number} steps
 * @returns {number[]}
 */
function smallModels(stages, steps) {
  return Array.from({ length: steps }, (_, step) => Math.floor((step * (stages - 1)) / steps));
}
