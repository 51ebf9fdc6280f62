/** The timeline of one node: reads the texts and the graph, draws them, and writes what a person does back. */

import { Drawing } from "./draw.js";
import { patternText, splitsText } from "./edit.js";
import { widgetOf } from "./graph.js";
import { beginChange, endChange, fetchApi, isOverCanvas, onQueueCount, setWidget, shownNode } from "./host.js";
import { listenToKeys } from "./keyboard.js";
import { totalHeight } from "./layout.js";
import { LevelsCache } from "./levels.js";
import { Pointer } from "./pointer.js";
import { QueuedKeys } from "./queued.js";
import { read } from "./reading.js";
import { viewOf } from "./view.js";
import { keepWatch } from "./watch.js";

/** @typedef {import("../live/state.js").LiveState} LiveState */
/** @typedef {import("./graph.js").GraphNode} GraphNode */
/** @typedef {import("./kinds.js").Kind} Kind */
/** @typedef {import("./reading.js").Measured} Measured */
/** @typedef {import("./schedule.js").Spec} Spec */

export const NAME = "tstitch_timeline";

const levels = new LevelsCache(fetchApi);
const queued = new QueuedKeys();
onQueueCount((remaining) => queued.count(remaining));

export class Timeline {
  /**
   * @param {GraphNode} node
   * @param {Kind} kind
   */
  constructor(node, kind) {
    this.node = node;
    this.kind = kind;
    this.drawing = new Drawing();
    this.width = 240;
    /** @type {LiveState | null} */
    this.live = null;
    /** @type {Measured | null} of the last run */
    this.measured = null;
    /** @type {number | null} */
    this.hover = null;
    /** @type {number | null} */
    this.brush = null;
    /** @type {import("./pointer.js").Gesture | null} */
    this.gesture = null;
    /** All that was drawn last, as text. */
    this.last = "";
    /** The stages' inputs that the brush was chosen among. */
    this.stages = "";
    /** Whether the node has left its graph. */
    this.gone = false;
    this.pointer = new Pointer(this);
    listenToKeys(this);
    this.drawing.chips.addEventListener("click", (event) => this.chooseBrush(event));
    this.drawing.status.addEventListener("click", (event) => this.clearPattern(event));
    this.drawing.orders.addEventListener("change", () => this.writeOrder(this.drawing.orders));
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.drawing.root);
    this.draw();
  }

  read() {
    return read(this.node, this.kind, levels, this.measured);
  }

  /** Draw again if anything has changed. */
  look() {
    if (!this.drawing.root.isConnected) {
      return keepWatch(this, false);
    }
    if (this.gone) {
      return this.handOver();
    }
    const reading = this.read();
    if (this.state(reading) !== this.last) {
      this.draw(reading);
    }
  }

  /**
   * All that is drawn, as text.
   * @param {import("./reading.js").Reading} reading
   */
  state(reading) {
    return JSON.stringify([reading, this.live, this.hover, this.brush, this.width]);
  }

  draw(reading = this.read()) {
    const stages = reading.inputs.join();
    if (stages !== this.stages) {
      this.stages = stages;
      this.brush = null; // its number stands for another model now
    }
    this.last = this.state(reading);
    this.height = totalHeight(reading.names.length, this.width);
    this.drawing.root.style.minHeight = `${this.height}px`;
    this.drawing.show(viewOf(reading, this));
  }

  resized() {
    const { root, bar } = this.drawing;
    keepWatch(this, root.isConnected && bar.clientWidth > 0);
    if (!bar.clientWidth || bar.clientWidth === this.width) {
      return;
    }
    this.width = bar.clientWidth;
    this.draw();
    this.node.setDirtyCanvas?.(true, true);
  }

  /** The node's, among all of the open workflows. */
  get id() {
    return `${this.node.graph?.id}/${this.node.id}`;
  }

  /** The graph as it is now has been queued. */
  noteQueued() {
    queued.put(this.id, this.read().key);
  }

  /** Graph fingerprint of the run that begins. */
  takeKey() {
    const key = queued.take(this.id);
    return key === undefined ? this.read().key : key;
  }

  /** @param {LiveState | null} state */
  setLive(state) {
    this.live = state;
    if (state?.sigmas && state.timesteps && state.levelsKey !== null) {
      const { levelsKey: key, sigmas, timesteps, noises = null } = state;
      this.measured = { key, sigmas, timesteps, noises };
    }
    if (this.drawing.root.isConnected) {
      this.draw();
    }
  }

  /** @param {MouseEvent} event */
  chooseBrush(event) {
    const pressed = /** @type {HTMLElement} */ (event.target).closest("button");
    if (!pressed) {
      return;
    }
    const stage = Number(pressed.dataset.stage);
    this.brush = this.brush === stage ? null : stage;
    this.draw();
  }

  /** @param {MouseEvent} event */
  clearPattern(event) {
    if (!(/** @type {HTMLElement} */ (event.target).closest("button"))) {
      return;
    }
    this.brush = null;
    this.edit(() => setWidget(this.node, "pattern", ""));
  }

  /** @param {HTMLSelectElement} orders */
  writeOrder(orders) {
    const { value } = orders;
    orders.selectedIndex = 0; // the title
    this.brush = null;
    this.edit(() => setWidget(this.node, "pattern", value));
  }

  /**
   * One change that undo takes back at once.
   * @param {() => void} change
   */
  edit(change) {
    beginChange(this.node);
    try {
      change();
    } finally {
      endChange(this.node);
    }
    this.draw();
  }

  /** @param {Spec} spec */
  write(spec) {
    if (this.kind.isNumber) {
      setWidget(this.node, this.kind.splits, spec.splits[0]);
    } else if (spec.pattern.length) {
      setWidget(this.node, "pattern", patternText(spec));
    } else {
      setWidget(this.node, "pattern", "");
      setWidget(this.node, this.kind.splits, splitsText(spec));
    }
  }

  destroy() {
    this.pointer.finish(true);
    this.observer.disconnect();
    this.gone = true;
    keepWatch(this, this.drawing.root.isConnected && !isOverCanvas(this.drawing.root));
  }

  /** Undo makes all nodes anew, but Nodes 2.0 leaves the elements of the old ones in place: make room for the new. */
  handOver() {
    const successor = shownNode(this.node.id);
    const element = successor && successor !== this.node && widgetOf(successor, NAME)?.element;
    if (element && !element.isConnected) {
      this.drawing.root.replaceWith(element);
    }
  }
}
