// Chains of samplers in workflows, and the graphs that they become.

import assert from "node:assert/strict";
import { test } from "node:test";

import { chartOfWorkflow } from "../../../js/convert/chart.js";
import { chainOf, Refusal, survey } from "../../../js/convert/chain.js";
import { joinAll, joinAllOfPrompt, joinAt } from "../../../js/convert/convert.js";
import { compareLatents, filesOf } from "../../../js/convert/latents.js";
import { say } from "../../../js/convert/sentences.js";
import {
  checkGraph,
  from,
  nodeOfType,
  originOf,
  prompted,
  SOURCES,
  steps,
  twoSamplers,
  valuesOf,
  workflowOf,
} from "./workflows.js";

/** Join the chain of a node, and check the graph that comes out. */
function join(nodes, id = "7", boundary = undefined) {
  const graph = workflowOf(nodes, boundary);
  const workflow = boundary ? around(graph) : graph;
  const kept = structuredClone(workflow);
  const { plan, document } = joinAt(workflow, boundary ? "sub" : null, id);
  assert.deepEqual(workflow, kept, "the given workflow was changed");
  const changed = boundary ? document.definitions.subgraphs[0] : document;
  checkGraph(changed);
  return { graph: changed, document, kinds: plan.differences.map(({ kind }) => kind), plan };
}

function around(subgraph, properties = {}) {
  const node = { id: 1, type: "sub", pos: [0, 0], size: [300, 200], mode: 0, inputs: [], outputs: [], properties };
  return { last_node_id: 1, last_link_id: 0, nodes: [node], links: [], definitions: { subgraphs: [subgraph] }, version: 0.4 };
}

function refusalOf(nodes, id = "7") {
  let found;
  assert.throws(
    () => joinAt(workflowOf(nodes), null, id),
    (error) => {
      found = error;
      return error instanceof Refusal;
    },
  );
  return found.sentence;
}

test("two advanced samplers become one node in the first one's place", () => {
  const { graph, kinds } = join(twoSamplers({ noise_seed: 11 }, { noise_seed: 0 }));
  const node = nodeOfType(graph, "TStitchKSamplerAdvanced");
  assert.deepEqual(kinds, []);
  assert.deepEqual(valuesOf(node), {
    add_noise: "enable",
    noise_seed: 11,
    control_after_generate: "fixed",
    steps: 20,
    cfg: 5,
    sampler_name: "euler",
    scheduler: "simple",
    start_at_step: 0,
    end_at_step: 10000,
    return_with_leftover_noise: "disable",
    fraction: 8,
    small_cfg: 0,
    unit: "step",
    memory: "auto",
  });
  const inputs = ["model", "small_model", "positive", "negative", "latent_image", "small_positive", "small_negative"];
  const origins = inputs.map((name) => originOf(graph, node, name));
  assert.deepEqual(origins, ["2:0", "1:0", "3:0", "4:0", "5:0", undefined, undefined]);
  assert.equal(originOf(graph, graph.nodes.find(({ id }) => id === 8), "samples"), `${node.id}:0`);
  assert.deepEqual([node.id, node.pos], [6, [2400, 0]]);
  assert.deepEqual(graph.nodes.filter(({ type }) => type === "KSamplerAdvanced"), []);
});

test("any sampler of the chain can be the one that is chosen", () => {
  assert.deepEqual(join(twoSamplers(), "6").graph, join(twoSamplers(), "7").graph);
});

test("the first sampler's own prompts and cfg stay its own", () => {
  const nodes = { ...twoSamplers({ cfg: 7, positive: from("9") }), 9: ["Text"] };
  const { graph } = join(nodes);
  const node = nodeOfType(graph, "TStitchKSamplerAdvanced");
  assert.equal(originOf(graph, node, "small_positive"), "9:0");
  assert.equal(originOf(graph, node, "small_negative"), undefined);
  assert.deepEqual([valuesOf(node).small_cfg, valuesOf(node).cfg], [7, 5]);
});

