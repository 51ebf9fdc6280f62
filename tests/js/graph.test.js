// What is read of the graph around a node, in the ids of older pages (numbers) and of newer ones (texts).

import assert from "node:assert/strict";
import { test } from "node:test";
import { downstreamRun, modelName } from "../../js/timeline/graph.js";

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
  return graph;
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
  Object.assign(outer, { rootGraph: outer });
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
