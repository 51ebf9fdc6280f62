/**
 * What a person does to a schedule: pure functions from one spec and run to the next spec. A boundary is a number of
 * steps 0 ... run.steps: where, on the bar, one model hands over to the next.
 */

import {
  countsLevels,
  intervalsOf,
  isPast,
  isShare,
  levelsIn,
  levelsAndSplits,
  resolve,
  roundHalfUp,
  stepsOfPattern,
} from "./schedule.js";

/** @typedef {import("./schedule.js").Spec} Spec */
/** @typedef {import("./schedule.js").Run} Run */

/** The FLOAT widget of the samplers keeps four decimals, and so do all fractions written here. */
const DECIMALS = 4;
/** Of a value set without snapping: decimals of a fraction or t, significant digits of a sigma. */
const FINE_DECIMALS = 3;
const FINE_DIGITS = 4;

/**
 * Where the splits lie on the bar, or null where they have no place on it: noise that rises, levels not known yet, or
 * counts of steps that this run is only a later part of.
 * @param {Spec} spec
 * @param {Run} run
 * @returns {number[] | null}
 */
export function boundariesOf(spec, run) {
  if (spec.pattern.length) {
    if (!countsSteps(run)) {
      return null;
    }
    return intervalsOf(resolve(spec, run)).slice(1).map((interval) => interval.start);
  }
  if (!canSplit(spec.unit, run)) {
    return null;
  }
  return spec.splits.map((split) => boundaryOf(split, spec.unit, run));
}

/**
 * Whether the steps of the whole schedule are those of the bar, as far as they are run, so that a pattern can be painted.
 * @param {Run} run
 */
export function countsSteps({ steps, firstStep, totalSteps }) {
  return firstStep === 0 && (totalSteps === null || totalSteps === steps);
}

/**
 * @param {string} unit
 * @param {Run} run
 */
export function canSplit(unit, run) {
  if (unit === "step") {
    return run.firstStep !== null;
  }
  if (!countsLevels(unit, run)) {
    return true;
  }
  const levels = levelsIn(unit, run);
  if (!levels || (unit === "steps" && !run.sigmaOfFraction)) {
    return false;
  }
  return levels.every((level, index) => index === 0 || levels[index - 1] >= level);
}

/**
 * @param {number} split
 * @param {string} unit
 * @param {Run} run
 */
function boundaryOf(split, unit, run) {
  if (countsLevels(unit, run)) {
    const [levels, [level]] = levelsAndSplits({ stages: 2, splits: [split], unit, pattern: [] }, run);
    const found = levels.slice(0, -1).findIndex((start) => isPast(start, level, unit));
    return found < 0 ? run.steps : found;
  }
  const step = unit === "steps" ? roundHalfUp(split * Number(run.totalSteps)) : split;
  return clamp(step - Number(run.firstStep), 0, run.steps);
}

/**
 * The roundest number in `unit` that puts a split on `boundary`.
 * @param {number} boundary
 * @param {string} unit
 * @param {Run} run
 * @returns {number}
 */
export function splitAt(boundary, unit, run) {
  if (unit === "step") {
    return boundary + Number(run.firstStep);
  }
  if (!countsLevels(unit, run)) {
    return roundFraction(boundary + Number(run.firstStep), Number(run.totalSteps));
  }
  if (unit === "steps") {
    return fractionAtLevel(boundary, run);
  }
  if (boundary === run.steps) {
    return 0;
  }
  if (boundary === 0 && isShare(unit)) {
    return 1;
  }
  const levels = /** @type {number[]} */ (levelsIn(unit, run));
  const high = boundary > 0 ? levels[boundary - 1] : Infinity;
  return roundest(levels[boundary], high, (value) => boundaryOf(value, unit, run) === boundary);
}

/**
 * @param {number} step
 * @param {number} total
 */
function roundFraction(step, total) {
  for (let decimals = 2; decimals <= DECIMALS; decimals++) {
    const fraction = Number((step / total).toFixed(decimals));
    if (roundHalfUp(fraction * total) === step) {
      return fraction;
    }
  }
  return step / total;
}

/**
 * The roundest fraction whose noise level falls on `boundary`.
 * @param {number} boundary
 * @param {Run} run
 */