test("a small cfg of 0, which would mean the same, is kept by guiders", () => {
  const { graph } = join(twoSamplers({ cfg: 0 }));
  assert.deepEqual(graph.nodes.filter(({ type }) => type === "CFGGuider").map((node) => valuesOf(node).cfg), [0, 5]);
});

test("where a run begins, ends, and leaves noise is kept", () => {
  const first = steps(4, 8, { add_noise: "disable" });
  const { graph } = join(twoSamplers(first, { ...steps(8, 15), return_with_leftover_noise: "enable" }));
  const values = valuesOf(nodeOfType(graph, "TStitchKSamplerAdvanced"));
  const names = ["add_noise", "start_at_step", "fraction", "end_at_step", "return_with_leftover_noise"];
  assert.deepEqual(names.map((name) => values[name]), ["disable", 4, 8, 15, "enable"]);
});

test("a step that comes over a link goes on to do so", () => {
  const split = { steps: from("10"), end_at_step: from("11") };
  const nodes = {
    ...twoSamplers(split, { steps: from("10"), start_at_step: from("11") }),
    10: ["PrimitiveNode", { value: 25 }],
    11: ["PrimitiveInt", { value: 10 }],
  };
  const { graph, kinds } = join(nodes);
  const node = nodeOfType(graph, "TStitchKSamplerAdvanced");
  const bridge = nodeOfType(graph, "TStitchSplitSteps");
  assert.deepEqual(kinds, []);
  assert.equal(originOf(graph, node, "steps"), "10:0");
  assert.equal(originOf(graph, node, "fraction"), `${bridge.id}:1`);
  assert.equal(originOf(graph, bridge, "step_1"), "11:0");
});

test("an unknown step is no hindrance where both samplers read the same one", () => {
  const nodes = {
    ...twoSamplers({ end_at_step: from("11") }, { start_at_step: from("12") }),
    10: ["PrimitiveInt"],
    11: ["ComfyMathExpression", { "values.a": from("10") }],
    12: ["Reroute", { "": from("11") }],
  };
  const { graph, kinds } = join(nodes);
  assert.deepEqual(kinds, []);
  assert.equal(originOf(graph, nodeOfType(graph, "TStitchSplitSteps"), "step_1"), "11:0");
  nodes[12] = ["ComfyMathExpression", { "values.a": from("10") }];
  assert.deepEqual(join(nodes).kinds, ["gapUnknown"]);
});

test("three samplers with one prompt become a schedule before the last one", () => {
  const nodes = {
    ...SOURCES,
    6: ["KSamplerAdvanced", prompted("1", "5", { ...steps(0, 8), noise_seed: 3, add_noise: "enable" })],
    7: ["KSamplerAdvanced", prompted("2", "6", steps(8, 14))],
    8: ["KSamplerAdvanced", prompted("1", "7", steps(14, 10000)), { title: "Last" }],
    9: ["VAEDecode", { samples: from("8") }],
  };
  const { graph, kinds } = join(nodes);
  const schedule = nodeOfType(graph, "TStitchModelSchedule");
  const sampler = nodeOfType(graph, "KSamplerAdvanced");
  assert.deepEqual(kinds, []);
  assert.deepEqual([valuesOf(schedule).splits, valuesOf(schedule).unit], ["8, 14", "step"]);
  const models = ["model_1", "model_2", "final_model"].map((name) => originOf(graph, schedule, name));
  assert.deepEqual(models, ["1:0", "2:0", "1:0"]);
  assert.deepEqual([sampler.id, sampler.title, valuesOf(sampler).start_at_step, valuesOf(sampler).noise_seed], [8, "Last", 0, 3]);
  assert.deepEqual([originOf(graph, sampler, "model"), originOf(graph, sampler, "latent_image")], [`${schedule.id}:0`, "5:0"]);
});

