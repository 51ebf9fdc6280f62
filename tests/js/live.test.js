import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveStore, liveState } from "../../js/live/state.js";

/** A run of 4 small and 6 large steps, at its third step. */
function message(changes = {}) {
  return {
    node: "7", sampler: "8", prompt: "p1", workflow: "w1", names: ["model_1", "final_model"], steps: 10,
    intervals: [[0, 4], [1, 6]], sigmas: [], timesteps: [], finished: false, step: 2, stage: 0,
    stepsPerStage: [2, 0], secondsPerStage: [0.25, 0], secondsPerStep: [0.125, null], ...changes,
  };
}

const FINISHED = {
  finished: true, step: 10, stage: 1, stepsPerStage: [4, 6], secondsPerStage: [0.5, 6.5], secondsPerStep: [0.125, 1],
};

/** Session storage as far as it is used. */
class Memory {
  values = new Map();
  getItem(key) {
    return this.values.get(key) ?? null;
  }
  setItem(key, value) {
    this.values.set(key, value);
  }
}

test("the rest is unknown while a model that is to come has not been measured", () => {
  assert.equal(liveState(message()).restSeconds, null);
});

test("the rest counts the steps to come at each model's own pace", () => {
  const state = liveState(message({ step: 5, stage: 1, stepsPerStage: [4, 1], secondsPerStep: [0.125, 2] }));
  assert.equal(state.restSeconds, 5 * 2);
});

test("an earlier run of the same node tells the pace of a model that is to come", () => {
  const store = new LiveStore(null);
  store.take(message(FINISHED));
  assert.equal(store.take(message({ prompt: "p2" })).restSeconds, 2 * 0.125 + 6 * 1);
  const other = message({ prompt: "p3", names: ["model_1", "model_2"] });
  assert.equal(store.take(other).restSeconds, null, "other inputs are other models");
});

test("the answers of a weak model that guides a stage are told, and none by a server that does not know them", () => {
  assert.deepEqual(liveState(message({ weakCallsPerStage: [0, 5] })).weakCallsPerStage, [0, 5]);
  assert.deepEqual(liveState(message()).weakCallsPerStage, [0, 0]);
});

test("a finished run tells what it has saved against the finishing model alone", () => {
  const state = liveState(message(FINISHED));
  assert.equal(state.savedSeconds, 10 * 1 - (4 * 0.125 + 6 * 1));
  assert.equal(state.restSeconds, 0);
  assert.equal(liveState(message()).savedSeconds, null);
});

test("what was saved is unknown where the finishing model has never run", () => {
  const alone = { ...FINISHED, intervals: [[0, 10]], stepsPerStage: [10, 0], secondsPerStep: [0.125, null] };
  assert.equal(liveState(message(alone)).savedSeconds, null);
  const store = new LiveStore(null);
  store.take(message(FINISHED));
  assert.equal(store.take(message(alone)).savedSeconds, 10 * 1 - 10 * 0.125);
});

test("what the graph was like is asked once for each prompt, and outlives a reload", () => {
  const memory = new Memory();
  const store = new LiveStore(memory);
  assert.equal(store.take(message(), () => "a").levelsKey, "a");
  assert.equal(store.take(message({ step: 3 }), () => "b").levelsKey, "a");
  store.take(message(FINISHED), () => "b");
  assert.equal(store.of("w1", "7")?.levelsKey, "a");
  assert.equal(new LiveStore(memory).of("w1", "7")?.levelsKey, "a");
  assert.equal(store.take(message({ prompt: "p2" }), () => "b").levelsKey, "b");
});

test("nodes, instances of a subgraph and workflows are kept apart", () => {
  const store = new LiveStore(null);
  store.take(message({ node: "2:1", step: 1 }));
  store.take(message({ node: "3:1", step: 2 }));
  store.take(message({ node: "2:1", step: 3, workflow: "w2" }));
  assert.equal(store.of("w1", "2:1")?.step, 1);
  assert.equal(store.of("w1", "3:1")?.step, 2);
  assert.equal(store.of("w2", "2:1")?.step, 3);
  assert.equal(store.of("w2", "3:1"), null);
});

test("only the unfinished runs of a stopped prompt are forgotten", () => {
  const store = new LiveStore(null);
  store.take(message({ node: "1", ...FINISHED }));
  store.take(message({ node: "2" }));
  store.take(message({ node: "3", prompt: "p2" }));
  assert.deepEqual(store.drop("p1").map(({ node }) => node), ["2"]);
  assert.equal(store.of("w1", "2"), null);
  assert.ok(store.of("w1", "1"));
  assert.ok(store.of("w1", "3"));
});

test("finished runs outlive a reload, and a broken memory does no harm", () => {
  const memory = new Memory();
  const store = new LiveStore(memory);
  store.take(message({ node: "1", ...FINISHED }));
  store.take(message({ node: "2" }));
  const reloaded = new LiveStore(memory);
  assert.deepEqual(reloaded.of("w1", "1"), liveState(message({ node: "1", ...FINISHED })));
  assert.equal(reloaded.of("w1", "2"), null);
  memory.setItem("TStitch.Live", "{");
  assert.equal(new LiveStore(memory).of("w1", "1"), null);
});

test("the levels of a second sampler in the same prompt are not taken for those of the first", () => {
  const store = new LiveStore(null);
  store.take(message({ ...FINISHED, sampler: "8" }), () => "a");
  assert.equal(store.take(message({ sampler: "9" }), () => "b").levelsKey, null);
  assert.equal(store.take(message({ sampler: "9", step: 3 }), () => "b").levelsKey, null);
});

test("no run is going on where nothing is queued", () => {
  const store = new LiveStore(null);
  store.take(message({ node: "1", prompt: "p1" }));
  store.take(message({ node: "2", prompt: "p2", ...FINISHED }));
  assert.deepEqual(store.drop().map(({ node }) => node), ["1"]);
  assert.equal(store.of("w1", "1"), null);
  assert.ok(store.of("w1", "2"));
});