function fractionAtLevel(boundary, run) {
  if (boundary === 0 && boundaryOf(0, "steps", run) === 0) {
    return 0;
  }
  if (boundary === run.steps) {
    return 1;
  }
  for (let decimals = 2; decimals <= DECIMALS; decimals++) {
    const scale = 10 ** decimals;
    let [low, high] = [0, scale]; // the boundary moves to the right as the fraction grows
    while (low < high) {
      const middle = (low + high) >> 1;
      if (boundaryOf(middle / scale, "steps", run) < boundary) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (boundaryOf(low / scale, "steps", run) === boundary) {
      return low / scale;
    }
  }
  return 1;
}

/**
 * The number with the fewest decimals above `low`, up to `high`, that `fits`.
 * @param {number} low
 * @param {number} high
 * @param {(value: number) => boolean} fits
 */
function roundest(low, high, fits) {
  for (let decimals = 0; decimals <= 2 * DECIMALS; decimals++) {
    const scale = 10 ** decimals;
    const value = (Math.floor(low * scale + 1e-9) + 1) / scale;
    if (value <= high && fits(value)) {
      return value;
    }
  }
  return high;
}

/**
 * The value in `unit` at any place on the bar, not snapped to steps.
 * @param {number} position in steps
 * @param {string} unit
 * @param {Run} run
 */
export function valueAt(position, unit, run) {
  const place = clamp(position, 0, run.steps);
  if (unit === "step") {
    return Math.round(place) + Number(run.firstStep);
  }
  if (unit === "steps") {
    if (run.totalSteps !== null) {
      return Number(((place + Number(run.firstStep)) / run.totalSteps).toFixed(FINE_DECIMALS));
    }
    return splitAt(Math.round(place), unit, run);
  }
  const levels = /** @type {number[]} */ (levelsIn(unit, run));
  const step = Math.min(Math.floor(place), run.steps - 1);
  const level = levels[step] + (place - step) * (levels[step + 1] - levels[step]);
  return isShare(unit) ? Number(level.toFixed(FINE_DECIMALS)) : Number(level.toPrecision(FINE_DIGITS));
}

/**
 * Move one boundary; it stops at its neighbours.
 * @param {Spec} spec
 * @param {Run} run
 * @param {number} index
 * @param {number} position in steps
 * @param {boolean} [fine] do not snap to steps
 * @returns {Spec}
 */
export function moveBoundary(spec, run, index, position, fine = false) {
  const bounds = boundariesOf(spec, run);
  if (!bounds) {
    return spec;
  }
  const apart = spec.pattern.length ? 1 : 0;
  const low = index > 0 ? bounds[index - 1] + apart : apart;
  const high = index < bounds.length - 1 ? bounds[index + 1] - apart : run.steps - apart;
  const place = clamp(position, low, high);
  if (spec.pattern.length) {
    return movePattern(spec, run, bounds[index], Math.round(place));
  }
  const value = fine ? valueAt(place, spec.unit, run) : splitAt(Math.round(place), spec.unit, run);
  return withSplit(spec, index, value);
}

/**
 * Move one split by a small amount of its own unit.
 * @param {Spec} spec
 * @param {Run} run
 * @param {number} index
 * @param {1 | -1} direction to the right of the bar, or to the left
 * @returns {Spec}
 */
export function nudge(spec, run, index, direction) {
  const { unit, splits } = spec;
  if (spec.pattern.length || unit === "step") {
    const bounds = boundariesOf(spec, run);
    return bounds ? moveBoundary(spec, run, index, bounds[index] + direction) : spec;
  }
  const sign = unit === "steps" ? direction : -direction;
  const by = unit === "sigma" ? Math.max(splits[index] * 0.01, 0.001) : 10 ** -FINE_DECIMALS;
  const moved = splits[index] + sign * by;
  const value = unit === "sigma" ? Number(moved.toPrecision(FINE_DIGITS)) : Number(moved.toFixed(DECIMALS));
  return withSplit(spec, index, clamp(value, 0, unit === "sigma" ? Infinity : 1));
}

/**
 * @param {Spec} spec
 * @param {number} index
 * @param {number} value kept in order with its neighbours
 * @returns {Spec}
 */
function withSplit(spec, index, value) {
  const { splits, unit } = spec;
  const rises = unit === "steps" || unit === "step";
  const [before, after] = [splits[index - 1] ?? (rises ? 0 : Infinity), splits[index + 1] ?? (rises ? Infinity : 0)];
  const kept = clamp(value, Math.min(before, after), Math.max(before, after));
  return { ...spec, splits: splits.map((split, at) => (at === index ? kept : split)) };
}

/**
 * @param {Spec} spec
 * @param {Run} run
 * @param {number} from
 * @param {number} to
 * @returns {Spec}
 */
function movePattern(spec, run, from, to) {
  const owners = resolve(spec, run);
  const stage = to < from ? owners[from] : owners[from - 1];
  return withOwners(spec, owners.fill(stage, Math.min(from, to), Math.max(from, to)));
}

/**
 * One split more. Of a pattern, the interval is cut and its second part goes to the next model.
 * @param {Spec} spec
 * @param {Run} run
 * @param {number} boundary
 * @returns {Spec}
 */
export function addBoundary(spec, run, boundary) {
  if (!canAdd(spec, run)) {
    return spec;
  }
  if (spec.pattern.length) {
    const owners = resolve(spec, run);
    const interval = intervalsOf(owners).find(({ start, stop }) => start < boundary && boundary < stop);
    if (!interval) {
      return spec;
    }
    return withOwners(spec, owners.fill((interval.stage + 1) % spec.stages, boundary, interval.stop));
  }
  const value = splitAt(boundary, spec.unit, run);
  const rises = spec.unit === "steps" || spec.unit === "step";
  return { ...spec, splits: [...spec.splits, value].sort((a, b) => (rises ? a - b : b - a)) };
}

/**
 * Whether a model is connected that no split hands over to yet; a pattern can be cut anywhere if it fits the run.
 * @param {Spec} spec
 * @param {Run} run
 */
export function canAdd(spec, run) {
  if (spec.pattern.length) {
    return countsSteps(run) && stepsOfPattern(spec.pattern) === run.steps;
  }
  return spec.splits.length < spec.stages - 1 && canSplit(spec.unit, run);
}

/**
 * The handle that is meant where several lie at one place: at the end of the run only the first of them can move.
 * @param {Spec} spec
 * @param {Run} run
 * @param {number} index
 */
export function meantHandle(spec, run, index) {
  const bounds = boundariesOf(spec, run);
  return bounds && bounds[index] >= run.steps ? bounds.findIndex((bound) => bound >= run.steps) : index;
}

/**
 * One split fewer. Of a pattern, the interval after it goes to the model before it.
 * @param {Spec} spec
 * @param {Run} run
 * @param {number} index
 * @returns {Spec}
 */
export function removeBoundary(spec, run, index) {
  if (!spec.pattern.length) {
    return { ...spec, splits: spec.splits.filter((_, at) => at !== index) };
  }
  const owners = resolve(spec, run);
  const intervals = intervalsOf(owners);
  const { start, stop } = intervals[index + 1];
  return withOwners(spec, owners.fill(intervals[index].stage, start, stop));
}

/**
 * Give the steps from `from` to `to`, both included, to one model.
 * @param {Spec} spec
 * @param {number[]} owners
 * @param {number} from
 * @param {number} to
 * @param {number} stage
 * @returns {Spec}
 */
export function paint(spec, owners, from, to, stage) {
  return withOwners(spec, [...owners].fill(stage, Math.min(from, to), Math.max(from, to) + 1));
}

/**
 * @param {Spec} spec
 * @param {number[]} owners
 * @returns {Spec}
 */
function withOwners(spec, owners) {
  return { ...spec, pattern: intervalsOf(owners).map(({ stage, start, stop }) => ({ stage, steps: stop - start })) };
}

/** @param {Spec} spec */
export function patternText({ pattern }) {
  return pattern.map(({ stage, steps }) => `${stage + 1}x${steps}`).join(" ");
}

/** @param {Spec} spec */
export function splitsText({ splits }) {
  return splits.join(", ");
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
