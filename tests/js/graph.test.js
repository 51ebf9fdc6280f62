// What is read of the graph around a node, in the ids of older pages (numbers) and of newer ones (texts).

import assert from "node:assert/strict";
import { test } from "node:test";
import { downstreamRun, modelName, stageInputs, unknownSetting, valueOf } from "../../js/timeline/graph.js";

/**
 * A graph as the page keeps it.
 * @param {any[]} nodes
 * @param {any[]} links
 */
function graphOf(nodes, links) {
  const graph = {
    nodes,
    getNodeById: (/** @type {any} */ id) => nodes.find((node) => node.id === id),
    getLink: (/** @type {any} */ id) => links.find((link) => link.id === id),
  };
  for (const node of nodes) {
    node.graph = graph;
  }
  return Object.assign(graph, { rootGraph: /** @type {any} */ (graph) });
}

/**
 * A loader and a sampler with a subgraph between them, in which the schedule lies.
 * @param {(id: number) => any} asId
 */
function scheduleInSubgraph(asId) {
  const schedule = {
    id: asId(1),
    type: "TStitchModelSchedule",
    inputs: [{ name: "model_1", type: "MODEL", link: 1 }],
    outputs: [{ type: "MODEL", links: [2] }],
  };
  const inner = graphOf(
    [schedule],
    [
      { id: 1, origin_id: asId(-10), origin_slot: 0, target_id: asId(1), target_slot: 0 },
      { id: 2, origin_id: asId(1), origin_slot: 0, target_id: asId(-20), target_slot: 0 },
    ],
  );
  const outer = graphOf(
    [
      { id: asId(2), type: "Loader", title: "Mine", inputs: [], outputs: [{ type: "MODEL", links: [3] }] },
      {
        id: asId(3),
        type: "subgraph",
        subgraph: inner,
        inputs: [{ name: "model_1", type: "MODEL", link: 3 }],
        outputs: [{ type: "MODEL", links: [4] }],
      },
      {
        id: asId(4),
        type: "KSampler",
        inputs: [{ name: "model", type: "MODEL", link: 4 }],
        outputs: [{ type: "LATENT", links: [] }],
        widgets: [{ name: "steps", value: 12 }],
      },
    ],
    [
      { id: 3, origin_id: asId(2), origin_slot: 0, target_id: asId(3), target_slot: 0 },
      { id: 4, origin_id: asId(3), origin_slot: 0, target_id: asId(4), target_slot: 0 },
    ],
  );
  Object.assign(inner, { rootGraph: outer });
  return schedule;
}

for (const [kind, asId] of /** @type {[string, (id: number) => any][]} */ ([
  ["numbers", Number],
  ["texts", String],
])) {
  test(`a subgraph is left in both directions where ids are ${kind}`, () => {
    const schedule = scheduleInSubgraph(asId);
    assert.equal(downstreamRun(schedule).plan?.steps, 12);
    assert.equal(modelName(schedule, "model_1"), "Mine");
  });
}

for (const [mode, number] of Object.entries({ muted: 2, bypassed: 4 })) {
  test(`a model whose loader is ${mode} is no stage, and a sampler that is ${mode} no run`, () => {
    const sampler = (/** @type {number} */ id, /** @type {number} */ steps, of = 0) => ({
      id,
      type: "KSampler",
      mode: of,
      inputs: [{ name: "model", type: "MODEL", link: id }],
      outputs: [{ type: "LATENT", links: [] }],
      widgets: [{ name: "steps", value: steps }],
    });
    const schedule = {
      id: 2,
      mode: 0,
      inputs: [
        { name: "model_1", type: "MODEL", link: null },
        { name: "model_2", type: "MODEL", link: 1 },
      ],
      outputs: [{ type: "MODEL", links: [3, 4] }],
    };
    graphOf(
      [
        { id: 1, mode: number, inputs: [], outputs: [{ type: "MODEL", links: [1] }] },
        schedule,
        sampler(3, 20, number),
        sampler(4, 33),
      ],
      [
        { id: 1, origin_id: 1, origin_slot: 0, target_id: 2, target_slot: 1 },
        { id: 3, origin_id: 2, origin_slot: 0, target_id: 3, target_slot: 0 },
        { id: 4, origin_id: 2, origin_slot: 0, target_id: 4, target_slot: 0 },
      ],
    );
    const kind = { prefix: "model_", first: "model_1", final: "final_model" };
    assert.deepEqual(stageInputs(schedule, kind), ["model_1", "final_model"]);
    assert.equal(downstreamRun(schedule).plan?.steps, 33);
  });
}

