/** Keys on a handle: arrows, pages and ends move it, Delete removes it, Escape takes a drag back. */

import { boundariesOf, moveBoundary, nudge, removeBoundary } from "./edit.js";
import { parseLoosely } from "./reading.js";

/** @typedef {import("./timeline.js").Timeline} Timeline */

const PAGE_STEPS = 5;

/** @type {Record<string, number>} steps that a key moves a handle by */
const MOVES = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -PAGE_STEPS,
  PageUp: PAGE_STEPS,
  Home: -Infinity,
  End: Infinity,
};

/** @param {Timeline} timeline */
export function listenToKeys(timeline) {
  timeline.drawing.root.addEventListener("keydown", (event) => {
    if (isUsed(timeline, event)) {
      event.preventDefault();
      event.stopPropagation(); // Delete would remove the node
    }
  });
}

/**
 * @param {Timeline} timeline
 * @param {KeyboardEvent} event
 * @returns {boolean} whether the key means something here
 */
function isUsed(timeline, event) {
  if (event.key === "Escape" && (timeline.gesture || timeline.brush !== null)) {
    timeline.brush = null;
    timeline.pointer.finish(false);
    timeline.draw();
    return true;
  }
  const index = /** @type {HTMLElement} */ (event.target).dataset.index;
  if (index === undefined || event.ctrlKey || event.metaKey || event.altKey) {
    return false;
  }
  return isUsedOnHandle(timeline, event, Number(index));
}

/**
 * @param {Timeline} timeline
 * @param {KeyboardEvent} event
 * @param {number} index
 */
function isUsedOnHandle(timeline, { key, shiftKey }, index) {
  const reading = timeline.read();
  const spec = parseLoosely(reading);
  const bounds = spec && boundariesOf(spec, reading.run);
  if (!spec || !bounds || timeline.gesture) {
    return false;
  }
  if (key in MOVES) {
    const by = MOVES[key];
    const fine = shiftKey && Math.abs(by) === 1;
    const { steps } = reading.run;
    const next = fine
      ? nudge(spec, reading.run, index, by > 0 ? 1 : -1)
      : moveBoundary(spec, reading.run, index, bounds[index] + Math.min(Math.max(by, -steps), steps));
    timeline.edit(() => timeline.write(next));
    return true;
  }
  if (key === "Delete" || key === "Backspace") {
    if (!reading.kind.isNumber) {
      timeline.edit(() => timeline.write(removeBoundary(spec, reading.run, index)));
    }
    return true; // or the page would remove the node
  }
  return false;
}
