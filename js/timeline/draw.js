/** The timeline's elements: built once, and made to show a view. No state of its own, no events. */

import { chipColumns, fitText, percent, secondsText, tickStride } from "./layout.js";
import { colourOf, textColourOn } from "./palette.js";

/** @typedef {import("../live/state.js").LiveState} LiveState */
/** @typedef {import("./view.js").View} View */

/** Pixels of a segment that the handles at its ends may cover. */
const HANDLE_ROOM = 6;

const ORDERS = "Write a usual order of the models into the pattern";
const USE = "Drag a handle to move a split; Shift for fine steps.";
const COUNT_USE = " Double click adds a split where a model waits for one; drag a handle out to remove it.";
const PAINT_USE = " Hold Alt, or choose a model below, and drag to paint steps: that writes the pattern.";

/**
 * @param {string} tag
 * @param {string} name
 * @param {Partial<Record<string, string>>} [attributes]
 * @returns {HTMLElement}
 */
function element(tag, name, attributes = {}) {
  const made = document.createElement(tag);
  made.className = `tstitch-${name}`;
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, String(value));
  }
  return made;
}

/**
 * @param {HTMLElement} made
 * @param {number} stage
 */
function paintStage(made, stage) {
  made.style.setProperty("--tstitch-stage", colourOf(stage));
  made.style.setProperty("--tstitch-on-stage", textColourOn(colourOf(stage)));
}

/**
 * @param {HTMLElement} made
 * @param {number} start
 * @param {number} stop
 * @param {number} steps
 */
function place(made, start, stop, steps) {
  made.style.left = percent(start, steps);
  made.style.width = percent(stop - start, steps);
}

export class Drawing {
  constructor() {
    this.root = element("div", "timeline");
    this.status = element("div", "status");
    this.said = element("span", "said");
    this.orders = /** @type {HTMLSelectElement} */ (element("select", "orders", { title: ORDERS, "aria-label": ORDERS }));
    this.status.append(this.said, this.orders);
    this.bar = element("div", "bar", { role: "group", "aria-label": "Which model runs which steps" });
    this.segments = element("div", "segments");
    this.ticks = element("div", "ticks");
    this.ahead = element("div", "ahead");
    this.now = element("div", "now");
    this.hover = element("div", "hover");
    this.message = element("div", "message", { role: "alert" });
    this.ruler = element("div", "ruler", { "aria-hidden": "true" });
    this.chips = element("div", "chips");
    /** @type {HTMLElement[]} */
    this.handles = [];
    this.bar.append(this.segments, this.ahead, this.ticks, this.now, this.hover, this.message);
    this.root.append(this.status, this.bar, this.ruler, this.chips);
  }

  /** @param {View} view */
  show(view) {
    const failed = view.error !== null;
    this.message.textContent = view.error ?? "";
    this.message.hidden = !failed;
    this.message.style.display = failed ? "" : "none";
    this.ruler.style.visibility = failed ? "hidden" : "";
    const use = USE + (view.hasOneSplit ? "" : COUNT_USE) + (view.canPaint ? PAINT_USE : "");
    this.bar.title = failed ? "" : use;
    this.bar.toggleAttribute("data-brush", view.brush !== null);
    this.segments.replaceChildren(...(failed ? [] : view.intervals.map((interval) => segment(interval, view))));
    const stride = tickStride(view.steps, view.width);
    this.ticks.style.setProperty("--tstitch-tick", percent(stride, view.steps));
    this.ticks.style.display = failed || stride >= view.steps ? "none" : "";
    this.ruler.replaceChildren(...view.marks.map((mark) => ruleMark(mark, view.steps)));
    this.showHandles(view);
    this.showHover(view);
    this.showProgress(view);
    this.showStatus(view);
    this.showOrders(view);
    this.showChips(view);
  }

  /** @param {View} view */
  showHandles({ handles, dragged, leaving, steps }) {
    while (this.handles.length > handles.length) {
      this.handles.pop()?.remove();
    }
    while (this.handles.length < handles.length) {
      const handle = element("div", "handle", {
        role: "slider",
        tabindex: "0",
        "aria-orientation": "horizontal",
        "aria-valuemin": "0",
        "data-index": String(this.handles.length),
      });
      this.handles.push(handle);
      this.bar.append(handle);
    }
    for (const [index, { boundary, label, text }] of handles.entries()) {
      const handle = this.handles[index];
      handle.style.left = percent(boundary, steps);
      handle.setAttribute("aria-label", label);
      handle.setAttribute("aria-valuemax", String(steps));
      handle.setAttribute("aria-valuenow", String(boundary));
      handle.setAttribute("aria-valuetext", text);
      handle.toggleAttribute("data-dragged", index === dragged);
      handle.toggleAttribute("data-leaving", index === dragged && leaving);
    }
  }

  /** @param {View} view */
  showHover({ hover, steps, error }) {
    this.hover.style.display = hover === null || error !== null ? "none" : "";
    if (hover !== null) {
      place(this.hover, hover, hover + 1, steps);
    }
  }

  /** @param {View} view */
  showProgress({ live, error }) {
    const running = live !== null && !live.finished && error === null && live.steps > 0;
    this.now.style.display = this.ahead.style.display = running ? "" : "none";
    if (!running) {
      return;
    }
    const step = Math.min(live.step, live.steps - 1);
    place(this.now, step, step + 1, live.steps);
    this.ahead.style.left = percent(step + 1, live.steps);
  }

