/** What the timeline asks of the page, and hands down to it. Nothing else of the timeline imports the page's app. */

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { widgetOf } from "./graph.js";

/** @typedef {import("./graph.js").GraphNode} GraphNode */

/** @param {string} route */
export function fetchApi(route) {
  return api.fetchApi(route);
}

/** @param {(remaining: number) => void} action whenever the server tells how many prompts wait or run */
export function onQueueCount(action) {
  api.addEventListener("status", ({ detail }) => {
    const remaining = detail?.exec_info?.queue_remaining;
    if (typeof remaining === "number") {
      action(remaining);
    }
  });
}

/**
 * The node of this id in the graph that is shown.
 * @param {number | string} id
 * @returns {GraphNode | null | undefined}
 */
export function shownNode(id) {
  return app.canvas.graph?.getNodeById(id);
}

/**
 * All changes from here to `endChange` are one step of the page's undo.
 * @param {GraphNode} node
 */
export function beginChange(node) {
  app.canvas.emitBeforeChange?.();
  node.graph?.beforeChange?.(node);
}

/** @param {GraphNode} node */
export function endChange(node) {
  node.graph?.afterChange?.(node);
  app.canvas.emitAfterChange?.();
}

/**
 * @param {GraphNode} node
 * @param {string} name
 * @param {string | number} value
 */
export function setWidget(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || widget.value === value) {
    return;
  }
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node.setDirtyCanvas?.(true, true);
}

/**
 * The classic page lays the element over its canvas, so what the bar does not use must be handed down.
 * @param {HTMLElement} root
 */
export function isOverCanvas(root) {
  return root.closest(".dom-widget") !== null;
}

/**
 * @param {HTMLElement} root
 * @param {WheelEvent} event
 */
export function forwardWheel(root, event) {
  if (isOverCanvas(root)) {
    app.canvas.processMouseWheel(event);
  }
}

/**
 * The middle button moves the canvas.
 * @param {HTMLElement} root
 * @param {PointerEvent} event
 */
export function forwardPan(root, event) {
  if (!isOverCanvas(root)) {
    return;
  }
  if (event.type === "pointerdown" && event.button === 1) {
    app.canvas.processMouseDown(event);
  } else if (event.type === "pointermove" && event.buttons & 4) {
    app.canvas.processMouseMove(event);
  } else if (event.type === "pointerup" && event.button === 1) {
    app.canvas.processMouseUp(event);
  }
}
