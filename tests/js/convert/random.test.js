// Random graphs around chains: whatever is joined holds together, and whatever is not stays as it was.

import assert from "node:assert/strict";
import { test } from "node:test";

import { chartOfWorkflow } from "../../../js/convert/chart.js";
import { survey } from "../../../js/convert/chain.js";
import { joinAll } from "../../../js/convert/convert.js";
import { say } from "../../../js/convert/sentences.js";
import { checkGraph, from, prompted, SOURCES, steps, workflowOf } from "./workflows.js";

const GRAPHS = 400;

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A chain of advanced samplers, what else reads them, and what lies between. */
function randomGraph(seed) {
  const random = generator(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const maybe = (chance) => random() < chance;
  const nodes = { ...SOURCES, 8: ["Text"], 9: ["PrimitiveInt", { value: 20 }], 10: ["ComfyMathExpression"] };
  let next = 11;
  const add = (...node) => {
    nodes[next] = node;
    next += 1;
    return String(next - 1);
  };
  const count = 1 + Math.floor(random() * 5);
  const bounds = [0, ...Array.from({ length: count - 1 }, (_, index) => 3 * (index + 1)), 10000];
  const mode = pick([0, 0, 0, 2, 4]);
  let latent = "5";
  for (let index = 0; index < count; index++) {
    const more = {
      cfg: pick([5, 5, 5, 1, from("10")]),
      steps: pick([20, 20, from("9"), 30]),
      add_noise: maybe(0.9) ? (index ? "disable" : "enable") : pick(["enable", "disable"]),
      sampler_name: pick(["euler", "euler", "dpmpp_2m"]),
      ...(maybe(0.1) ? { end_at_step: from("10") } : {}),
      ...(maybe(0.1) ? { start_at_step: from("10") } : {}),
      ...(maybe(0.2) ? { positive: from("8") } : {}),
      ...(maybe(0.05) ? { negative: undefined } : {}),
    };
    const settings = { ...steps(bounds[index], bounds[index + 1]), ...more };
    const own = maybe(0.05) ? pick([0, 2, 4]) : mode;
    const extra = { mode: own, ...(maybe(0.3) ? { title: `Part ${index}` } : {}) };
    const sampler = add("KSamplerAdvanced", prompted(pick(["1", "2"]), latent, settings), extra);
    if (maybe(0.2)) {
      add("PreviewLatent", { samples: from(sampler) }, { mode: pick([0, 2, 4]) });
    }
    latent = sampler;
    if (maybe(0.2)) {
      latent = add("Reroute", { "": from(latent) });
      if (maybe(0.3)) {
        add("PreviewLatent", { samples: from(latent) });
      }
    }
    if (maybe(0.1)) {
      latent = add("LatentUpscale", { samples: from(latent) }, { mode: pick([0, 4]) });
    }
    if (maybe(0.1)) {
      add("SetNode", { LATENT: from(latent), name: `latent ${next}` });
      latent = add("GetNode", { name: `latent ${next - 1}` });
    }
  }
  add("VAEDecode", { samples: from(latent) });
  return workflowOf(nodes);
}

test(`${GRAPHS} random graphs`, (context) => {
  const kinds = new Map();
  const tell = (kind) => kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  for (let seed = 0; seed < GRAPHS; seed++) {
    const workflow = randomGraph(seed);
    const before = JSON.stringify(workflow);
    const samplers = workflow.nodes.filter(({ type }) => type === "KSamplerAdvanced").length;
    const { document, steps: done, refused } = joinAll(workflow);
    assert.equal(JSON.stringify(workflow), before);
    checkGraph(document);
    const sentences = [...refused, ...done.flatMap(({ plan }) => plan.differences)];
    for (const sentence of sentences) {
      assert.doesNotMatch(say(sentence), /[{}]|undefined/, `seed ${seed}`);
      tell(sentence.kind);
    }
    done.forEach(({ plan }) => tell(`joined ${plan.samplers}`));
    const left = document.nodes.filter(({ type }) => type === "KSamplerAdvanced").length;
    assert.ok(left <= samplers, `seed ${seed}`);
    // What is left unread was unread before, or is switched off.
    const { last } = survey(chartOfWorkflow(document));
    assert.ok(last.length <= refused.length, `seed ${seed}: a chain is left and nothing is said of it`);
    for (const { plan } of done) {
      assert.ok(plan.add.length, `seed ${seed}`);
    }
  }
  context.diagnostic([...kinds].sort().map(([kind, count]) => `${kind}: ${count}`).join(", "));
  for (const kind of ["joined 2", "joined 3", "stays", "cut", "skipped", "changed", "open", "history", "steps"]) {
    assert.ok(kinds.has(kind), `no graph has shown ${kind}`);
  }
});
