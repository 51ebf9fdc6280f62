/** One timer watches the widgets and the graph for all timelines that are on screen. */

/** Changes from outside (typing, undo, another node's widgets) show within this time. */
const WATCH_MS = 150;

/** @typedef {{ look: () => void }} Watched */

/** @type {Set<Watched>} */
const shown = new Set();
/** @type {ReturnType<typeof setInterval> | null} */
let watch = null;

/**
 * @param {Watched} timeline
 * @param {boolean} isShown
 */
export function keepWatch(timeline, isShown) {
  if (isShown) {
    shown.add(timeline);
  } else {
    shown.delete(timeline);
  }
  if (shown.size && watch === null) {
    watch = setInterval(() => shown.forEach((each) => each.look()), WATCH_MS);
  }
  if (!shown.size && watch !== null) {
    clearInterval(watch);
    watch = null;
  }
}
