/** A conversion carried out on a prompt of the API. */

import { CONTROL, KINDS } from "./nodes.js";

/**
 * @typedef {import("./plan.js").Plan} Plan
 * @typedef {import("./chart.js").Output} Output
 */

/**
 * @param {Record<string, any>} prompt
 * @param {Plan} plan
 * @returns {Record<string, any>} another one; the given one stays as it is
 */
export function applyToPrompt(prompt, plan) {
  const changed = structuredClone(prompt);
  const ids = newIds(prompt, plan);
  const reference = (/** @type {Output} */ { node, slot }) => [ids.get(node) ?? node, slot];
  for (const id of plan.remove) {
    delete changed[id];
  }
  for (const { key, type, title, values, inputs } of plan.add) {
    const linked = Object.entries(inputs).map(([name, output]) => [name, reference(output)]);
    const node = { class_type: type, inputs: { ...widgetsOf(type, values), ...Object.fromEntries(linked) } };
    changed[/** @type {string} */ (ids.get(key))] = title ? { ...node, _meta: { title } } : node;
  }
  for (const { node, values, inputs } of plan.change) {
    const own = changed[node].inputs;
    Object.assign(own, withoutControl(values));
    for (const [name, output] of Object.entries(inputs)) {
      if (output) {
        own[name] = reference(output);
      }
    }
  }
  for (const { node, input, from } of plan.readers) {
    changed[node].inputs[input] = reference(from);
  }
  return changed;
}

/**
 * @param {string} type
 * @param {Record<string, any>} values
 */
function widgetsOf(type, values) {
  const defaults = KINDS[type].widgets.map(([name, , value]) => [name, value]);
  return withoutControl({ ...Object.fromEntries(defaults), ...values });
}

/**
 * @param {Record<string, any>} values
 * @returns {Record<string, any>} those that the server reads
 */
function withoutControl({ [CONTROL]: _, ...values }) {
  return values;
}

/**
 * @param {Record<string, any>} prompt
 * @param {Plan} plan
 * @returns {Map<string, string>} by key
 */
function newIds(prompt, plan) {
  let next = Math.max(0, ...Object.keys(prompt).map(Number).filter(Number.isFinite)) + 1;
  return new Map(plan.add.map(({ key, id }) => [key, id ?? String(next++)]));
}