test("three samplers with prompts of their own become guiders", () => {
  const nodes = {
    ...SOURCES,
    6: ["KSamplerAdvanced", prompted("1", "5", { ...steps(0, 8), cfg: 2, noise_seed: 3 })],
    7: ["KSamplerAdvanced", prompted("2", "6", steps(8, 14))],
    8: ["KSamplerAdvanced", prompted("1", "7", steps(14, 10000))],
    9: ["VAEDecode", { samples: from("8") }],
  };
  const { graph } = join(nodes);
  const joined = nodeOfType(graph, "TStitchGuiders");
  const sampler = nodeOfType(graph, "SamplerCustomAdvanced");
  assert.equal(valuesOf(joined).splits, "8, 14");
  assert.deepEqual(graph.nodes.filter(({ type }) => type === "CFGGuider").map((node) => valuesOf(node).cfg), [2, 5, 5]);
  assert.equal(valuesOf(nodeOfType(graph, "RandomNoise")).noise_seed, 3);
  assert.deepEqual(valuesOf(nodeOfType(graph, "BasicScheduler")), { scheduler: "simple", steps: 20, denoise: 1 });
  assert.equal(originOf(graph, graph.nodes.find(({ id }) => id === 9), "samples"), `${sampler.id}:0`);
});

/** A chain of custom samplers on split noise levels. */
function customChain(second = {}) {
  return {
    ...SOURCES,
    10: ["BasicScheduler", { model: from("2"), steps: 20 }],
    11: ["SplitSigmas", { sigmas: from("10"), step: 6 }],
    12: ["KSamplerSelect"],
    6: ["SamplerCustom", prompted("1", "5", { sampler: from("12"), sigmas: from("11:0"), noise_seed: 5, cfg: 4 })],
    7: [
      "SamplerCustom",
      prompted("2", "6", { sampler: from("12"), sigmas: from("11:1"), add_noise: false, cfg: 4, ...second }),
    ],
    8: ["VAEDecode", { samples: from("7:1") }],
  };
}

test("custom samplers get the whole noise levels, and the split is gone", () => {
  const { graph, kinds } = join(customChain());
  const sampler = nodeOfType(graph, "SamplerCustom");
  assert.deepEqual(kinds, []);
  assert.equal(valuesOf(nodeOfType(graph, "TStitchModelSchedule")).splits, "6");
  assert.deepEqual([sampler.id, originOf(graph, sampler, "sigmas")], [7, "10:0"]);
  assert.deepEqual([valuesOf(sampler).add_noise, valuesOf(sampler).noise_seed], [true, 5]);
  assert.deepEqual(graph.nodes.filter(({ type }) => type === "SplitSigmas"), []);
  assert.equal(originOf(graph, graph.nodes.find(({ id }) => id === 8), "samples"), "7:1");
});

test("custom samplers with a cfg of their own become guiders, and both outputs are read as before", () => {
  const { graph } = join(customChain({ cfg: 1 }));
  const sampler = nodeOfType(graph, "SamplerCustomAdvanced");
  assert.equal(originOf(graph, graph.nodes.find(({ id }) => id === 8), "samples"), `${sampler.id}:1`);
  assert.equal(originOf(graph, sampler, "sampler"), "12:0");
});

/** Guided samplers: base, then two more, of levels that are split twice. */
function guidedChain() {
  const guided = (guider, noise, sigmas, latent) => [
    "SamplerCustomAdvanced",
    { guider: from(guider), noise: from(noise), sampler: from("12"), sigmas: from(sigmas), latent_image: from(latent) },
  ];
  const guider = (model) => ["CFGGuider", { model: from(model), positive: from("3"), negative: from("4") }];
  return {
    ...SOURCES,
    10: ["BasicScheduler", { model: from("2"), steps: 20 }],
    11: ["SplitSigmas", { sigmas: from("10"), step: 6 }],
    12: ["KSamplerSelect"],
    13: ["SplitSigmas", { sigmas: from("11:1"), step: 5 }],
    14: ["RandomNoise", { noise_seed: 9 }],
    15: ["DisableNoise"],
    16: guider("1"),
    17: guider("2"),
    18: guider("1"),
    20: guided("16", "14", "11:0", "5"),
    21: guided("17", "15", "13:0", "20"),
    22: guided("18", "15", "13:1", "21"),
    23: ["VAEDecode", { samples: from("22") }],
  };
}