  /** @param {View} view */
  showStatus({ status, live, canClear, hover, editing }) {
    const left = element("span", "left");
    left.textContent = left.title = status;
    const right = element("span", live?.finished ? "good" : "right");
    const asked = hover !== null || editing; // about a step: its answer gets the room
    right.textContent = live && !asked ? liveText(live) : "";
    this.said.replaceChildren(left, right);
    if (canClear && (!live || live.finished)) {
      const clear = element("button", "clear", { type: "button", title: "Clear the pattern: the splits count again." });
      clear.textContent = "clear pattern";
      this.said.append(clear);
    }
  }

  /**
   * Made anew only where they have changed, or a list that is open would close.
   * @param {View} view
   */
  showOrders({ orders, hover, editing, live, canClear }) {
    const asked = hover !== null || editing || (live !== null && (!live.finished || canClear)); // for the room
    this.orders.style.display = orders.length && !asked ? "" : "none";
    const texts = JSON.stringify(orders);
    if (this.orders.dataset.orders === texts) {
      return;
    }
    this.orders.dataset.orders = texts;
    const title = new Option("orders", "", true, true);
    title.hidden = title.disabled = true;
    this.orders.replaceChildren(title, ...orders.map(({ name, pattern }) => new Option(name, pattern)));
  }

  /** @param {View} view */
  showChips(view) {
    const { names, width, canPaint } = view;
    this.chips.style.setProperty("--tstitch-columns", String(chipColumns(names.length, width)));
    // Kept from one drawing to the next: a press and its release must meet the same button, also in a run.
    while (this.chips.children.length > names.length) {
      this.chips.lastElementChild?.remove();
    }
    while (this.chips.children.length < names.length) {
      this.chips.append(newChip(this.chips.children.length, canPaint));
    }
    for (const [stage, chip] of [...this.chips.children].entries()) {
      showChip(/** @type {HTMLElement} */ (chip), stage, view);
    }
  }
}

/**
 * @param {import("./schedule.js").Interval} interval
 * @param {View} view
 */
function segment({ stage, start, stop }, { names, steps, width }) {
  const made = element("div", "segment");
  place(made, start, stop, steps);
  paintStage(made, stage);
  made.textContent = fitText(names[stage] ?? "", String(stage + 1), ((stop - start) / steps) * width - HANDLE_ROOM);
  return made;
}

/**
 * @param {{step: number, text: string}} mark
 * @param {number} steps
 */
function ruleMark({ step, text }, steps) {
  const made = element("span", "mark");
  made.style.left = percent(step, steps);
  made.textContent = text;
  return made;
}

/**
 * @param {number} stage
 * @param {boolean} canPaint
 */
function newChip(stage, canPaint) {
  const chip = element(canPaint ? "button" : "div", "chip", { "data-stage": String(stage) });
  if (canPaint) {
    chip.setAttribute("type", "button");
  }
  paintStage(chip, stage);
  chip.append(...[String(stage + 1), "", ""].map((text) => {
    const part = document.createElement("span");
    part.textContent = text;
    return part;
  }));
  return chip;
}

/**
 * @param {HTMLElement} chip
 * @param {number} stage
 * @param {View} view
 */
function showChip(chip, stage, { names, canPaint, brush, counts, live, editing }) {
  const [, label, figures] = chip.children;
  const run = editing ? null : live;
  label.textContent = names[stage];
  figures.textContent = chipText(counts[stage], stage, run);
  const use = canPaint ? ": choose it, then drag over the bar to give it steps" : "";
  chip.title = `${names[stage]}${use}${run ? ` (${detailText(stage, run)})` : ""}`;
  chip.toggleAttribute("data-now", run !== null && !run.finished && run.stage === stage);
  if (canPaint) {
    chip.setAttribute("aria-pressed", String(brush === stage));
  }
}

/**
 * @param {number | undefined} steps
 * @param {number} stage
 * @param {LiveState | null} live
 */
function chipText(steps, stage, live) {
  if (!live && steps === undefined) {
    return "";
  }
  if (!live) {
    return `${steps} ${steps === 1 ? "step" : "steps"}`;
  }
  return secondsText(live?.secondsPerStage[stage] ?? 0);
}

/**
 * @param {number} stage
 * @param {LiveState} live
 */
function detailText(stage, { secondsPerStage, stepsPerStage, weakCallsPerStage }) {
  const [seconds, steps] = [secondsPerStage[stage] ?? 0, stepsPerStage[stage] ?? 0];
  const guided = weakCallsPerStage?.[stage] ? `, the weak model answered ${weakCallsPerStage[stage]} times` : "";
  return `${steps} steps of ${secondsText(seconds / Math.max(steps, 1))} = ${secondsText(seconds)}${guided}`;
}

/** @param {LiveState} live */
function liveText(live) {
  const total = live.secondsPerStage.reduce((sum, seconds) => sum + seconds, 0);
  if (!live.finished) {
    const rest = live.restSeconds === null ? "" : ` · ${secondsText(live.restSeconds)} left`;
    return `step ${Math.min(live.step + 1, live.steps)} of ${live.steps}${rest}`;
  }
  if (live.savedSeconds === null) {
    return secondsText(total);
  }
  const saved = live.savedSeconds;
  if (saved < 0) {
    return `${secondsText(total)} · ${secondsText(-saved)} slower`;
  }
  const percentage = Math.round((100 * saved) / Math.max(total + saved, 1e-9));
  return `${secondsText(total)} · saved ${secondsText(saved)} (${percentage} %)`;
}