/**
 * A node with one number in a widget, which may come over a link instead.
 * @param {number} id
 * @param {string} name
 * @param {number} value
 * @param {number | null} link
 * @returns {any}
 */
function holder(id, name, value, link, type = "PrimitiveInt") {
  return { id, type, inputs: [{ name, widget: { name }, link }], widgets: [{ name, value }] };
}

test("a widget of a subgraph's node counts inside the subgraph", () => {
  const node = holder(1, "steps", 20, 1);
  const inner = graphOf([node], [{ id: 1, origin_id: -10, origin_slot: 0, target_id: 1, target_slot: 0 }]);
  const outer = graphOf([{ ...holder(2, "steps", 12, null), subgraph: inner }], []);
  inner.rootGraph = outer;
  assert.equal(valueOf(node, "steps"), 12);
});

test("a primitive that comes over a link itself has the value at the link's other end", () => {
  const node = holder(3, "steps", 20, 2);
  graphOf(
    [holder(1, "value", 40, null), holder(2, "value", 7, 1), node],
    [
      { id: 1, origin_id: 1, origin_slot: 0 },
      { id: 2, origin_id: 2, origin_slot: 0 },
    ],
  );
  assert.equal(valueOf(node, "steps"), 40);
});

/**
 * A schedule whose MODEL goes to a scheduler and a sampler, with a node between the two.
 * @param {any} between
 */
function scheduleBeforeSigmas(between) {
  const schedule = { id: 1, mode: 0, inputs: [], outputs: [{ type: "MODEL", links: [1, 2] }] };
  const model = (/** @type {number} */ link) => ({ name: "model", type: "MODEL", link });
  const scheduler = {
    id: 2,
    type: "BasicScheduler",
    mode: 0,
    inputs: [model(1)],
    outputs: [{ type: "SIGMAS", links: [3] }],
    widgets: [{ name: "steps", value: 20 }],
  };
  const sampler = {
    id: 4,
    type: "SamplerCustom",
    mode: 0,
    inputs: [model(2), { name: "sigmas", type: "SIGMAS", link: 4 }],
    outputs: [{ type: "LATENT", links: [] }],
  };
  graphOf(
    [schedule, scheduler, { id: 3, mode: 0, outputs: [{ type: "SIGMAS", links: [4] }], ...between }, sampler],
    [
      { id: 1, origin_id: 1, origin_slot: 0, target_id: 2, target_slot: 0 },
      { id: 2, origin_id: 1, origin_slot: 0, target_id: 4, target_slot: 0 },
      { id: 3, origin_id: 2, origin_slot: 0, target_id: 3, target_slot: 0 },
      { id: 4, origin_id: 3, origin_slot: 0, target_id: 4, target_slot: 1 },
    ],
  );
  return { schedule, sampler };
}

test("a run over a part of the sigmas is not taken for one over all of them", () => {
  const inputs = [{ name: "sigmas", type: "SIGMAS", link: 3 }];
  const { schedule, sampler } = scheduleBeforeSigmas({ type: "SplitSigmas", inputs, widgets: [{ name: "step", value: 10 }] });
  assert.deepEqual(downstreamRun(schedule), { plan: null, sampler });
  const straight = scheduleBeforeSigmas({ type: "Reroute", inputs });
  assert.equal(downstreamRun(straight.schedule).plan?.steps, 20);
});