test("guided samplers keep their guiders", () => {
  const { graph, kinds } = join(guidedChain(), "21");
  const joined = nodeOfType(graph, "TStitchGuiders");
  const sampler = nodeOfType(graph, "SamplerCustomAdvanced");
  assert.deepEqual(kinds, []);
  const guiders = ["guider_1", "guider_2", "final_guider"].map((name) => originOf(graph, joined, name));
  assert.deepEqual(guiders, ["16:0", "17:0", "18:0"]);
  assert.equal(valuesOf(joined).splits, "6, 11");
  assert.deepEqual([originOf(graph, sampler, "noise"), originOf(graph, sampler, "sigmas")], ["14:0", "10:0"]);
  const types = graph.nodes.map(({ type }) => type);
  assert.deepEqual(types.filter((type) => ["SplitSigmas", "DisableNoise"].includes(type)), []);
});

test("a joined MODEL or GUIDER that would begin within the schedule is refused: it could not count the steps before", () => {
  const nodes = guidedChain();
  delete nodes[20];
  nodes[21][1].latent_image = from("5");
  nodes[21][1].noise = from("14");
  assert.throws(() => join(nodes, "21"), (error) => error instanceof Refusal && error.sentence.kind === "late");
});

test("noise levels that end before the end are cut anew", () => {
  const nodes = guidedChain();
  delete nodes[22];
  delete nodes[18];
  nodes[23] = ["VAEDecode", { samples: from("21") }];
  const { graph } = join(nodes, "21");
  const cut = nodeOfType(graph, "SplitSigmas");
  assert.deepEqual([valuesOf(cut).step, originOf(graph, cut, "sigmas")], [11, "10:0"]);
  assert.equal(originOf(graph, nodeOfType(graph, "SamplerCustomAdvanced"), "sigmas"), `${cut.id}:0`);
});

test("reroutes, set and get, and what is bypassed lie between and go with the samplers", () => {
  const between = {
    9: ["Reroute", { "": from("6") }],
    10: ["SetNode", { LATENT: from("9"), name: "noisy" }],
    11: ["GetNode", { name: "noisy" }],
    12: ["LatentUpscale", { samples: from("11") }, { mode: 4 }],
  };
  const { graph, kinds } = join({ ...twoSamplers({}, { latent_image: from("12") }), ...between });
  assert.deepEqual(kinds, ["skipped"]);
  assert.deepEqual(graph.nodes.map(({ id }) => id).sort(), [1, 2, 3, 4, 5, 6, 8]);
});

test("a chain that is bypassed as a whole stays so", () => {
  const nodes = twoSamplers();
  nodes[6][2] = nodes[7][2] = { mode: 4 };
  assert.equal(nodeOfType(join(nodes).graph, "TStitchKSamplerAdvanced").mode, 4);
});

test("a sampler stays where its unfinished latent is read", () => {
  const { graph, kinds } = join({ ...twoSamplers(), 9: ["PreviewLatent", { samples: from("6") }] });
  assert.deepEqual(kinds, ["stays"]);
  assert.deepEqual(graph.nodes.filter(({ type }) => type === "KSamplerAdvanced").map(({ id }) => id), [6]);
  assert.notEqual(nodeOfType(graph, "TStitchKSamplerAdvanced").id, 6);
});

test("a sampler goes where only a muted node reads its latent", () => {
  const { graph, kinds } = join({ ...twoSamplers(), 9: ["PreviewLatent", { samples: from("6") }, { mode: 2 }] });
  assert.deepEqual(kinds, ["cut"]);
  assert.equal(originOf(graph, graph.nodes.find(({ id }) => id === 9), "samples"), undefined);
});

