/** The pointer on the bar: hovering, dragging handles, painting steps, adding and removing splits. */

import { addBoundary, boundariesOf, canAdd, countsSteps, meantHandle, moveBoundary, paint, removeBoundary } from "./edit.js";
import { beginChange, endChange, forwardPan, forwardWheel } from "./host.js";
import { positionAt, stepAt } from "./layout.js";
import { parseLoosely } from "./reading.js";
import { ScheduleError, resolve } from "./schedule.js";
import { runTold } from "./view.js";

/** @typedef {import("./reading.js").Reading} Reading */
/** @typedef {import("./schedule.js").Spec} Spec */
/** @typedef {import("./timeline.js").Timeline} Timeline */

/** A handle let go this far above or below the bar is removed, in the bar's own pixels. */
const LEAVE_DISTANCE = 34;
/** A pointer that stays within this many pixels of the window clicks a handle and does not drag it. */
const CLICK_DISTANCE = 3;

export class Pointer {
  /** @param {Timeline} timeline */
  constructor(timeline) {
    this.timeline = timeline;
    const { root, bar } = timeline.drawing;
    root.addEventListener("pointerdown", (event) => this.pressed(event));
    root.addEventListener("pointermove", (event) => forwardPan(root, event));
    root.addEventListener("pointerup", (event) => forwardPan(root, event));
    root.addEventListener("wheel", (event) => forwardWheel(root, event), { passive: false });
    root.addEventListener("contextmenu", (event) => timeline.gesture && event.preventDefault());
    bar.addEventListener("pointermove", (event) => {
      if (timeline.gesture) {
        event.stopPropagation(); // or Nodes 2.0 drags the node too while Shift or Ctrl is held
      }
      this.moved(event);
    });
    bar.addEventListener("pointerleave", () => this.hover(null));
    bar.addEventListener("pointerup", (event) => {
      this.moved(event); // a quick drag may end where no move was told
      this.released(event, true);
    });
    bar.addEventListener("pointercancel", (event) => this.released(event, false));
    bar.addEventListener("lostpointercapture", (event) => this.released(event, true));
    bar.addEventListener("dblclick", (event) => this.doubled(event));
  }

  /** @param {MouseEvent} event */
  place(event) {
    const { bar } = this.timeline.drawing;
    const box = bar.getBoundingClientRect();
    const scale = box.height / bar.offsetHeight;
    return {
      x: event.clientX - box.left,
      width: box.width,
      away: Math.max(box.top - event.clientY, event.clientY - box.bottom, 0) / scale,
    };
  }

  /** @param {PointerEvent} event */
  pressed(event) {
    const { timeline } = this;
    const { root, bar } = timeline.drawing;
    forwardPan(root, event);
    if (event.button !== 0 || timeline.gone) {
      return;
    }
    event.stopPropagation(); // or the page would drag the node
    const target = /** @type {HTMLElement} */ (event.target);
    if (!bar.contains(target) || timeline.gesture) {
      return; // of two fingers the first one drags
    }
    const reading = timeline.read();
    const spec = parseLoosely(reading);
    if (!spec || reading.locked) {
      return;
    }
    const index = target.dataset.index === undefined ? null : Number(target.dataset.index);
    const brush = event.altKey && reading.canPaint ? "next" : timeline.brush;
    if (index === null && brush === null) {
      return;
    }
    event.preventDefault(); // no text selection; focus is set below
    bar.setPointerCapture(event.pointerId);
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
    const { timeline } = this;
    const { x, width } = this.place(event);
    const index = meantHandle(spec, run, pressed);
    const boundary = boundariesOf(spec, run)?.[index] ?? 0;
    timeline.gesture = new Gesture(timeline, event, spec, { index, offset: x - (boundary / run.steps) * width });
    timeline.drawing.handles[index].focus({ preventScroll: true });
    timeline.draw();
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
    const { timeline } = this;
    try {
      const owners = resolve(spec, run);
      const { x, width } = this.place(event);
      const step = stepAt(x, width, run.steps);
      const stage = brush === "next" ? (owners[step] + 1) % spec.stages : brush;
      timeline.gesture = new Gesture(timeline, event, spec, { paint: { owners, from: step, stage } });
    } catch (error) {
      if (!(error instanceof ScheduleError)) {
        throw error;
      }
    }
  }

  /** @param {PointerEvent} event */
  moved(event) {
    const { timeline } = this;
    const { gesture } = timeline;
    const reading = timeline.read();
    const run = runTold(reading, timeline.live) ?? reading.run;
    const { x, width, away } = this.place(event);
    const step = stepAt(x, width, run.steps);
    if (!gesture) {
      return this.hover(step);
    }
    if (!gesture.follows(event)) {
      return;
    }
    if (gesture.paint) {
      const { owners, from, stage } = gesture.paint;
      timeline.write(paint(gesture.spec, owners, from, step, stage));
    } else if (gesture.index !== null) {
      const enough = gesture.spec.pattern.length > 0 || gesture.spec.splits.length > 0;
      gesture.leaving = !reading.kind.isNumber && enough && reading.names.length > 1 && away > LEAVE_DISTANCE;
      const position = positionAt(x - gesture.offset, width, run.steps);
      timeline.write(moveBoundary(gesture.spec, run, gesture.index, position, event.shiftKey));
    }
    timeline.draw();
  }

  /** @param {number | null} step */
  hover(step) {
    const { timeline } = this;
    if (timeline.gesture || step === timeline.hover) {
      return;
    }
    timeline.hover = step;
    timeline.draw();
  }

  /**
   * @param {PointerEvent} event
   * @param {boolean} keep
   */
  released({ pointerId }, keep) {
    if (pointerId === this.timeline.gesture?.press.pointerId) {
      this.finish(keep);
    }
  }

  /**
   * End the drag, if there is one.
   * @param {boolean} keep what it has done
   */
  finish(keep) {
    const { timeline } = this;
    const { gesture } = timeline;
    if (!gesture) {
      return;
    }
    timeline.gesture = null;
    if (!keep && gesture.moving) {
      timeline.write(gesture.spec);
    } else if (gesture.leaving && gesture.index !== null) {
      timeline.write(removeBoundary(gesture.spec, timeline.read().run, gesture.index));
    }
    gesture.end();
    timeline.hover = null;
    timeline.draw();
  }

  /** @param {MouseEvent} event */
  doubled(event) {
    event.stopPropagation();
    const { timeline } = this;
    const reading = timeline.read();
    const spec = parseLoosely(reading);
    if (!spec || reading.locked || reading.kind.isNumber || !canAdd(spec, reading.run)) {
      return;
    }
    const { x, width } = this.place(event);
    const boundary = Math.round(positionAt(x, width, reading.run.steps));
    timeline.edit(() => timeline.write(addBoundary(spec, reading.run, boundary)));
  }
}

/** A drag, from press to release: one entry in the page's undo history. */
export class Gesture {
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
