/** Adds the timeline as a widget to the nodes that hold a schedule. */

import { widgetOf } from "./graph.js";
import { KINDS } from "./kinds.js";
import { NAME, Timeline } from "./timeline.js";

/** @typedef {import("../live/state.js").LiveState} LiveState */
/** @typedef {import("./graph.js").GraphNode} GraphNode */

const TYPE = "TSTITCH_TIMELINE";
const MARGIN = 8;

/** The style sheet, for the widget's own element: the page's head is everyone's. */
function styleLink() {
  const link = document.createElement("link");
  return Object.assign(link, { rel: "stylesheet", href: new URL("./timeline.css", import.meta.url).href });
}

/**
 * Add the timeline to a new node that has a schedule; does nothing on others.
 * @param {GraphNode} node
 * @returns {any} the widget, or null; it has `setLive(state: LiveState | null)`, and `levelsKey()` of a run that begins
 */
export function addTimeline(node) {
  const kind = KINDS[node.comfyClass];
  if (!kind || !node.addDOMWidget || widgetOf(node, NAME)) {
    return null;
  }
  const timeline = new Timeline(node, kind);
  timeline.drawing.root.append(styleLink());
  const height = () => Number(timeline.height) + 2 * MARGIN;
  const widget = node.addDOMWidget(NAME, TYPE, timeline.drawing.root, {
    serialize: false,
    hideOnZoom: false,
    hideInPanel: true, // newer pages would draw an empty row there, and give the bar the panel's width
    margin: MARGIN,
    getMinHeight: height,
    getMaxHeight: height,
    getValue: () => "",
  });
  widget.serialize = false;
  widget.setLive = (/** @type {LiveState | null} */ state) => timeline.setLive(state);
  widget.levelsKey = () => timeline.takeKey();
  widget.afterQueued = () => timeline.noteQueued(); // the page calls it
  const { onRemoved } = node;
  node.onRemoved = function (/** @type {any[]} */ ...args) {
    timeline.destroy();
    return onRemoved?.apply(this, args);
  };
  return widget;
}