test("inside a subgraph, its inputs and outputs are linked as before, and shown widgets follow", () => {
  const nodes = {
    3: ["Text"],
    4: ["Text"],
    6: ["KSamplerAdvanced", { ...prompted("in:0", "in:2", steps(0, 8)), noise_seed: from("in:3") }],
    7: ["KSamplerAdvanced", { ...prompted("in:1", "6", steps(8, 10000)) }],
  };
  const boundary = {
    inputs: [["model", "MODEL"], ["model_1", "MODEL"], ["latent", "LATENT"], ["noise_seed", "INT"]],
    outputs: [["LATENT", "LATENT", "7"]],
  };
  const graph = workflowOf(nodes, boundary);
  const workflow = around(graph, {
    proxyWidgets: [["7", "cfg"], ["6", "steps"], ["3", "text"], ["7", "start_at_step"]],
    previewExposures: [{ sourceNodeId: "7" }, { sourceNodeId: "6" }],
  });
  const { document } = joinAt(workflow, "sub", "6");
  const changed = document.definitions.subgraphs[0];
  checkGraph(changed);
  const node = nodeOfType(changed, "TStitchKSamplerAdvanced");
  assert.deepEqual(
    ["model", "small_model", "latent_image", "noise_seed"].map((name) => originOf(changed, node, name)),
    ["-10:1", "-10:0", "-10:2", "-10:3"],
  );
  assert.deepEqual(changed.outputs[0].linkIds.length, 1);
  assert.deepEqual(document.nodes[0].properties, {
    proxyWidgets: [["6", "cfg"], ["6", "steps"], ["3", "text"]],
    previewExposures: [{ sourceNodeId: "6" }],
  });
});

const DIFFERENT = {
  steps: [{ steps: 10, end_at_step: 4 }, {}],
  sampler: [{ sampler_name: "ddim" }, {}],
  scheduler: [{ scheduler: "karras" }, {}],
  gap: [{ end_at_step: 6 }, {}],
  noise: [{}, { add_noise: "enable", noise_seed: 1 }],
  cleaned: [{ return_with_leftover_noise: "disable" }, {}],
  history: [{ sampler_name: "dpmpp_2m" }, { sampler_name: "dpmpp_2m" }],
};
for (const [kind, [first, second]] of Object.entries(DIFFERENT)) {
  test(`a difference is told: ${kind}`, () => {
    const { kinds, plan } = join(twoSamplers(first, second));
    assert.ok(kinds.includes(kind), kinds.join());
    for (const sentence of plan.differences) {
      assert.doesNotMatch(say(sentence), /[{}?]/);
    }
  });
}

test("the split of samplers with other numbers of steps is that of the last one", () => {
  const { graph } = join(twoSamplers({ steps: 10, end_at_step: 4 }));
  const values = valuesOf(nodeOfType(graph, "TStitchKSamplerAdvanced"));
  assert.deepEqual([values.steps, values.fraction], [20, 8]);
});

test("a first sampler that runs to the end by mistake is joined, and that is told", () => {
  const { graph, plan } = join(twoSamplers({ end_at_step: 20, return_with_leftover_noise: "enable" }));
  assert.deepEqual(plan.differences.map(({ kind, values }) => [kind, values.x, values.y]), [["gap", 20, 8]]);
  assert.equal(valuesOf(nodeOfType(graph, "TStitchKSamplerAdvanced")).fraction, 8);
});

test("other noise levels of the models are told, those that are only written otherwise are not", () => {
  const shifted = (one, other) => ({
    ...twoSamplers({ model: from("9") }, { model: from("10") }),
    9: ["ModelSamplingSD3", { model: from("1"), shift: one }],
    10: ["ModelSamplingSD3", { model: from("2"), shift: other }],
  });
  assert.deepEqual(join(shifted(8.000000000000002, 8)).kinds, []);
  assert.deepEqual(join(shifted(8, 5)).kinds, ["levels"]);
});

