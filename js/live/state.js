// What the server tells of a run, as the widgets show it. Pure: no page, no clock.

/**
 * @typedef {object} Message of the server, `tstitch.progress`
 * @property {string} node execution id of the node that holds the schedule, such as "7" or "2:1"
 * @property {string | null} sampler execution id of the node that samples
 * @property {string | null} prompt
 * @property {string | null} workflow id of the workflow it was queued from
 * @property {string[]} names of the models' inputs, in run order
 * @property {number} steps
 * @property {[number, number][]} intervals [stage, steps]
 * @property {number[]} sigmas
 * @property {number[]} timesteps
 * @property {number[]} [noises]
 * @property {boolean} finished
 * @property {number} step
 * @property {number} stage
 * @property {number[]} stepsPerStage that are done
 * @property {number[]} [weakCallsPerStage] answers of the weak model that guides a stage
 * @property {number[]} secondsPerStage
 * @property {(number | null)[]} secondsPerStep of each stage; null for one that has not been measured
 * @property {string | null} [levelsKey] not the server's: fingerprint of the graph that the levels belong to
 */

/**
 * What a timeline shows. A widget takes it by `setLive(state)`, and null for "nothing is known".
 * @typedef {object} LiveState
 * @property {number} step steps that are done
 * @property {number} steps of the run
 * @property {number} stage the one at work, 0 is the first in run order
 * @property {number[]} secondsPerStage so far
 * @property {number[]} stepsPerStage that are done
 * @property {number[]} weakCallsPerStage answers of the weak model that guides a stage
 * @property {string[]} names of the models' inputs, in run order
 * @property {number | null} restSeconds null where a model that is still to come has not been measured
 * @property {boolean} finished
 * @property {number | null} savedSeconds against the finishing model alone, sampling only; null until it is finished
 * @property {[number, number][]} intervals [stage, steps] in order
 * @property {number[]} sigmas levels of the run, one more than there are steps
 * @property {number[]} timesteps
 * @property {number[]} [noises]
 * @property {string | null} levelsKey fingerprint of the graph that the levels belong to; null where that is not known
 */

/**
 * @param {Message} message
 * @returns {LiveState}
 */
export function liveState(message) {
  const pace = message.secondsPerStep;
  const { step, steps, stage, stepsPerStage, secondsPerStage, names, finished, intervals, sigmas, timesteps, noises } =
    message;
  return {
    step,
    steps,
    stage,
    secondsPerStage,
    stepsPerStage,
    weakCallsPerStage: message.weakCallsPerStage ?? stepsPerStage.map(() => 0),
    names,
    finished,
    intervals,
    sigmas,
    timesteps,
    noises,
    levelsKey: message.levelsKey ?? null,
    restSeconds: finished ? 0 : seconds(remaining(message), pace),
    savedSeconds: finished ? saved(stepsPerStage, pace) : null,
  };
}

/**
 * Steps that each stage still has to do.
 * @param {Message} message
 */
function remaining({ intervals, stepsPerStage }) {
  const all = stepsPerStage.map(() => 0);
  for (const [stage, steps] of intervals) {
    all[stage] += steps;
  }
  return all.map((steps, stage) => Math.max(0, steps - stepsPerStage[stage]));
}

/**
 * @param {number[]} stepsPerStage
 * @param {(number | null)[]} pace
 * @returns {number | null}
 */
function seconds(stepsPerStage, pace) {
  let sum = 0;
  for (const [stage, steps] of stepsPerStage.entries()) {
    const each = pace[stage];
    if (steps > 0 && each === null) {
      return null;
    }
    sum += steps * (each ?? 0);
  }
  return sum;
}

/**
 * @param {number[]} stepsPerStage
 * @param {(number | null)[]} pace
 */
function saved(stepsPerStage, pace) {
  const spent = seconds(stepsPerStage, pace);
  const alone = pace.at(-1) ?? null;
  const steps = stepsPerStage.reduce((sum, count) => sum + count, 0);
  return spent === null || alone === null ? null : alone * steps - spent;
}

/**
 * The last message of every node, by workflow and execution id. Finished ones outlive a reload of the page.
 */
export class LiveStore {
  /** @param {Storage | null} storage */
  constructor(storage) {
    this.storage = storage;
    /** @type {Map<string, Message>} */
    this.messages = new Map();
    for (const [key, message] of Object.entries(this.restored())) {
      this.messages.set(key, message);
    }
  }

  /**
   * @param {Message} message
   * @param {() => string | null} levelsKey asked at the first message of a prompt
   * @returns {LiveState}
   */
  take(message, levelsKey = () => null) {
    const key = keyOf(message.workflow, message.node);
    const before = this.messages.get(key);
    const earlier = before ? before.secondsPerStep : [];
    const known = message.secondsPerStep.map((measured, stage) => measured ?? (samePlaces(before, message) ? earlier[stage] : null));
    const goesOn = before?.prompt === message.prompt;
    const isSame = before?.sampler === message.sampler; // a second sampler of the prompt has levels of its own
    const asked = goesOn ? (isSame ? before.levelsKey : null) : levelsKey();
    const kept = { ...message, secondsPerStep: known, levelsKey: asked };
    this.messages.set(key, kept);
    if (message.finished) {
      this.keep();
    }
    return liveState(kept);
  }

  /**
   * @param {string | null} workflow
   * @param {string} node
   * @returns {LiveState | null}
   */
  of(workflow, node) {
    const message = this.messages.get(keyOf(workflow, node));
    return message ? liveState(message) : null;
  }

  /**
   * Forget the unfinished runs of a prompt that ended early, or of all prompts, and tell whose they were.
   * @param {string | null} [prompt]
   * @returns {Message[]}
   */
  drop(prompt) {
    const dropped = [...this.messages].filter(([, message]) => !message.finished && (prompt === undefined || message.prompt === prompt));
    for (const [key] of dropped) {
      this.messages.delete(key);
    }
    return dropped.map(([, message]) => message);
  }

  keep() {
    const finished = [...this.messages].filter(([, message]) => message.finished).slice(-KEPT);
    try {
      this.storage?.setItem(STORAGE_KEY, JSON.stringify(Object.fromEntries(finished)));
    } catch {
      // The storage is full or forbidden: the figures then live as long as the page.
    }
  }

  /** @returns {Record<string, Message>} */
  restored() {
    try {
      return JSON.parse(this.storage?.getItem(STORAGE_KEY) ?? "{}");
    } catch {
      return {};
    }
  }
}

const STORAGE_KEY = "TStitch.Live";
const KEPT = 50;

/**
 * @param {string | null} workflow
 * @param {string} node
 */
function keyOf(workflow, node) {
  return `${workflow ?? ""}/${node}`;
}

/**
 * Whether the stages of two runs stand for the same inputs.
 * @param {Message | undefined} before
 * @param {Message} now
 */
function samePlaces(before, now) {
  return before !== undefined && before.names.join() === now.names.join();
}
