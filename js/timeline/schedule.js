/**
 * Which model owns which step, exactly as tstitch/schedule.py: the same texts, the same arithmetic, the same sentences.
 * Both are tested on tests/data/schedules.json. Stages count from 0 here and from 1 in the texts.
 */

export const MAX_STAGES = 8;
export const UNITS = ["steps", "step", "timestep", "sigma", "noise"];

/** Units in which splits are noise levels. */
const FALLING = ["timestep", "sigma", "noise"];

/** Units that go from 0 to 1, and what a number in them is. */
const MEANINGS = new Map([
  ["steps", "a fraction of the steps"],
  ["timestep", "a noise level t"],
  ["noise", "a share of noise"],
]);

/** A noise level this close (relative) to a boundary is the boundary. */
const LEVEL_TOLERANCE = 1e-5;

const NUMBER = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/;
/** What Python takes for white space. */
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const SEPARATORS = new RegExp(`[${SPACE},;]+`);
const OUTER_SPACE = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");

/** A text that cannot be followed; the message is the sentence for the user. */
export class ScheduleError extends Error {}

/**
 * The noise levels of one run, and its place in the full schedule.
 * @typedef {object} Run
 * @property {number} steps
 * @property {number[] | null} sigmas levels between the steps, one more than there are steps; null where not known
 * @property {number[] | null} timesteps the same levels as t in [0, 1], 1 = pure noise
 * @property {number[] | null} noises the same levels as the share of noise r / (1 + r), r = noise to signal
 * @property {number | null} firstStep of the full schedule; null where a later part of an unknown one is seen
 * @property {number | null} totalSteps of the full schedule; null where only a part of an unknown one is seen
 * @property {((fraction: number) => number) | null} sigmaOfFraction the host's percent_to_sigma
 */

/**
 * Consecutive steps start <= j < stop of one stage.
 * @typedef {{stage: number, start: number, stop: number}} Interval
 */

/**
 * A schedule as a person writes it; `pattern` replaces `splits` where it is not empty.
 * @typedef {object} Spec
 * @property {number} stages
 * @property {number[]} splits
 * @property {string} unit
 * @property {{stage: number, steps: number}[]} pattern
 */

/**
 * @param {number} steps
 * @param {Partial<Run>} [more]
 * @returns {Run} a whole run whose noise levels are not known, unless `more` says otherwise
 */
export function runOf(steps, more = {}) {
  const unknown = { sigmas: null, timesteps: null, noises: null, sigmaOfFraction: null };
  return { steps, ...unknown, firstStep: 0, totalSteps: steps, ...more };
}

/** @param {string} text */
export function strip(text) {
  return text.replace(OUTER_SPACE, "");
}

/**
 * @param {string} splits
 * @param {string} unit
 * @param {string} pattern
 * @param {number} stages
 * @returns {Spec}
 * @throws {ScheduleError}
 */
export function parseSpec(splits, unit, pattern, stages) {
  if (strip(pattern)) {
    return { stages, splits: [], unit, pattern: parsePattern(pattern, stages) };
  }
  return { stages, splits: parseSplits(splits, unit, stages), unit, pattern: [] };
}

/**
 * Numbers separated by commas or spaces, one fewer than there are models.
 * @param {string} text
 * @param {string} unit
 * @param {number} stages
 * @throws {ScheduleError}
 */
export function parseSplits(text, unit, stages) {
  const splits = readSplits(text);
  if (splits.length !== stages - 1) {
    const needed = `${stages - 1} split${stages === 2 ? "" : "s"}`;
    throw new ScheduleError(
      `${stages} models need ${needed}, got ${splits.length}: edit splits, or connect as many models.`,
    );
  }
  checkSplits(splits, unit);
  return splits;
}

/**
 * @param {string} text
 * @throws {ScheduleError}
 */
export function readSplits(text) {
  const words = text.split(SEPARATORS).filter((word) => word);
  if (!words.every((word) => NUMBER.test(word))) {
    throw new ScheduleError(`splits must be numbers such as "0.4" or "0.3, 0.6", got "${strip(text)}".`);
  }
  return words.map(Number);
}

/**
 * The number that a text holds, as a widget or a link has it.
 * @param {string} name
 * @param {string} text
 * @throws {ScheduleError}
 */
export function readNumber(name, text) {
  const word = strip(text);
  if (!NUMBER.test(word)) {
    throw new ScheduleError(`${name} must be a number such as 0.4, got "${word}".`);
  }
  return Number(word);
}

/**
 * @param {number[]} splits
 * @param {string} unit
 * @param {string} [name]
 * @throws {ScheduleError} unless `splits` are in range and in run order for `unit`
 */
