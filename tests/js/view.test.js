// What the bar shows, from what is read of a node and its graph: no page is needed for either.

import assert from "node:assert/strict";
import { test } from "node:test";

import { KINDS } from "../../js/timeline/kinds.js";
import { parseLoosely, read } from "../../js/timeline/reading.js";
import { runTold, viewOf } from "../../js/timeline/view.js";

const IDLE = { width: 240, hover: null, brush: null, gesture: null, live: null };
const NO_LEVELS = { get: () => null };
const KEY = "the graph it was measured for";

/** A node alone in its graph. */
function nodeOf(type, widgets, inputs = []) {
  const node = { id: 1, type, comfyClass: type, mode: 0, inputs, outputs: [{ type: "LATENT", links: [] }] };
  node.widgets = Object.entries(widgets).map(([name, value]) => ({ name, value }));
  node.graph = { nodes: [node], getNodeById: () => node, getLink: () => undefined };
  return node;
}

const SAMPLER = { steps: 10, scheduler: "simple", sampler_name: "euler", denoise: 1, fraction: 0.4, unit: "steps" };

function readSampler(widgets = {}, inputs = [], measured = null) {
  const node = nodeOf("TStitchKSampler", { ...SAMPLER, ...widgets }, inputs);
  return read(node, KINDS.TStitchKSampler, NO_LEVELS, measured);
}

/** A schedule of two models, with no sampler behind it. */
function readSchedule(widgets = {}, inputs = []) {
  const node = nodeOf("TStitchModelSchedule", { splits: "0.4", unit: "steps", pattern: "", ...widgets }, inputs);
  return read(node, KINDS.TStitchModelSchedule, NO_LEVELS, null);
}

const overLink = (name) => ({ name, type: "FLOAT", link: 3, widget: { name } });

test("a sampler tells its own steps, and its one split cannot be added to or painted", () => {
  const view = viewOf(readSampler(), IDLE);
  assert.equal(view.status, "10 steps");
  assert.deepEqual(view.intervals, [{ stage: 0, start: 0, stop: 4 }, { stage: 1, start: 4, stop: 10 }]);
  assert.deepEqual(view.counts, [4, 6]);
  assert.deepEqual(view.handles, [
    { boundary: 4, label: "Split between small_model and model", text: "0.4, after step 4 of 10" },
  ]);
  assert.equal(view.error, null);
  assert.equal(view.hasOneSplit, true);
  assert.equal(view.canPaint, false);
});

test("without a sampler the steps are assumed: the host's default, or as many as the texts speak of", () => {
  assert.equal(readSchedule().note, "20 steps assumed: connect a sampler");
  assert.equal(readSchedule({ pattern: "1x8 2x4" }).note, "12 steps assumed: connect a sampler");
  assert.equal(readSchedule({ splits: "30", unit: "step" }).note, "30 steps assumed: connect a sampler");
  assert.equal(readSchedule({ splits: "nonsense" }).note, "20 steps assumed: connect a sampler");
});

test("a text that cannot be followed is a sentence in place of the bar", () => {
  const view = viewOf(readSchedule({ splits: "1.5" }), IDLE);
  assert.match(view.error, /^splits in unit steps is a fraction of the steps from 0 to 1, got 1\.5/);
  assert.deepEqual(view.intervals, []);
  assert.deepEqual(view.handles, []);
});

test("where a model waits for a split, one can be added", () => {
  const reading = readSchedule({ splits: "" });
  const view = viewOf(reading, IDLE);
  assert.match(view.error, /2 models need 1 split, got 0/);
  assert.equal(view.status, "double click the bar to add a split");
  assert.deepEqual(parseLoosely(reading), { stages: 2, splits: [], unit: "steps", pattern: [] });
  assert.equal(parseLoosely(readSchedule({ splits: "", pattern: "1x" })), null);
});

test("the status tells of the step under the pointer, about where the levels are guessed", () => {
  const sigmas = Array.from({ length: 11 }, (_, step) => 10 - step);
  const timesteps = sigmas.map((sigma) => sigma / 10);
  const reading = readSampler();
  const known = readSampler({}, [], { key: reading.key, sigmas, timesteps });
  const hovering = { ...IDLE, hover: 4 };
  assert.equal(viewOf(reading, hovering).status, "step 5 · model");
  assert.equal(viewOf(known, hovering).status, "step 5 · t 0.6 · σ 6 · model");
  assert.equal(viewOf({ ...known, sure: false }, hovering).status, "step 5 · t ≈ 0.6 · σ ≈ 6 · model");
  assert.equal(viewOf(reading, { ...IDLE, hover: 10 }).hover, null);
});

test("levels that were measured for another graph do not count", () => {
  const levels = Array(11).fill(1);
  assert.equal(readSampler({}, [], { key: KEY, sigmas: levels, timesteps: levels }).run.sigmas, null);
  const { key } = readSampler();
  assert.equal(readSampler({}, [], { key, sigmas: levels, timesteps: levels }).run.sigmas, levels);
  assert.equal(readSampler({}, [], { key, sigmas: [1, 0], timesteps: [1, 0] }).run.sigmas, null);
});

test("a drag shows the value that letting go leaves, or that it removes the split", () => {
  const reading = readSchedule();
  const gesture = { index: 0, leaving: false };
  assert.equal(viewOf(reading, { ...IDLE, gesture }).status, "fraction 0.4 · after step 8 of 20");
  assert.equal(viewOf(reading, { ...IDLE, gesture }).editing, true);
  assert.equal(viewOf(reading, { ...IDLE, gesture: { ...gesture, leaving: true } }).status, "let go to remove this split");
});

test("a pattern has a handle at every hand-over, while there is room for them", () => {
  const view = viewOf(readSchedule({ pattern: "1x8 2x10 1x2" }), IDLE);
  assert.deepEqual(view.handles.map(({ boundary, text }) => [boundary, text]), [
    [8, "after step 8 of 20"],
    [18, "after step 18 of 20"],
  ]);
  assert.equal(view.canClear, true);
  const many = Array.from({ length: 60 }, (_, step) => `${(step % 2) + 1}x1`).join(" ");
  assert.deepEqual(viewOf(readSchedule({ pattern: many }), IDLE).handles, []);
});

test("a chosen brush says what a drag paints", () => {
  const view = viewOf(readSchedule(), { ...IDLE, brush: 1 });
  assert.equal(view.status, "drag over the bar to paint final_model");
  assert.equal(view.brush, 1);
});

test("a text over a link has no handles; one that is known only in a run takes the last run's steps", () => {
  const reading = readSampler({}, [overLink("fraction")]);
  assert.equal(reading.locked, true);
  assert.equal(reading.unknown, "fraction");
  assert.match(viewOf(reading, IDLE).error, /^fraction comes over a link/);
  const live = {
    names: ["small_model", "model"], steps: 8, intervals: [[0, 2], [1, 6]], sigmas: null, timesteps: null, finished: true,
  };
  const view = viewOf(reading, { ...IDLE, live });
  assert.equal(view.status, "8 steps in the last run · set over a link");
  assert.deepEqual(view.counts, [2, 6]);
  assert.deepEqual(view.handles, []);
  assert.equal(runTold(readSampler(), live), null);
});

test("figures of a run of other models are not shown", () => {
  const live = { names: ["model_1", "final_model"], steps: 8, intervals: [[0, 8]], finished: true };
  assert.equal(viewOf(readSampler(), { ...IDLE, live }).live, null);
  assert.equal(viewOf(readSchedule(), { ...IDLE, live }).live, live);
});