const REFUSED = {
  alone: { ...SOURCES, 7: ["KSamplerAdvanced", prompted("1", "5")] },
  finished: twoSamplers({ end_at_step: 20, return_with_leftover_noise: "disable" }, { start_at_step: 10, add_noise: "enable" }),
  secondPass: twoSamplers({ return_with_leftover_noise: "disable" }, { start_at_step: 12, add_noise: "enable" }),
  changed: { ...twoSamplers({}, { latent_image: from("9") }), 9: ["LatentUpscale", { samples: from("6") }] },
  redrawn: {
    ...twoSamplers({}, { latent_image: from("10") }),
    9: ["VAEDecode", { samples: from("6") }],
    10: ["VAEEncode", { pixels: from("9") }],
  },
  open: twoSamplers({ positive: undefined }),
  muted: { ...twoSamplers(), 6: ["KSamplerAdvanced", prompted("1", "5", steps(0, 8)), { mode: 2 }] },
  off: { ...twoSamplers(), 7: ["KSamplerAdvanced", prompted("2", "6", steps(8, 10000)), { mode: 4 }] },
  kinds: { ...customChain(), 8: ["Text"], 7: ["KSamplerAdvanced", prompted("2", "6", steps(8, 10000))] },
  otherLevels: {
    ...customChain({ sigmas: from("13:1") }),
    13: ["SplitSigmas", { sigmas: from("14") }],
    14: ["BasicScheduler", { model: from("2"), steps: 9 }],
  },
  denoised: customChain({ latent_image: from("6:1") }),
};
for (const [kind, nodes] of Object.entries(REFUSED)) {
  test(`a chain is refused in one sentence: ${kind}`, () => {
    const sentence = refusalOf(nodes);
    assert.equal(sentence.kind, kind);
    assert.doesNotMatch(say(sentence), /[{}]/);
  });
}

test("a node that is no sampler, or is not there, is refused", () => {
  assert.equal(refusalOf(twoSamplers(), "5").kind, "noSampler");
  assert.equal(refusalOf(twoSamplers(), "77").kind, "noSampler");
});

test("nine samplers in a row are too many", () => {
  const nodes = { ...SOURCES };
  for (let index = 0; index < 9; index++) {
    nodes[6 + index] = ["KSamplerAdvanced", prompted("1", String(5 + index), steps(index, index < 8 ? index + 1 : 10000))];
  }
  assert.equal(refusalOf(nodes).kind, "tooMany");
  delete nodes[14];
  nodes[13][1].end_at_step = 10000;
  assert.equal(valuesOf(nodeOfType(join(nodes).graph, "TStitchModelSchedule")).splits, "1, 2, 3, 4, 5, 6, 7");
});

test("a latent that goes round in a loop is refused", () => {
  const unknown = { end_at_step: from("9"), start_at_step: from("9") };
  const nodes = { ...twoSamplers({ ...unknown, latent_image: from("7") }, unknown), 9: ["ComfyMathExpression"] };
  assert.equal(refusalOf(nodes).kind, "loop");
  assert.equal(joinAll(workflowOf(nodes)).steps.length, 0);
  assert.equal(refusalOf(twoSamplers({ latent_image: from("6") })).kind, "loop");
  const circle = { ...twoSamplers({ latent_image: from("9") }), 9: ["LatentUpscale", { samples: from("7") }] };
  assert.equal(refusalOf(circle).kind, "loop");
});

test("nodes of packs that are not installed keep their links, and refuse a chain that they are in", () => {
  const missing = (inputs) => ["NodeOfMissingPack", { model: from("2"), ...inputs }];
  const { graph } = join({ ...twoSamplers({}, { model: from("9") }), 9: missing({}) });
  assert.equal(originOf(graph, nodeOfType(graph, "TStitchKSamplerAdvanced"), "model"), "9:0");
  const between = { ...twoSamplers({}, { latent_image: from("9:1") }), 9: missing({ samples: from("6") }) };
  const sentence = refusalOf(between);
  assert.equal(sentence.kind, "changed");
  assert.match(say(sentence), /NodeOfMissingPack/);
});

test("a workflow with no chain stays as it is", () => {
  const workflow = workflowOf({ ...SOURCES, 7: ["KSamplerAdvanced", prompted("1", "5")] });
  assert.equal(joinAll(workflow).document, workflow);
});

test("all chains of a workflow are joined, each for itself", () => {
  const nodes = {
    ...twoSamplers(),
    16: ["KSamplerAdvanced", prompted("1", "5", steps(0, 8))],
    17: ["KSamplerAdvanced", prompted("2", "16", steps(8, 10000))],
    18: ["KSamplerAdvanced", prompted("2", "6", steps(8, 10000)), { title: "other end" }],
  };
  const { document, steps: done } = joinAll(workflowOf(nodes));
  checkGraph(document);
  assert.equal(done.length, 3);
  assert.deepEqual(document.nodes.filter(({ type }) => type === "KSamplerAdvanced"), []);
  assert.deepEqual(survey(chartOfWorkflow(document)).last, []);
});