export function checkSplits(splits, unit, name = "splits") {
  if (!UNITS.includes(unit)) {
    throw new ScheduleError(`unit must be one of ${UNITS.join(", ")}, got ${unit}.`);
  }
  for (const split of splits) {
    checkSplit(split, unit, name);
  }
  for (const [index, later] of splits.entries()) {
    const earlier = splits[index - 1];
    if ((unit === "steps" || unit === "step") && later < earlier) {
      throw new ScheduleError(`${name} must rise: ${general(earlier)} comes before ${general(later)}.`);
    }
    if (FALLING.includes(unit) && later > earlier) {
      throw new ScheduleError(
        `${name} in unit ${unit} must fall, as the noise does: ${general(earlier)} comes before ${general(later)}.`,
      );
    }
  }
}

/**
 * @param {number} split
 * @param {string} unit
 * @param {string} name
 */
function checkSplit(split, unit, name) {
  if (!Number.isFinite(split) || split < 0) {
    throw new ScheduleError(`${name} must be zero or above, got ${general(split)}.`);
  }
  const what = MEANINGS.get(unit);
  if (what && split > 1) {
    throw new ScheduleError(
      `${name} in unit ${unit} is ${what} from 0 to 1, got ${general(split)}: lower it, or set unit to` +
        ` ${unit === "steps" ? "step" : "sigma"}.`,
    );
  }
  if (unit === "step" && !Number.isInteger(split)) {
    throw new ScheduleError(`${name} in unit step must be whole numbers, got ${general(split)}.`);
  }
}

/**
 * Run-length form such as "1x8 2x12": model number, x, steps.
 * @param {string} text
 * @param {number} stages
 * @throws {ScheduleError}
 */
export function parsePattern(text, stages) {
  return text
    .replace(/^[ \t\r\n,;]+|[ \t\r\n,;]+$/g, "")
    .split(SEPARATORS)
    .map((word) => {
      const match = /^([0-9]{1,9})(?:[xX*]([0-9]{1,9}))?$/.exec(word);
      if (!match) {
        throw new ScheduleError(`pattern must look like "1x8 2x12" (model x steps), but has "${word}".`);
      }
      const [model, steps] = [Number(match[1]), Number(match[2] ?? 1)];
      if (model < 1 || model > stages) {
        throw new ScheduleError(`pattern names model ${model}, but only models 1 to ${stages} are connected.`);
      }
      if (steps === 0) {
        throw new ScheduleError(`pattern has "${word}", but an interval needs at least one step.`);
      }
      return { stage: model - 1, steps };
    });
}

/**
 * The stage of each step of `run`.
 * @param {Spec} spec
 * @param {Run} run
 * @returns {number[]}
 * @throws {ScheduleError} where the schedule does not fit the run
 */
export function resolve(spec, run) {
  if (spec.pattern.length) {
    return ownersOfPattern(spec.pattern, run);
  }
  if (countsLevels(spec.unit, run)) {
    const [levels, splits] = levelsAndSplits(spec, run);
    return levels.slice(0, -1).map((start) => splits.filter((split) => isPast(start, split, spec.unit)).length);
  }
  if (!isMonotone(run)) {
    throw new ScheduleError(
      "The sigmas of this run both rise and fall, so its steps cannot be told apart by noise level:" +
        " set unit to timestep or sigma.",
    );
  }
  const bounds = stepBounds(spec, run);
  return Array.from({ length: run.steps }, (_, step) => bounds.filter((bound) => step >= bound).length);
}

/**
 * Whether splits in `unit` are noise levels in this run, not step numbers.
 * @param {string} unit
 * @param {Run} run
 */
export function countsLevels(unit, run) {
  return FALLING.includes(unit) || (unit === "steps" && run.totalSteps === null);
}

/**
 * The levels of the run in a unit that counts them.
 * @param {string} unit
 * @param {Run} run
 */
export function levelsIn(unit, run) {
  return { timestep: run.timesteps, noise: run.noises }[unit] ?? (isShare(unit) ? null : run.sigmas);
}

/**
 * Whether levels in `unit` go from 1 to 0.
 * @param {string} unit
 */
export function isShare(unit) {
  return unit === "timestep" || unit === "noise";
}

/**
 * The levels of the run that splits in this unit are compared with, and the splits in the same measure.
 * @param {Spec} spec
 * @param {Run} run
 * @returns {[number[], number[]]}
 */
export function levelsAndSplits({ splits, unit }, run) {
  const levels = levelsIn(unit, run);
  const { sigmaOfFraction } = run;
  if (!levels || (unit === "steps" && !sigmaOfFraction)) {
    throw new ScheduleError("The noise levels of this run are not known before its first run: run it once.");
  }
  if (isShare(unit)) {
    // pure noise is where all begins: there, the earlier stage has nothing to do
    return [levels, splits.map((split) => (split < 1 ? split : Infinity))];
  }
  if (unit !== "steps" || !sigmaOfFraction) {
    return [levels, splits];
  }
  return [levels, splits.map((split) => (split < 1 ? sigmaOfFraction(split) : -Infinity))];
}

/**
 * Whether a step that starts from the level `start` lies after a split. On the split itself it is still the earlier
 * stage's, as the authors of Wan 2.2 count, whose first model has t >= 0.875; but where the split is a fraction of the
 * steps, its level is where the later stage's first step begins.
 * @param {number} start
 * @param {number} split
 * @param {string} unit
 */
