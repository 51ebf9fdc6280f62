import assert from "node:assert/strict";
import { test } from "node:test";

import { LevelsCache, plannedRun } from "../../js/timeline/levels.js";
import { parseSpec, resolve } from "../../js/timeline/schedule.js";

const PLAN = { steps: 10, scheduler: "normal", sampler_name: "euler", denoise: 1, start: 0, end: null, leftover_noise: false };
const KIND = { sampling: "eps", shift: 1 };

function owners(splits, run) {
  return resolve(parseSpec(splits, "steps", "", 2), run);
}

test("a plan whose levels are not known has its steps and its place in the schedule", () => {
  const whole = plannedRun(PLAN, null, true);
  assert.deepEqual([whole.steps, whole.firstStep, whole.totalSteps], [10, 0, 10]);
  const half = plannedRun({ ...PLAN, denoise: 0.5 }, null, true);
  assert.deepEqual([half.steps, half.firstStep, half.totalSteps], [10, 10, 20]);
  const part = plannedRun({ ...PLAN, start: 2, end: 7 }, null, true);
  assert.deepEqual([part.steps, part.firstStep, part.totalSteps], [5, 2, 10]);
  assert.equal(plannedRun({ ...PLAN, end: 10000 }, null, true).steps, 10);
  assert.equal(plannedRun({ ...PLAN, start: 30 }, null, true).steps, 1, "a bar has a step at least");
});

test("a model alone knows the whole schedule only where it sees all of it", () => {
  assert.equal(plannedRun(PLAN, null, false).totalSteps, 10);
  assert.equal(plannedRun({ ...PLAN, denoise: 0.5 }, null, false).totalSteps, null);
  assert.equal(plannedRun({ ...PLAN, start: 2 }, null, false).totalSteps, null);
});

test("a model alone knows the number of its first step only where the run starts with the whole schedule", () => {
  const first = (/** @type {object} */ plan, levels = null) => plannedRun({ ...PLAN, ...plan }, levels, false).firstStep;
  assert.deepEqual([first({}), first({ end: 5, leftover_noise: true })], [0, 0]);
  assert.deepEqual([first({ denoise: 0.5 }), first({ start: 2 })], [null, null]);
  assert.deepEqual([first({}, HALF), first({}, { ...HALF, starts: true })], [null, 0]);
});

/** The server's answer for the second half of a run on a flow model, whose percent_to_sigma is 1 - fraction. */
const HALF = {
  sigmas: [0.5, 0.4, 0.3, 0.2, 0.1, 0],
  timesteps: [0.5, 0.4, 0.3, 0.2, 0.1, 0],
  first_step: 5,
  total_steps: 10,
  whole: false,
  fraction_sigmas: Array.from({ length: 201 }, (_, index) => 1 - index / 200),
};

test("a fraction of a part is a noise level for a model, and a step for a sampler", () => {
  const plan = { ...PLAN, steps: 5, denoise: 0.5 };
  assert.deepEqual(owners("0.7", plannedRun(plan, HALF, false)), [0, 0, 1, 1, 1]);
  assert.deepEqual(owners("0.75", plannedRun(plan, HALF, false)), [0, 0, 0, 1, 1]);
  assert.deepEqual(owners("0.7", plannedRun(plan, HALF, true)), [0, 0, 1, 1, 1]);
  assert.deepEqual(owners("0.4", plannedRun(plan, HALF, true)), [1, 1, 1, 1, 1]);
});

test("fractions between those of the table are near, and 0 does not spoil the first of them", () => {
  const table = [999999999.9, ...HALF.fraction_sigmas.slice(1)];
  const { sigmaOfFraction } = plannedRun(PLAN, { ...HALF, fraction_sigmas: table }, false);
  assert.equal(sigmaOfFraction(0), 999999999.9);
  assert.equal(sigmaOfFraction(0.3), 0.7);
  assert.ok(Math.abs(sigmaOfFraction(0.3333) - 0.6667) < 1e-9);
  assert.ok(Math.abs(sigmaOfFraction(0.001) - 0.999) < 1e-9);
});

/** A server that counts what it is asked. */
function answering(answer) {
  const asked = [];
  return { asked, cache: new LevelsCache((route) => (asked.push(route), answer())) };
}

const settled = () => new Promise((done) => setTimeout(done));

test("levels are asked for once, and are there a moment later", async () => {
  const { asked, cache } = answering(async () => Response.json(HALF));
  assert.equal(cache.get(PLAN, KIND), null);
  assert.equal(cache.get(PLAN, KIND), null);
  await settled();
  assert.deepEqual(cache.get(PLAN, KIND), HALF);
  assert.equal(asked.length, 1);
  const query = new URL(asked[0], "http://host").searchParams;
  assert.deepEqual([query.get("steps"), query.get("scheduler"), query.get("end")], ["10", "normal", null]);
  cache.get({ ...PLAN, steps: 11 }, KIND);
  assert.equal(asked.length, 2);
});

test("a refusal is not asked for again, a server that is away is", async () => {
  const refused = answering(async () => Response.json({ error: "no" }, { status: 400 }));
  refused.cache.get(PLAN, KIND);
  await settled();
  assert.equal(refused.cache.get(PLAN, KIND), null);
  assert.equal(refused.asked.length, 1);
  const away = answering(() => Promise.reject(new TypeError("Failed to fetch")));
  let now = 0;
  away.cache.now = () => now;
  away.cache.get(PLAN, KIND);
  await settled();
  away.cache.get(PLAN, KIND);
  assert.equal(away.asked.length, 1, "but not at once");
  now += 60000;
  away.cache.get(PLAN, KIND);
  assert.equal(away.asked.length, 2);
});

test("a node without one of the host's schedulers is not asked about", () => {
  const { asked, cache } = answering(async () => Response.json(HALF));
  assert.equal(cache.get({ ...PLAN, scheduler: null }, KIND), null);
  assert.equal(asked.length, 0);
});