test("a sampler that gives pictures, as detailers do, has steps too", () => {
  const schedule = { id: 1, mode: 0, inputs: [], outputs: [{ type: "MODEL", links: [1] }] };
  const detailer = {
    id: 2,
    type: "Detailer",
    mode: 0,
    inputs: [{ name: "model", type: "MODEL", link: 1 }],
    outputs: [{ type: "IMAGE", links: [] }],
    widgets: [
      { name: "steps", value: 30 },
      { name: "sampler_name", value: "euler" },
    ],
  };
  graphOf([schedule, detailer], [{ id: 1, origin_id: 1, origin_slot: 0, target_id: 2, target_slot: 0 }]);
  assert.equal(downstreamRun(schedule).plan?.steps, 30);
  detailer.widgets.pop();
  assert.equal(downstreamRun(schedule).plan, null);
});

test("a setting whose value comes from a node that computes it is named", () => {
  const node = holder(2, "denoise", 1, 1);
  graphOf([{ id: 1, type: "Maths", inputs: [], widgets: [] }, node], [{ id: 1, origin_id: 1, origin_slot: 0 }]);
  assert.equal(unknownSetting(node), "denoise");
  node.inputs[0].link = null;
  assert.equal(unknownSetting(node), undefined);
});

test("a model at a lower resolution has its scale in its name, and a guided model that of the one that draws", () => {
  const model = (/** @type {number} */ link) => ({ name: "model", type: "MODEL", link });
  const schedule = { id: 1, type: "TStitchModelSchedule", inputs: [{ ...model(1), name: "model_1" }] };
  graphOf(
    [
      schedule,
      { id: 2, type: "TStitchLowResolution", inputs: [model(2)], widgets: [{ name: "scale", value: 0.5 }] },
      { id: 3, type: "TStitchGuidance", inputs: [model(3), { ...model(4), name: "weak_model" }] },
      { id: 4, type: "UNETLoader", inputs: [], widgets: [{ name: "unet_name", value: "flux.safetensors" }] },
      { id: 5, type: "UNETLoader", inputs: [], widgets: [{ name: "unet_name", value: "small.safetensors" }] },
    ],
    [
      { id: 1, origin_id: 2, origin_slot: 0, target_id: 1, target_slot: 0 },
      { id: 2, origin_id: 3, origin_slot: 0, target_id: 2, target_slot: 0 },
      { id: 3, origin_id: 4, origin_slot: 0, target_id: 3, target_slot: 0 },
      { id: 4, origin_id: 5, origin_slot: 0, target_id: 3, target_slot: 1 },
    ],
  );
  assert.equal(modelName(schedule, "model_1"), "flux 0.5x");
});

test("the steps that Split Steps gives are known where its own are", () => {
  const number = (/** @type {number} */ id, /** @type {number} */ value) => ({
    id,
    type: "PrimitiveInt",
    inputs: [],
    outputs: [{ type: "INT", links: [] }],
    widgets: [{ name: "value", value }],
  });
  const split = {
    id: 3,
    type: "TStitchSplitSteps",
    inputs: [
      { name: "step_1", type: "INT", link: 1, widget: { name: "step_1" } },
      { name: "step_2", type: "INT", link: 2 },
      { name: "step_3", type: "INT", link: null },
    ],
    widgets: [{ name: "step_1", value: 0 }],
  };
  const schedule = {
    id: 4,
    inputs: [
      { name: "splits", type: "STRING", link: 3, widget: { name: "splits" } },
      { name: "fraction", type: "FLOAT", link: 4, widget: { name: "fraction" } },
    ],
  };
  graphOf(
    [number(1, 6), number(2, 12), split, schedule],
    [
      { id: 1, origin_id: 1, origin_slot: 0 },
      { id: 2, origin_id: 2, origin_slot: 0 },
      { id: 3, origin_id: 3, origin_slot: 0 },
      { id: 4, origin_id: 3, origin_slot: 1 },
    ],
  );
  assert.deepEqual([valueOf(schedule, "splits"), valueOf(schedule, "fraction")], ["6, 12", 6]);
});
