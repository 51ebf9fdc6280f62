/** Whether the models of a chain read the same latents, as far as the server knows their files. */

import { Refusal } from "./chain.js";
import { nameOf } from "./chart.js";
import { modelFile } from "./levels.js";

/**
 * @typedef {import("./chart.js").Chart} Chart
 * @typedef {import("./chain.js").Chain} Chain
 * @typedef {{sampler: string, file: string}} ModelFile
 */

/**
 * @param {Chart} chart
 * @param {Chain} chain
 * @returns {ModelFile[]} of those samplers whose file the graph tells
 */
export function filesOf(chart, { parts }) {
  return parts.flatMap(({ node }) => {
    const guider = chart.follow(chart.from(node, "guider"), node.mode).output;
    const holder = guider ? chart.node(guider.node) : node;
    const file = modelFile(chart, chart.from(holder, "model"), node.mode);
    return file === null ? [] : [{ sampler: nameOf(node), file }];
  });
}

/**
 * @param {ModelFile[]} files of one chain
 * @param {Record<string, {latents: string, group: number}>} known by file
 * @throws {Refusal}
 */
export function compareLatents(files, known) {
  const told = files.filter(({ file }) => known[file]);
  const other = told.find(({ file }) => known[file].group !== known[told[0].file].group);
  if (other) {
    const [x, y] = [told[0], other].map(({ file }) => known[file].latents);
    throw new Refusal({ kind: "latents", values: { a: told[0].sampler, b: other.sampler, x, y } });
  }
}
