// Every official template of the host: a chain is offered where one is, and what it becomes holds together.
//
// `python dev.py setup` brings the files; the list of what was offered and refused is written with the results.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { chartOfWorkflow } from "../../../js/convert/chart.js";
import { survey } from "../../../js/convert/chain.js";
import { joinAll } from "../../../js/convert/convert.js";
import { say } from "../../../js/convert/sentences.js";
import { PAGE, pageOf, templates } from "../../../scripts/chains.js";
import { definitionsOf } from "../../../js/convert/workflow.js";
import { asObject, checkGraph } from "./workflows.js";

const HOSTS = new URL("../../../.host/", import.meta.url);
const JOINABLE = ["KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"];
const SAMPLERS = [...JOINABLE, "KSampler"];

/** Folders of templates that are on this machine, by what they are called. */
function folders() {
  const names = existsSync(HOSTS) ? readdirSync(HOSTS) : [];
  return names.flatMap((name) =>
    ["comfyui_workflow_templates", "comfyui_workflow_templates_json"]
      .map((each) => new URL(`${name}/${each}/templates/`, HOSTS))
      .filter((folder) => existsSync(folder))
      .map((folder) => [name, folder]),
  );
}

/** @returns {[string, any][]} */
function workflowsIn(folder) {
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  const read = files.map((name) => [name, JSON.parse(readFileSync(new URL(name, folder), "utf8"))]);
  return read.filter(([, content]) => Array.isArray(content.nodes) && Array.isArray(content.links));
}

function graphsOf(workflow) {
  return [workflow, ...definitionsOf(workflow)];
}

/** Pairs of samplers of which one reads the other's first output directly, counted without the code under test. */
function directPairs(graph) {
  const nodes = new Map(graph.nodes.map((node) => [String(node.id), node]));
  return graph.links.map(asObject).filter(({ origin_id, origin_slot, target_id, target_slot }) => {
    const [first, second] = [nodes.get(String(origin_id)), nodes.get(String(target_id))];
    const isLatent = second?.inputs?.[target_slot]?.name === "latent_image";
    return isLatent && origin_slot === 0 && SAMPLERS.includes(first?.type) && JOINABLE.includes(second?.type);
  }).length;
}

/** Ends of links that lead nowhere in the file as it is: some templates have them. */
function isWhole(graph) {
  try {
    checkGraph(graph);
    return true;
  } catch {
    return false;
  }
}

for (const [name, folder] of folders()) {
  test(`templates of ${name}`, (context) => {
    const lines = [];
    for (const [file, workflow] of workflowsIn(folder)) {
      const before = JSON.stringify(workflow);
      const { document, steps, refused } = joinAll(workflow);
      assert.equal(JSON.stringify(workflow), before, `${file} was changed`);
      for (const { plan } of steps) {
        lines.push(`${file}: joined ${plan.samplers} samplers as ${plan.add.map(({ type }) => type).join(", ")}`);
        lines.push(...plan.differences.map((sentence) => `  ${say(sentence)}`));
      }
      lines.push(...refused.map((sentence) => `${file}: refused. ${say(sentence)}`));
      if (!steps.length) {
        assert.equal(document, workflow);
      }
      const pairs = graphsOf(workflow).map(directPairs).reduce((sum, count) => sum + count, 0);
      const joined = steps.reduce((sum, { plan }) => sum + plan.samplers - 1, 0);
      assert.equal(joined, pairs, `${file}: ${pairs} samplers follow another one directly, ${joined} were joined`);
      graphsOf(document).forEach((graph, index) => {
        assert.deepEqual(survey(chartOfWorkflow(graph)).last, [], `${file} still has a chain`);
        if (isWhole(graphsOf(workflow)[index])) {
          checkGraph(graph);
        }
      });
      assert.deepEqual(joinAll(JSON.parse(JSON.stringify(document))).steps, [], `${file} is not the same when read anew`);
    }
    lines.forEach((line) => context.diagnostic(line));
  });
}

const pinned = templates();
test("the list in the docs is that of the templates", { skip: pinned ? false : "python dev.py setup brings them" }, () => {
  assert.equal(readFileSync(PAGE, "utf8"), pageOf(pinned), "run node scripts/chains.js");
});

test("the templates are there", { skip: folders().length ? false : "python dev.py setup brings them" }, () => {});