for (const broken of [null, 3, "x", [], {}, { nodes: [] }, { nodes: 3, links: [] }]) {
  test(`no workflow: ${JSON.stringify(broken)}`, () => {
    assert.throws(() => joinAt(broken, null, "1"), Refusal);
  });
}

test("a workflow that is too large is refused", () => {
  const nodes = Array.from({ length: 20_001 }, (_, id) => ({ id, type: "Note" }));
  assert.throws(() => joinAt({ nodes, links: [] }, null, "1"), Refusal);
});

/** The same chain as a prompt of the API. */
function promptOf() {
  const sampler = (model, latent, more) => ({
    class_type: "KSamplerAdvanced",
    inputs: {
      model: [model, 0],
      positive: ["3", 0],
      negative: ["4", 0],
      latent_image: [latent, 0],
      sampler_name: "euler",
      scheduler: "simple",
      ...more,
    },
  });
  const [first, second] = [steps(0, 8), steps(8, 10000)];
  delete first.control_after_generate;
  delete second.control_after_generate;
  return {
    1: { class_type: "Loader", inputs: {} },
    2: { class_type: "Loader", inputs: {} },
    3: { class_type: "Text", inputs: {} },
    4: { class_type: "Text", inputs: {} },
    5: { class_type: "Empty", inputs: {} },
    6: sampler("1", "5", first),
    7: sampler("2", "6", { ...second, cfg: 2 }),
    8: { class_type: "VAEDecode", inputs: { samples: ["7", 0] } },
  };
}

test("a prompt of the API is converted too", () => {
  const prompt = promptOf();
  const { document } = joinAllOfPrompt(prompt);
  assert.deepEqual(prompt, promptOf());
  assert.deepEqual(Object.keys(document), ["1", "2", "3", "4", "5", "6", "8"]);
  assert.deepEqual(document[6], {
    class_type: "TStitchKSamplerAdvanced",
    inputs: {
      model: ["2", 0],
      small_model: ["1", 0],
      positive: ["3", 0],
      negative: ["4", 0],
      latent_image: ["5", 0],
      add_noise: "enable",
      noise_seed: 7,
      steps: 20,
      cfg: 2,
      sampler_name: "euler",
      scheduler: "simple",
      start_at_step: 0,
      end_at_step: 10000,
      return_with_leftover_noise: "disable",
      fraction: 8,
      small_cfg: 5,
      unit: "step",
      memory: "auto",
    },
  });
  assert.deepEqual(document[8].inputs.samples, ["6", 0]);
});

for (const broken of [null, 3, [], { 1: {} }, { 1: null }]) {
  test(`no prompt: ${JSON.stringify(broken)}`, () => {
    assert.throws(() => joinAllOfPrompt(broken), Refusal);
  });
}

test("models of other latents are refused, where the server knows their files", () => {
  const nodes = {
    ...twoSamplers({ model: from("9") }, { model: from("11") }),
    9: ["ModelSamplingSD3", { model: from("10") }],
    10: ["UNETLoader", { unet_name: "a.safetensors" }],
    11: ["CheckpointLoaderSimple", { ckpt_name: "b.safetensors" }],
  };
  const chart = chartOfWorkflow(workflowOf(nodes));
  const files = filesOf(chart, chainOf(chart, "7"));
  assert.deepEqual(files.map(({ file }) => file), ["a.safetensors", "b.safetensors"]);
  const known = (group) => ({ "a.safetensors": { latents: "A", group: 0 }, "b.safetensors": { latents: "B", group } });
  compareLatents(files, known(0));
  compareLatents(files, {});
  compareLatents(files, { "b.safetensors": known(1)["b.safetensors"] });
  assert.throws(() => compareLatents(files, known(1)), { message: "latents" });
});
