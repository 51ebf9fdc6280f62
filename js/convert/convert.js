/** Chains of samplers in a file, found and turned into one loop each. */

import { chartOfPrompt, chartOfWorkflow, GraphError } from "./chart.js";
import { chainOf, Refusal, survey } from "./chain.js";
import { planOf } from "./plan.js";
import { applyToPrompt } from "./prompt.js";
import { applyToWorkflow, definitionsOf, graphIn } from "./workflow.js";

/**
 * @typedef {import("./plan.js").Plan} Plan
 * @typedef {import("./sentences.js").Sentence} Sentence
 *
 * @typedef {object} Step one chain that was joined
 * @property {string | null} subgraph
 * @property {Plan} plan
 *
 * @typedef {object} Outcome
 * @property {any} document the new one; the given one where nothing was joined
 * @property {Step[]} steps
 * @property {Sentence[]} refused
 */

/** More chains are in no workflow; a conversion that goes on without end would hang the page. */
const MOST_CHAINS = 256;

/**
 * What joining the chain of one sampler does.
 * @param {any} workflow
 * @param {string | null} subgraph the definition that the sampler is in; null for the workflow's own graph
 * @param {string} id
 * @returns {{plan: Plan, document: any}}
 * @throws {Refusal}
 */
export function joinAt(workflow, subgraph, id) {
  const chart = readable(() => chartOfWorkflow(graphIn(workflow, subgraph)));
  const plan = planOf(chart, chainOf(chart, id));
  return { plan, document: applyToWorkflow(workflow, subgraph, plan) };
}

/**
 * Join all chains of a graph, or of all graphs.
 * @param {any} workflow
 * @param {(string | null)[]} [subgraphs]
 * @returns {Outcome}
 * @throws {Refusal} where the file cannot be read
 */
export function joinAll(workflow, subgraphs = [null, ...definitionsOf(workflow).map(({ id }) => id)]) {
  /** @type {Outcome} */
  const outcome = { document: workflow, steps: [], refused: [] };
  for (const subgraph of subgraphs) {
    joinEach(outcome, {
      read: () => chartOfWorkflow(graphIn(outcome.document, subgraph)),
      apply: (plan) => applyToWorkflow(outcome.document, subgraph, plan),
      subgraph,
    });
  }
  return outcome;
}

/**
 * @param {any} prompt in the API's form
 * @returns {Outcome}
 * @throws {Refusal} where the file cannot be read
 */
export function joinAllOfPrompt(prompt) {
  /** @type {Outcome} */
  const outcome = { document: prompt, steps: [], refused: [] };
  joinEach(outcome, {
    read: () => chartOfPrompt(outcome.document),
    apply: (plan) => applyToPrompt(outcome.document, plan),
    subgraph: null,
  });
  return outcome;
}

/**
 * @param {Outcome} outcome
 * @param {{read: () => import("./chart.js").Chart, apply: (plan: Plan) => any, subgraph: string | null}} graph
 */
function joinEach(outcome, { read, apply, subgraph }) {
  const refused = new Map();
  for (let count = 0; count < MOST_CHAINS; count++) {
    const chart = readable(read);
    const { last, refused: others } = survey(chart);
    const id = last.find((each) => !refused.has(each));
    if (id === undefined) {
      outcome.refused.push(...refused.values(), ...others);
      return;
    }
    try {
      const plan = planOf(chart, chainOf(chart, id));
      outcome.document = apply(plan);
      outcome.steps.push({ subgraph, plan });
    } catch (error) {
      if (!(error instanceof Refusal)) {
        throw error;
      }
      refused.set(id, error.sentence);
    }
  }
}

/**
 * @template T
 * @param {() => T} read
 */
function readable(read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof GraphError) {
      throw new Refusal({ kind: "unreadable", values: { reason: error.message } });
    }
    throw error;
  }
}

/**
 * @param {any} document
 * @returns {boolean} whether it is in the page's form, else in the API's
 */
export function isWorkflow(document) {
  return Array.isArray(document?.nodes);
}
