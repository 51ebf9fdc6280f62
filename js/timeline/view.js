/** What the bar shows of a reading and of what a person does to it. Pure: no page, no graph, no state. */

import { boundariesOf, canAdd, countsSteps } from "./edit.js";
import { rulerMarks } from "./layout.js";
import { usualOrders } from "./orders.js";
import { parse, parseLoosely } from "./reading.js";
import { ScheduleError, general, intervalsOf, resolve, runOf } from "./schedule.js";

/** @typedef {import("../live/state.js").LiveState} LiveState */
/** @typedef {import("./reading.js").Reading} Reading */
/** @typedef {import("./schedule.js").Run} Run */
/** @typedef {import("./schedule.js").Spec} Spec */

/**
 * What a person does at the moment, and what the server says of the last run.
 * @typedef {object} Situation
 * @property {number} width of the bar
 * @property {number | null} hover step under the pointer
 * @property {number | null} brush stage that a drag paints
 * @property {{index: number | null, leaving: boolean} | null} gesture the drag: of which handle, if of one, and whether
 *   letting go removes it
 * @property {LiveState | null} live
 */

/**
 * @typedef {object} View
 * @property {string | null} error a sentence in place of the bar
 * @property {string} status
 * @property {number} width of the bar
 * @property {number} steps
 * @property {import("./schedule.js").Interval[]} intervals
 * @property {string[]} names of the stages
 * @property {number[]} counts steps of each stage; empty where they are not known
 * @property {{step: number, text: string}[]} marks of the ruler
 * @property {{boundary: number, label: string, text: string}[]} handles
 * @property {number | null} dragged handle
 * @property {boolean} leaving whether letting go removes the dragged handle
 * @property {number | null} hover step under the pointer
 * @property {boolean} hasOneSplit always: none can be added or removed
 * @property {boolean} canPaint
 * @property {number | null} brush stage that a drag paints
 * @property {boolean} canClear whether there is a pattern that the node itself holds
 * @property {{name: string, pattern: string}[]} orders that can be written into the pattern
 * @property {LiveState | null} live
 * @property {boolean} editing whether a drag is going on, in which the steps matter more than the last run
 */

/** A pattern with more hand-overs has no room for handles; it is painted instead. */
const MOST_HANDLES = 40;

/**
 * @param {Reading} reading
 * @param {Situation} situation
 * @returns {View}
 */
export function viewOf(reading, situation) {
  const { kind, names, unit } = reading;
  const { width, hover, brush, gesture } = situation;
  const live = figuresOf(reading, situation.live);
  const told = runTold(reading, situation.live);
  const run = told ?? reading.run;
  const view = {
    error: null,
    status: reading.note,
    width,
    steps: run.steps,
    intervals: [],
    names,
    counts: [],
    marks: [],
    handles: [],
    dragged: gesture?.index ?? null,
    leaving: gesture?.leaving ?? false,
    hover: hover !== null && hover < run.steps ? hover : null,
    hasOneSplit: kind.isNumber,
    canPaint: reading.canPaint,
    brush,
    canClear: reading.pattern.trim() !== "" && !reading.patternLocked,
    orders: reading.canPaint && !reading.locked && countsSteps(run) ? usualOrders(names.length, run.steps) : [],
    live,
    editing: gesture !== null,
  };
  try {
    const spec = told ? { stages: names.length, splits: [], unit, pattern: told.pattern } : parse(reading);
    const owners = resolve(spec, run);
    const note = told ? `${run.steps} steps${live?.finished ? " in the last run" : ""}` : reading.note;
    return {
      ...view,
      status: statusText({ ...reading, run, note }, situation, spec, owners),
      intervals: intervalsOf(owners),
      counts: names.map((_, stage) => owners.filter((owner) => owner === stage).length),
      marks: rulerMarks(unit, run, width),
      handles: reading.locked ? [] : handlesOf(spec, run, owners, names),
    };
  } catch (error) {
    if (!(error instanceof ScheduleError)) {
      throw error;
    }
    const spec = parseLoosely(reading);
    const lacks = spec !== null && !kind.isNumber && !reading.locked && canAdd(spec, run);
    return { ...view, error: error.message, status: lacks ? "double click the bar to add a split" : reading.note };
  }
}

/**
 * The figures of the last run, where it was of the same models; they are by stage.
 * @param {Reading} reading
 * @param {LiveState | null} live
 */
function figuresOf({ inputs }, live) {
  return live?.names.join() === inputs.join() ? live : null;
}

/**
 * The last run with its pattern, where a text comes over a link and is known only in a run.
 * @param {Reading} reading
 * @param {LiveState | null} live
 * @returns {(Run & Pick<Spec, "pattern">) | null}
 */
export function runTold(reading, live) {
  const figures = reading.unknown ? figuresOf(reading, live) : null;
  if (!figures) {
    return null;
  }
  const { steps, sigmas, timesteps, noises, intervals } = figures;
  const pattern = intervals.map(([stage, count]) => ({ stage, steps: count }));
  return { ...runOf(steps, { sigmas: sigmas ?? null, timesteps: timesteps ?? null, noises: noises ?? null }), pattern };
}

/**
 * @param {Reading} reading
 * @param {Situation} situation
 * @param {Spec} spec
 * @param {number[]} owners
 */
function statusText({ run, note, names, sure, unit, locked, canPaint }, { gesture, hover, brush }, spec, owners) {
  const index = gesture?.index ?? null;
  if (index !== null && gesture?.leaving) {
    return "let go to remove this split";
  }
  if (index !== null && !spec.pattern.length) {
    const value = `${unit === "steps" ? "fraction" : unit} ${general(spec.splits[index])}`;
    return `${value} · after step ${boundariesOf(spec, run)?.[index]} of ${run.steps}`;
  }
  if (hover !== null && hover < run.steps) {
    const about = sure ? "" : "≈ ";
    const level = (/** @type {string} */ sign, /** @type {number[] | null} */ values) => {
      return values ? ` · ${sign} ${about}${general(Number(values[hover].toPrecision(4)))}` : "";
    };
    const step = `step ${hover + (run.firstStep ?? 0) + 1}`;
    return `${step}${level("t", run.timesteps)}${level("σ", run.sigmas)} · ${names[owners[hover]]}`;
  }
  if (locked) {
    return `${note} · set over a link`;
  }
  if (canPaint && !countsSteps(run) && (spec.pattern.length || brush !== null)) {
    return `${note} of a longer schedule, which a pattern counts`;
  }
  if (brush !== null) {
    return `drag over the bar to paint ${names[brush]}`;
  }
  return note;
}

/**
 * @param {Spec} spec
 * @param {Run} run
 * @param {number[]} owners
 * @param {string[]} names
 * @returns {View["handles"]}
 */
function handlesOf(spec, run, owners, names) {
  const bounds = boundariesOf(spec, run) ?? [];
  if (bounds.length > MOST_HANDLES) {
    return [];
  }
  return bounds.map((boundary, index) => {
    const [before, after] = spec.pattern.length
      ? [owners[boundary - 1], owners[boundary]]
      : [index, index + 1];
    const value = spec.pattern.length ? "" : `${general(spec.splits[index])}, `;
    return {
      boundary,
      label: `Split between ${names[before]} and ${names[after]}`,
      text: `${value}after step ${boundary} of ${run.steps}`,
    };
  });
}
