/** The timeline as a widget of a node: reads the texts and the graph, lets a person edit, and writes the texts. */

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

import { Drawing } from "./draw.js";
import {
  addBoundary,
  boundariesOf,
  canAdd,
  countsSteps,
  meantHandle,
  moveBoundary,
  nudge,
  paint,
  patternText,
  removeBoundary,
  splitsText,
} from "./edit.js";
import {
  downstreamRun,
  isLinked,
  modelName,
  planOf,
  samplingOf,
  sourcesOf,
  stageInputs,
  unknownSetting,
  valueOf,
  widgetOf,
} from "./graph.js";
import { LevelsCache, plannedRun } from "./levels.js";
import { positionAt, rulerMarks, stepAt, totalHeight } from "./layout.js";
import { QueuedKeys } from "./queued.js";
import {
  ScheduleError,
  checkSplits,
  general,
  intervalsOf,
  parseSpec,
  readNumber,
  readSplits,
  resolve,
  runOf,
  stepsOfPattern,
} from "./schedule.js";

/** @typedef {import("./draw.js").LiveState} LiveState */
/** @typedef {import("./draw.js").View} View */
/** @typedef {import("./graph.js").GraphNode} GraphNode */
/** @typedef {import("./schedule.js").Run} Run */
/** @typedef {import("./schedule.js").Spec} Spec */

/**
 * How a node writes its schedule.
 * @typedef {object} Kind
 * @property {string} splits name of the widget with the splits: a text, or one number
 * @property {boolean} isNumber
 * @property {boolean} samples whether the node itself is the sampler
 * @property {string} final input of the finishing stage
 * @property {(node: GraphNode) => string[]} stages inputs in run order
 */

const NAME = "tstitch_timeline";
const TYPE = "TSTITCH_TIMELINE";
const MARGIN = 8;
const ASSUMED_STEPS = 20;
/** Changes from outside (typing, undo, another node's widgets) show within this time. */
const WATCH_MS = 150;
/** A handle let go this far above or below the bar is removed, in the bar's own pixels. */
const LEAVE_DISTANCE = 34;
/** A pointer that stays within this many pixels of the window clicks a handle and does not drag it. */
const CLICK_DISTANCE = 3;
const PAGE_STEPS = 5;
/** A pattern with more hand-overs has no room for handles; it is painted instead. */
const MOST_HANDLES = 40;

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

/** @type {Record<string, Kind>} */
const KINDS = {
  TStitchKSampler: SAMPLER,
  TStitchKSamplerAdvanced: SAMPLER,
  TStitchModelSchedule: joining("model_", "final_model"),
  TStitchGuiders: joining("guider_", "final_guider"),
};

const levels = new LevelsCache((route) => api.fetchApi(route));
const queued = new QueuedKeys();
api.addEventListener("status", ({ detail }) => {
  if (detail?.exec_info?.queue_remaining === 0) {
    queued.forget();
  }
});

/** Timelines that are on screen. One timer watches the widgets and the graph for all of them. */
const shown = new Set();
/** @type {ReturnType<typeof setInterval> | null} */
let watch = null;

/**
 * @param {Timeline} timeline
 * @param {boolean} isShown
 */