export function isPast(start, split, unit) {
  return unit === "steps" ? start <= split * (1 + LEVEL_TOLERANCE) : start < split * (1 - LEVEL_TOLERANCE);
}

/**
 * The step at which each later stage takes over, counted from the start of the run; may lie outside it.
 * @param {Spec} spec
 * @param {Run} run
 */
function stepBounds({ splits, unit }, { totalSteps, firstStep }) {
  if (unit === "steps") {
    return splits.map((split) => roundHalfUp(split * Number(totalSteps)) - Number(firstStep));
  }
  const beyond = totalSteps === null ? undefined : splits.find((split) => split > totalSteps);
  if (beyond !== undefined) {
    throw new ScheduleError(
      `The split at step ${general(beyond)} lies beyond the ${totalSteps} steps of this run: lower it, or use unit` +
        " steps, which counts in fractions.",
    );
  }
  if (firstStep === null && splits.some((split) => split > 0)) {
    throw new ScheduleError(
      `The split at step ${general(Math.max(...splits))} counts from the start of the whole schedule, but this run is a` +
        " later part of one whose steps are not known here: set unit to steps (a fraction of the whole)," +
        " timestep or sigma.",
    );
  }
  return splits.map((split) => split - (firstStep ?? 0));
}

/** @param {Spec["pattern"]} pattern */
export function stepsOfPattern(pattern) {
  return pattern.reduce((sum, { steps }) => sum + steps, 0);
}

/**
 * The pattern stands for the whole schedule, of which `run` may be a part.
 * @param {Spec["pattern"]} pattern
 * @param {Run} run
 */
function ownersOfPattern(pattern, run) {
  if (!isMonotone(run)) {
    throw new ScheduleError(
      "The sigmas of this run both rise and fall, so a pattern of steps cannot be followed: clear the" +
        " pattern and set unit to timestep or sigma.",
    );
  }
  const { steps, firstStep, totalSteps } = run;
  const total = stepsOfPattern(pattern);
  const bounds = pattern.slice(0, -1).map((_, index) => stepsOfPattern(pattern.slice(0, index + 1)));
  if (firstStep === null) {
    const shares = { stages: 0, unit: "steps", pattern: [], splits: bounds.map((bound) => bound / total) };
    const [levels, splits] = levelsAndSplits(shares, run);
    const entries = levels.slice(0, -1).map((start) => splits.filter((split) => isPast(start, split, "steps")).length);
    return entries.map((entry) => pattern[entry].stage);
  }
  const isWhole = firstStep === 0 && totalSteps === steps;
  if (totalSteps === null ? total < steps : total !== steps && total !== totalSteps) {
    const place = isWhole || totalSteps === null ? `has ${steps}` : `is ${steps} steps of a schedule of ${totalSteps}`;
    throw new ScheduleError(
      `The pattern adds up to ${total} steps, but this run ${place}: change the counts, or the steps of the sampler.`,
    );
  }
  const scale = totalSteps !== null && total === steps ? totalSteps / total : 1;
  const places = bounds.map((bound) => roundHalfUp(bound * scale) - firstStep);
  return Array.from({ length: steps }, (_, step) => pattern[places.filter((place) => step >= place).length].stage);
}

/** @param {Run} run */
function isMonotone({ sigmas }) {
  if (!sigmas) {
    return true;
  }
  const falls = sigmas.every((sigma, index) => index === 0 || sigmas[index - 1] >= sigma);
  return falls || sigmas.every((sigma, index) => index === 0 || sigmas[index - 1] <= sigma);
}

/**
 * @param {number[]} owners
 * @returns {Interval[]}
 */
export function intervalsOf(owners) {
  /** @type {Interval[]} */
  const found = [];
  for (const [step, stage] of owners.entries()) {
    const last = found.at(-1);
    if (last?.stage === stage) {
      last.stop = step + 1;
    } else {
      found.push({ stage, start: step, stop: step + 1 });
    }
  }
  return found;
}

/**
 * Run-length text, as `parsePattern` reads it.
 * @param {number[]} owners
 */
export function patternOf(owners) {
  return intervalsOf(owners)
    .map(({ stage, start, stop }) => `${stage + 1}x${stop - start}`)
    .join(" ");
}

/**
 * The paper's first round(r T) steps, .5 rounded up. 0.29 * 50 counts as 14.5.
 * @param {number} value
 */
export function roundHalfUp(value) {
  return Math.floor(Number(value.toFixed(9)) + 0.5);
}

/**
 * Six significant digits, as Python's format code g writes them in the sentences.
 * @param {number} value
 */
export function general(value) {
  if (!Number.isFinite(value)) {
    return String(value).replace("Infinity", "inf").replace("NaN", "nan");
  }
  const [digits, power] = value.toExponential(5).split("e");
  const exponent = Number(power);
  if (value !== 0 && (exponent < -4 || exponent > 5)) {
    const mantissa = digits.replace(/\.?0+$/, "");
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  return String(Number(value.toPrecision(6)));
}
