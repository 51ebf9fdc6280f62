/** Where things lie on the bar: pixels to steps and back, ruler marks, and labels that fit. Pure arithmetic. */

import { general } from "./schedule.js";

/** @typedef {import("./schedule.js").Run} Run */

/** Pixels at the node's own zoom. */
const CHARACTER = 6.2;
const MARK_GAP = 10;
const CHIP_WIDTH = 112;
const TICK_GAP = 4;

export const HEIGHT = { status: 16, bar: 30, ruler: 18, chip: 20, gaps: 10 };

/**
 * The step under `x`.
 * @param {number} x from the left end of the bar
 * @param {number} width of the bar, in the same pixels
 * @param {number} steps
 */
export function stepAt(x, width, steps) {
  return Math.min(Math.max(Math.floor((x / width) * steps), 0), steps - 1);
}

/**
 * The place of `x` in steps, a fraction; snapping rounds it.
 * @param {number} x
 * @param {number} width
 * @param {number} steps
 */
export function positionAt(x, width, steps) {
  return Math.min(Math.max((x / width) * steps, 0), steps);
}

/**
 * @param {number} step
 * @param {number} steps
 */
export function percent(step, steps) {
  return `${(100 * step) / steps}%`;
}

/**
 * The number that stands at a boundary between steps, in the chosen unit.
 * @param {number} boundary
 * @param {string} unit
 * @param {Run} run
 */
export function markText(boundary, unit, run) {
  const at = boundary + (run.firstStep ?? 0);
  if (unit === "timestep" && run.timesteps) {
    return general(Number(run.timesteps[boundary].toFixed(2)));
  }
  if (unit === "noise" && run.noises) {
    return general(Number(run.noises[boundary].toFixed(2)));
  }
  if (unit === "sigma" && run.sigmas) {
    return general(Number(run.sigmas[boundary].toPrecision(3)));
  }
  if (unit === "steps" && run.totalSteps !== null) {
    return general(Number((at / run.totalSteps).toFixed(2)));
  }
  return String(at);
}

/**
 * Marks of the ruler: the smallest round stride at which the numbers do not touch, and both ends.
 * @param {string} unit
 * @param {Run} run
 * @param {number} width of the bar
 * @returns {{step: number, text: string}[]}
 */
export function rulerMarks(unit, run, width) {
  const mark = (/** @type {number} */ step) => ({ step, text: markText(step, unit, run) });
  const widest = Math.max(...[0, run.steps >> 1, run.steps].map((step) => mark(step).text.length), 3);
  const room = Math.max(1, Math.floor(width / (widest * CHARACTER + MARK_GAP)));
  const stride = roundStride(run.steps / room);
  const marks = [];
  for (let step = 0; step <= run.steps - stride * 0.6; step += stride) {
    marks.push(mark(step));
  }
  return [...marks, mark(run.steps)];
}

/** @param {number} least */
function roundStride(least) {
  for (let scale = 1; ; scale *= 10) {
    for (const factor of [1, 2, 4, 5]) {
      if (factor * scale >= least) {
        return factor * scale;
      }
    }
  }
}

/**
 * How many steps lie between two ticks, so that ticks stay apart.
 * @param {number} steps
 * @param {number} width
 */
export function tickStride(steps, width) {
  return roundStride((steps * TICK_GAP) / Math.max(width, 1));
}

/**
 * `text`, or its shorter form, or nothing, whichever fits into `width` pixels.
 * @param {string} text
 * @param {string} shorter
 * @param {number} width
 */
export function fitText(text, shorter, width) {
  const room = Math.floor((width - 6) / CHARACTER);
  if (text.length <= room) {
    return text;
  }
  if (room >= 6) {
    return `${text.slice(0, room - 1)}…`;
  }
  return shorter.length <= room ? shorter : "";
}

/**
 * Columns of the models' chips.
 * @param {number} count
 * @param {number} width
 */
export function chipColumns(count, width) {
  return Math.min(count, Math.max(1, Math.floor(width / CHIP_WIDTH)));
}

/**
 * Height of the whole widget.
 * @param {number} count of models
 * @param {number} width
 */
export function totalHeight(count, width) {
  const rows = Math.ceil(count / chipColumns(count, width));
  return HEIGHT.status + HEIGHT.bar + HEIGHT.ruler + HEIGHT.gaps + rows * HEIGHT.chip;
}

/**
 * Seconds as a person reads them.
 * @param {number} seconds
 */
export function secondsText(seconds) {
  if (seconds > 0 && seconds < 0.0995) {
    return `${Math.round(seconds * 1000)} ms`;
  }
  if (seconds < 9.95) {
    return `${seconds ? seconds.toFixed(seconds < 0.995 ? 2 : 1) : 0} s`;
  }
  if (seconds < 99.5) {
    return `${Math.round(seconds)} s`;
  }
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) {
    return `${minutes}:${String(Math.round(seconds) % 60).padStart(2, "0")} min`;
  }
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")} h`;
}