function keepWatch(timeline, isShown) {
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

/**
 * Everything the bar depends on, read afresh.
 * @typedef {object} Reading
 * @property {string[]} inputs of the stages
 * @property {string[]} names
 * @property {string} unit
 * @property {string} pattern
 * @property {string} splits
 * @property {Run} run
 * @property {string} note where the steps come from
 * @property {boolean} sure whether the noise levels are those of the models that are connected
 * @property {string} key all that the noise levels of the run depend on
 * @property {boolean} locked whether a text comes over a link
 * @property {string | undefined} unknown the text whose value is known only in a run
 */

/**
 * The steps of a run that nothing tells: as many as the texts speak of, or the host's default.
 * @param {string} splits
 * @param {string} unit
 * @param {string} pattern
 * @param {number} stages
 */
function assumedSteps(splits, unit, pattern, stages) {
  try {
    const spec = parseSpec(splits, unit, pattern, stages);
    const last = unit === "step" ? Math.max(0, ...spec.splits) : 0;
    return stepsOfPattern(spec.pattern) || Math.max(ASSUMED_STEPS, last);
  } catch {
    return ASSUMED_STEPS; // the sentence comes from where the texts are shown
  }
}

/**
 * @param {number} steps
 * @param {boolean} planned whether the sampler tells them
 * @param {boolean} connected whether there is a sampler
 * @param {string | undefined} setting one whose value is known only in a run
 */
function stepsNote(steps, planned, connected, setting) {
  const count = `${steps} ${steps === 1 ? "step" : "steps"}`;
  if (!planned) {
    return `${count} assumed: ${connected ? "the sampler's are known only in a run" : "connect a sampler"}`;
  }
  return setting === undefined ? count : `${count}; ${setting} comes over a link`;
}

/**
 * The run that the server told of, with the pattern that it had.
 * @param {LiveState} live
 */
function runTold({ steps, sigmas, timesteps, intervals }) {
  const pattern = intervals.map(([stage, count]) => ({ stage, steps: count }));
  return { ...runOf(steps, { sigmas: sigmas ?? null, timesteps: timesteps ?? null }), pattern };
}

class Timeline {
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
    /** @type {{key: string | null, sigmas: number[], timesteps: number[]} | null} levels of the last run */
    this.measured = null;
    /** @type {number | null} */
    this.hover = null;
    /** @type {number | null} */
    this.brush = null;
    /** @type {Gesture | null} */
    this.gesture = null;
    this.last = "";
    /** The stages' inputs that the brush was chosen among. */
    this.stages = "";
    /** Whether the node has left its graph. */
    this.gone = false;
    this.listen();
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.drawing.root);
    this.draw();
  }

  get canPaint() {
    return widgetOf(this.node, "pattern") !== undefined;
  }

  /** @returns {Reading} */
  read() {
    const { node, kind } = this;
    const inputs = kind.stages(node);
    const { plan, sampler } = kind.samples ? { plan: planOf(node), sampler: node } : downstreamRun(node);
    const sampling = samplingOf(node, kind.final);
    const found = plan ? levels.get(plan, sampling) : null;
    const key = JSON.stringify([plan, inputs, sourcesOf(sampler, node, kind.final)]);
    const unit = String(valueOf(node, "unit") ?? "steps");
    const pattern = this.canPaint ? String(valueOf(node, "pattern") ?? "") : "";
    const splits = String(valueOf(node, kind.splits) ?? "");
    let run = plan ? plannedRun(plan, found, kind.samples) : runOf(assumedSteps(splits, unit, pattern, inputs.length));
    const measured = this.measured?.key === key && this.measured.sigmas.length === run.steps + 1 ? this.measured : null;
    if (measured) {
      run = { ...run, sigmas: measured.sigmas, timesteps: measured.timesteps };
    }
    const setting = plan ? unknownSetting(sampler) : undefined;
    const texts = [kind.splits, "unit", ...(this.canPaint ? ["pattern"] : [])];
    return {
      inputs,
      names: inputs.map((input) => modelName(node, input)),
      unit,
      pattern,
      splits,
      run,
      note: stepsNote(run.steps, plan !== null, kind.samples || sampler !== node, setting),
      sure: (sampling.sure && setting === undefined) || measured !== null,
      key,
      locked: texts.some((name) => isLinked(node, name)),
      unknown: texts.find((name) => valueOf(node, name) === undefined),
    };
  }

  /**
   * @param {Reading} reading
   * @returns {Spec}
   */
  parse({ names, unit, pattern, splits, unknown }) {
    const stages = names.length;
    if (unknown) {
      throw new ScheduleError(`${unknown} comes over a link, so the bar cannot show it before the run.`);
    }
    if (!this.kind.isNumber) {
      return parseSpec(splits, unit, pattern, stages);
    }
    const split = readNumber(this.kind.splits, splits);
    checkSplits([split], unit, this.kind.splits);
    return { stages, splits: [split], unit, pattern: [] };
  }

  /**
   * As `parse`, but also where there are fewer splits than the models need, so that one can be added.
   * @param {Reading} reading
   * @returns {Spec | null}
   */
  parseLoosely(reading) {
    try {
      return this.parse(reading);
    } catch {
      // The sentence is on the bar already.
    }
    try {
      if (reading.pattern.trim()) {
        return null;
      }
      const splits = readSplits(reading.splits);
      checkSplits(splits, reading.unit);
      return { stages: reading.names.length, splits, unit: reading.unit, pattern: [] };
    } catch {
      return null;
    }
  }

  /**
   * What the server told of these models; its figures are by stage.
   * @param {Reading} reading
   */
  figures({ inputs }) {
    return this.live?.names.join() === inputs.join() ? this.live : null;
  }

  /**
   * The run that the server told of, where a text is known only in it.
   * @param {Reading} reading
   */
  told(reading) {
    const live = reading.unknown ? this.figures(reading) : null;
    return live && runTold(live);
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
   * @param {Reading} reading
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
    this.drawing.show(this.view(reading));
  }

  /**
   * @param {Reading} reading
   * @returns {View}
   */
  view(reading) {
    const { names, unit } = reading;
    const live = this.figures(reading);
    const told = this.told(reading);
    const run = told ?? reading.run;
    const view = {
      error: null,
      status: reading.note,
      width: this.width,
      steps: run.steps,
      intervals: [],
      names,
      counts: [],
      marks: [],
      handles: [],
      dragged: this.gesture?.index ?? null,
      leaving: this.gesture?.leaving ?? false,
      hover: this.hover !== null && this.hover < run.steps ? this.hover : null,
      hasOneSplit: this.kind.isNumber,
      canPaint: this.canPaint,
      brush: this.brush,
      canClear: reading.pattern.trim() !== "" && !isLinked(this.node, "pattern"),
      live,
      editing: this.gesture !== null,
    };
    try {
      const spec = told ? { stages: names.length, splits: [], unit, pattern: told.pattern } : this.parse(reading);
      const owners = resolve(spec, run);
      const note = told ? `${run.steps} steps${live?.finished ? " in the last run" : ""}` : reading.note;
      return {
        ...view,
        status: this.statusText({ ...reading, run, note }, spec, owners),
        intervals: intervalsOf(owners),
        counts: names.map((_, stage) => owners.filter((owner) => owner === stage).length),
        marks: rulerMarks(unit, run, this.width),
        handles: reading.locked ? [] : handlesOf(spec, run, owners, names),
      };
    } catch (error) {
      if (!(error instanceof ScheduleError)) {
        throw error;
      }
      const spec = this.parseLoosely(reading);
      const lacks = spec !== null && !this.kind.isNumber && !reading.locked && canAdd(spec, run);
      return { ...view, error: error.message, status: lacks ? "double click the bar to add a split" : reading.note };
    }
  }

  /**
   * @param {Reading} reading
   * @param {Spec} spec
   * @param {number[]} owners
   */
  statusText({ run, note, names, sure, unit, locked }, spec, owners) {
    const index = this.gesture?.index ?? null;
    if (index !== null && this.gesture?.leaving) {
      return "let go to remove this split";
    }
    if (index !== null && !spec.pattern.length) {
      const value = `${unit === "steps" ? "fraction" : unit} ${general(spec.splits[index])}`;
      return `${value} · after step ${boundariesOf(spec, run)?.[index]} of ${run.steps}`;
    }
    if (this.hover !== null && this.hover < run.steps) {
      const about = sure ? "" : "≈ ";
      const level = (/** @type {string} */ sign, /** @type {number[] | null} */ values) => {
        return values ? ` · ${sign} ${about}${general(Number(values[this.hover ?? 0].toPrecision(4)))}` : "";
      };
      const step = `step ${this.hover + (run.firstStep ?? 0) + 1}`;
      return `${step}${level("t", run.timesteps)}${level("σ", run.sigmas)} · ${names[owners[this.hover]]}`;
    }
    if (locked) {
      return `${note} · set over a link`;
    }
    if (this.canPaint && !countsSteps(run) && (spec.pattern.length || this.brush !== null)) {
      return `${note} of a longer schedule, which a pattern counts`;
    }
    if (this.brush !== null) {
      return `drag over the bar to paint ${names[this.brush]}`;
    }
    return note;
  }

  /** The node's, among all of the open workflows. */
  get id() {
    return `${this.node.graph?.id}/${this.node.id}`;
  }

  /** The graph as it is now has been queued. */
  noteQueued() {
    queued.put(this.id, this.read().key);
  }

  /** What the levels of the prompt that begins are those of; null where that is not known. */
  takeKey() {
    const key = queued.take(this.id);
    return key === undefined ? this.read().key : key;
  }

  /** @param {LiveState | null} state */
  setLive(state) {
    this.live = state;
    if (state?.sigmas && state.timesteps && state.levelsKey !== null) {
      this.measured = { key: state.levelsKey, sigmas: state.sigmas, timesteps: state.timesteps };
    }
    if (this.drawing.root.isConnected) {
      this.draw();
    }
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

  listen() {
    const { root, bar, status, chips } = this.drawing;
    root.addEventListener("pointerdown", (event) => this.pressed(event));
    root.addEventListener("pointermove", (event) => forwardPan(root, event));
    root.addEventListener("pointerup", (event) => forwardPan(root, event));
    root.addEventListener("wheel", (event) => forwardWheel(root, event), { passive: false });
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("contextmenu", (event) => this.gesture && event.preventDefault());
    bar.addEventListener("pointermove", (event) => this.moved(event));
    bar.addEventListener("pointerleave", () => this.point(null));
    bar.addEventListener("pointerup", (event) => {
      this.moved(event); // a quick drag may end where no move was told
      this.released(event, true);
    });
    bar.addEventListener("pointercancel", (event) => this.released(event, false));
    bar.addEventListener("lostpointercapture", (event) => this.released(event, true));
    bar.addEventListener("dblclick", (event) => this.doubled(event));
    chips.addEventListener("click", (event) => this.choose(event));
    status.addEventListener("click", (event) => this.clear(event));
  }

  /** @param {MouseEvent} event */
  place(event) {
    const box = this.drawing.bar.getBoundingClientRect();
    const scale = box.height / this.drawing.bar.offsetHeight;
    return {
      x: event.clientX - box.left,
      width: box.width,
      away: Math.max(box.top - event.clientY, event.clientY - box.bottom, 0) / scale,
    };
  }

  /** @param {PointerEvent} event */
  pressed(event) {
    forwardPan(this.drawing.root, event);
    if (event.button !== 0 || this.gone) {
      return;
    }
    event.stopPropagation(); // or the page would drag the node
    const target = /** @type {HTMLElement} */ (event.target);
    if (!this.drawing.bar.contains(target) || this.gesture) {
      return; // of two fingers the first one drags
    }
    const reading = this.read();
    const spec = this.parseLoosely(reading);
    if (!spec || reading.locked) {
      return;
    }
    const index = target.dataset.index === undefined ? null : Number(target.dataset.index);
    const brush = event.altKey && this.canPaint ? "next" : this.brush;
    if (index === null && brush === null) {
      return;
    }
    event.preventDefault(); // no text selection; focus is set below
    this.drawing.bar.setPointerCapture(event.pointerId);
    if (index !== null && !event.altKey) {
      this.startDrag(event, reading, spec, index);
    } else if (brush !== null) {
      this.startPaint(event, reading, spec, brush);
    }
    this.moved(event);
  }

  /**
   * @param {PointerEvent} event
   * @param {Reading} reading
   * @param {Spec} spec
   * @param {number} pressed
   */
  startDrag(event, { run }, spec, pressed) {
    const { x, width } = this.place(event);
    const index = meantHandle(spec, run, pressed);
    const boundary = boundariesOf(spec, run)?.[index] ?? 0;
    this.gesture = new Gesture(this, event, spec, { index, offset: x - (boundary / run.steps) * width });
    this.drawing.handles[index].focus({ preventScroll: true });
    this.draw();
  }

  /**
   * @param {PointerEvent} event
   * @param {Reading} reading
   * @param {Spec} spec
   * @param {number | "next"} brush
   */
  startPaint(event, { run }, spec, brush) {
    if (!countsSteps(run)) {
      return; // what is painted would count the whole schedule
    }
    try {
      const owners = resolve(spec, run);
      const { x, width } = this.place(event);
      const step = stepAt(x, width, run.steps);
      const stage = brush === "next" ? (owners[step] + 1) % spec.stages : brush;
      this.gesture = new Gesture(this, event, spec, { paint: { owners, from: step, stage } });
    } catch (error) {
      if (!(error instanceof ScheduleError)) {
        throw error;
      }
    }
  }

  /** @param {PointerEvent} event */
  moved(event) {
    const reading = this.read();
    const { names } = reading;
    const run = this.told(reading) ?? reading.run;
    const { x, width, away } = this.place(event);
    const step = stepAt(x, width, run.steps);
    const { gesture } = this;
    if (!gesture) {
      return this.point(step);
    }
    if (!gesture.follows(event)) {
      return;
    }
    if (gesture.paint) {
      const { owners, from, stage } = gesture.paint;
      this.write(paint(gesture.spec, owners, from, step, stage));
    } else if (gesture.index !== null) {
      const enough = gesture.spec.pattern.length > 0 || gesture.spec.splits.length > 0;
      gesture.leaving = !this.kind.isNumber && enough && names.length > 1 && away > LEAVE_DISTANCE;
      const position = positionAt(x - gesture.offset, width, run.steps);
      this.write(moveBoundary(gesture.spec, run, gesture.index, position, event.shiftKey));
    }
    this.draw();
  }

  /** @param {number | null} step */
  point(step) {
    if (this.gesture || step === this.hover) {
      return;
    }
    this.hover = step;
    this.draw();
  }

  /**
   * @param {PointerEvent} event
   * @param {boolean} keep
   */
  released({ pointerId }, keep) {
    if (pointerId === this.gesture?.press.pointerId) {
      this.finish(keep);
    }
  }

  /** @param {boolean} keep */
  finish(keep) {
    const { gesture } = this;
    if (!gesture) {
      return;
    }
    this.gesture = null;
    if (!keep && gesture.moving) {
      this.write(gesture.spec);
    } else if (gesture.leaving && gesture.index !== null) {
      this.write(removeBoundary(gesture.spec, this.read().run, gesture.index));
    }
    gesture.end();
    this.hover = null;
    this.draw();
  }

  /** @param {MouseEvent} event */
  doubled(event) {
    event.stopPropagation();
    const reading = this.read();
    const spec = this.parseLoosely(reading);
    if (!spec || reading.locked || this.kind.isNumber || !canAdd(spec, reading.run)) {
      return;
    }
    const { x, width } = this.place(event);
    const boundary = Math.round(positionAt(x, width, reading.run.steps));
    this.edit(() => this.write(addBoundary(spec, reading.run, boundary)));
  }

  /** @param {MouseEvent} event */
  choose(event) {
    const pressed = /** @type {HTMLElement} */ (event.target).closest("button");
    if (!pressed) {
      return;
    }
    const stage = Number(pressed.dataset.stage);
    this.brush = this.brush === stage ? null : stage;
    this.draw();
  }

  /** @param {MouseEvent} event */
  clear(event) {
    if (!(/** @type {HTMLElement} */ (event.target).closest("button"))) {
      return;
    }
    this.brush = null;
    this.edit(() => this.set("pattern", ""));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape" && (this.gesture || this.brush !== null)) {
      this.brush = null;
      this.finish(false);
      this.draw();
    } else {
      const index = /** @type {HTMLElement} */ (event.target).dataset.index;
      if (index === undefined || event.ctrlKey || event.metaKey || event.altKey) {
        return;
      }
      if (!this.handleKey(event, Number(index))) {
        return;
      }
    }
    event.preventDefault();
    event.stopPropagation(); // Delete would remove the node
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} index
   * @returns {boolean} whether the key means something on a handle
   */
  handleKey({ key, shiftKey }, index) {
    const reading = this.read();
    const spec = this.parseLoosely(reading);
    const bounds = spec && boundariesOf(spec, reading.run);
    if (!spec || !bounds || this.gesture) {
      return false;
    }
    const { steps } = reading.run;
    /** @type {Record<string, number>} */
    const moves = {
      ArrowLeft: -1,
      ArrowDown: -1,
      ArrowRight: 1,
      ArrowUp: 1,
      PageDown: -PAGE_STEPS,
      PageUp: PAGE_STEPS,
      Home: -steps,
      End: steps,
    };
    if (key in moves) {
      const by = moves[key];
      const fine = shiftKey && Math.abs(by) === 1;
      const next = fine
        ? nudge(spec, reading.run, index, by > 0 ? 1 : -1)
        : moveBoundary(spec, reading.run, index, bounds[index] + by);
      this.edit(() => this.write(next));
      return true;
    }
    if (key === "Delete" || key === "Backspace") {
      if (!this.kind.isNumber) {
        this.edit(() => this.write(removeBoundary(spec, reading.run, index)));
      }
      return true; // or the page would remove the node
    }
    return false;
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
      this.set(this.kind.splits, spec.splits[0]);
    } else if (spec.pattern.length) {
      this.set("pattern", patternText(spec));
    } else {
      this.set("pattern", "");
      this.set(this.kind.splits, splitsText(spec));
    }
  }

  /**
   * @param {string} name
   * @param {string | number} value
   */
  set(name, value) {
    const widget = widgetOf(this.node, name);
    if (!widget || widget.value === value) {
      return;
    }
    widget.value = value;
    widget.callback?.(value, app.canvas, this.node);
    this.node.setDirtyCanvas?.(true, true);
  }

  destroy() {
    this.finish(true);
    this.observer.disconnect();
    this.gone = true;
    keepWatch(this, this.drawing.root.isConnected && !isOverCanvas(this.drawing.root));
  }

  /** Undo makes all nodes anew, but Nodes 2.0 leaves the elements of the old ones in place: make room for the new. */
  handOver() {
    const successor = app.canvas.graph?.getNodeById(this.node.id);
    const element = successor && successor !== this.node && widgetOf(successor, NAME)?.element;
    if (element && !element.isConnected) {
      this.drawing.root.replaceWith(element);
    }
  }
}

