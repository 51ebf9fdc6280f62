/** The noise levels of runs that have not been made yet, from the server, which asks the host's own schedulers. */

import { runOf } from "./schedule.js";

/** @typedef {import("./schedule.js").Run} Run */
/** @typedef {import("./graph.js").Plan} Plan */

/**
 * What GET /tstitch/levels answers.
 * @typedef {object} Levels
 * @property {number[]} sigmas
 * @property {number[]} timesteps
 * @property {number[]} [noises] absent from older servers
 * @property {number} first_step
 * @property {number} total_steps
 * @property {boolean} whole
 * @property {boolean} [starts] whether the run starts where the whole schedule does
 * @property {number[]} fraction_sigmas
 */

const ROUTE = "/tstitch/levels";
const KEPT = 200;
const MAX_STEPS = 1000; // the server refuses more
const RETRY_MS = 5000;

export class LevelsCache {
  /** @param {(route: string) => Promise<Response>} fetchApi */
  constructor(fetchApi) {
    this.fetchApi = fetchApi;
    /** @type {Map<string, Levels | null>} null: asked for, or refused */
    this.known = new Map();
    this.now = Date.now;
    this.awayUntil = -Infinity;
  }

  /**
   * The levels of a plan if they have come; else they are asked for, once.
   * @param {Plan} plan
   * @param {{sampling: string, shift: number}} kind
   * @returns {Levels | null}
   */
  get(plan, { sampling, shift }) {
    if (plan.scheduler === null || wholeSteps(plan) > MAX_STEPS) {
      return null;
    }
    const query = new URLSearchParams({
      steps: String(plan.steps),
      scheduler: plan.scheduler,
      sampler_name: plan.sampler_name,
      denoise: String(plan.denoise),
      start: String(plan.start),
      ...(plan.end === null ? {} : { end: String(plan.end) }),
      leftover_noise: String(plan.leftover_noise),
      sampling,
      shift: String(shift),
    }).toString();
    const known = this.known.get(query);
    if (known === undefined && this.now() >= this.awayUntil) {
      this.ask(query);
    }
    return known ?? null;
  }

  /** @param {string} query */
  async ask(query) {
    if (this.known.size >= KEPT) {
      this.known.clear();
    }
    this.known.set(query, null);
    try {
      const response = await this.fetchApi(`${ROUTE}?${query}`);
      if (response.ok) {
        this.known.set(query, await response.json());
      }
    } catch {
      this.known.delete(query); // the server is away
      this.awayUntil = this.now() + RETRY_MS;
    }
  }
}

/**
 * Steps of the whole schedule, of which an img2img pass runs the end.
 * @param {Plan} plan
 */
function wholeSteps(plan) {
  return plan.denoise > 0.9999 || plan.denoise <= 0 ? plan.steps : Math.floor(plan.steps / plan.denoise);
}

/**
 * The run of a plan, with as much as is known of it.
 * @param {Plan} plan
 * @param {Levels | null} levels
 * @param {boolean} knowsWhole whether the node itself knows the full schedule, as the samplers of this pack do
 * @returns {Run}
 */
export function plannedRun(plan, levels, knowsWhole) {
  if (levels) {
    const steps = levels.sigmas.length - 1;
    const { sigmas, timesteps, noises = null } = levels;
    const known = { sigmas, timesteps, noises, sigmaOfFraction: fractionTable(levels) };
    if (knowsWhole) {
      return runOf(steps, { ...known, firstStep: levels.first_step, totalSteps: levels.total_steps });
    }
    return runOf(steps, { ...known, firstStep: levels.starts ? 0 : null, totalSteps: levels.whole ? steps : null });
  }
  const total = wholeSteps(plan);
  const firstStep = Math.min(total - plan.steps + plan.start, total - 1);
  const steps = Math.max(1, Math.min(total, plan.end ?? total) - firstStep);
  if (knowsWhole) {
    return runOf(steps, { firstStep, totalSteps: total });
  }
  const starts = firstStep === 0;
  return runOf(steps, { firstStep: starts ? 0 : null, totalSteps: starts && steps === total ? steps : null });
}

/**
 * The host's percent_to_sigma: exact at the fractions of the table, and near between them.
 * @param {Levels} levels
 * @returns {(fraction: number) => number}
 */
function fractionTable({ fraction_sigmas: table }) {
  return (fraction) => {
    const place = Math.min(Math.max(fraction, 0), 1) * (table.length - 1);
    const below = Math.floor(place + 1e-9);
    const rest = place - below;
    if (rest < 1e-9) {
      return table[below];
    }
    const from = Math.max(below, 1); // the host gives fraction 0 a sigma beyond all others
    return table[from] + (place - from) * (table[from + 1] - table[from]);
  };
}