/** A drag, from press to release: one entry in the page's undo history. */
class Gesture {
  /**
   * @param {Timeline} timeline
   * @param {PointerEvent} press
   * @param {Spec} spec before the drag
   * @param {object} what is dragged: a handle, gripped `offset` pixels beside its place, or a brush
   * @param {number | null} [what.index]
   * @param {number} [what.offset]
   * @param {{owners: number[], from: number, stage: number} | null} [what.paint]
   */
  constructor(timeline, press, spec, { index = null, offset = 0, paint: brush = null }) {
    this.node = timeline.node;
    timeline.hover = null;
    this.press = press;
    this.spec = spec;
    this.index = index;
    this.offset = offset;
    this.paint = brush;
    this.moving = brush !== null; // a press paints a step, but leaves a handle where it is
    this.leaving = false;
    beginChange(this.node);
  }

  /**
   * Whether the drag goes on at this event: of its own pointer, and not before that has left the place of the press.
   * @param {PointerEvent} event
   */
  follows({ pointerId, clientX, clientY }) {
    if (pointerId !== this.press.pointerId) {
      return false;
    }
    this.moving ||= Math.hypot(clientX - this.press.clientX, clientY - this.press.clientY) > CLICK_DISTANCE;
    return this.moving;
  }

  end() {
    endChange(this.node);
  }
}

/** @param {GraphNode} node */
function beginChange(node) {
  app.canvas.emitBeforeChange?.();
  node.graph?.beforeChange?.(node);
}

/** @param {GraphNode} node */
function endChange(node) {
  node.graph?.afterChange?.(node);
  app.canvas.emitAfterChange?.();
}

/**
 * The classic page lays the element over its canvas, so what the bar does not use must be handed down.
 * @param {HTMLElement} root
 */
function isOverCanvas(root) {
  return root.closest(".dom-widget") !== null;
}

/**
 * @param {HTMLElement} root
 * @param {WheelEvent} event
 */
function forwardWheel(root, event) {
  if (isOverCanvas(root)) {
    app.canvas.processMouseWheel(event);
  }
}

/**
 * The middle button moves the canvas.
 * @param {HTMLElement} root
 * @param {PointerEvent} event
 */
function forwardPan(root, event) {
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
