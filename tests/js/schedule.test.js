import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  ScheduleError,
  checkSplits,
  general,
  intervalsOf,
  parsePattern,
  parseSpec,
  patternOf,
  readNumber,
  resolve,
  runOf,
} from "../../js/timeline/schedule.js";

const { cases } = JSON.parse(readFileSync(new URL("../data/schedules.json", import.meta.url), "utf8"));

/** As `run_of` of the Python test: a whole run whose levels are sigma and t alike. */
function levelRun(steps, levels = Array.from({ length: steps + 1 }, (_, step) => 1 - step / steps), more = {}) {
  return runOf(steps, { sigmas: levels, timesteps: levels, noises: levels, sigmaOfFraction: (fraction) => 1 - fraction, ...more });
}

function ownersOf({ splits, unit, pattern, stages, steps, levels, first_step: firstStep = 0, total_steps: totalSteps = steps }) {
  const spec = parseSpec(splits, unit, pattern, stages);
  return steps === undefined ? [] : resolve(spec, levelRun(steps, levels, { firstStep, totalSteps }));
}

for (const golden of cases) {
  test(`golden: ${golden.name}`, () => {
    if (golden.owners) {
      assert.deepEqual(ownersOf(golden), golden.owners);
    } else {
      assert.throws(() => ownersOf(golden), new ScheduleError(golden.error));
    }
  });
}

test("there are as many golden cases as the Python test counts on", () => assert.ok(cases.length >= 60));

test("a part of a known schedule counts on the whole", () => {
  const half = levelRun(5, undefined, { firstStep: 5, totalSteps: 10 });
  assert.deepEqual(resolve(parseSpec("0.7", "steps", "", 2), half), [0, 0, 1, 1, 1]);
  assert.deepEqual(resolve(parseSpec("7", "step", "", 2), half), [0, 0, 1, 1, 1]);
  assert.deepEqual(resolve(parseSpec("0.4", "steps", "", 2), half), [1, 1, 1, 1, 1]);
});

test("a part of an unknown schedule takes fractions of the noise range", () => {
  const part = levelRun(4, [0.8, 0.6, 0.4, 0.2, 0.0], { firstStep: null, totalSteps: null });
  assert.deepEqual(resolve(parseSpec("0.4", "steps", "", 2), part), [0, 1, 1, 1]);
  assert.deepEqual(resolve(parseSpec("0", "steps", "", 2), part), [1, 1, 1, 1]);
  assert.deepEqual(resolve(parseSpec("1", "steps", "", 2), part), [0, 0, 0, 0]);
});

test("levels that are not known are asked for only where the unit needs them", () => {
  assert.deepEqual(resolve(parseSpec("0.5", "steps", "", 2), runOf(4)), [0, 0, 1, 1]);
  assert.deepEqual(resolve(parseSpec("", "sigma", "1x1 2x3", 2), runOf(4)), [0, 1, 1, 1]);
  for (const unit of ["timestep", "sigma"]) {
    assert.throws(() => resolve(parseSpec("0.5", unit, "", 2), runOf(4)), /not known before its first run/);
  }
});

test("a schedule survives its text", () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 200; round++) {
    const owners = Array.from({ length: 1 + random(60) }, () => random(8));
    assert.deepEqual(resolve(parseSpec("", "steps", patternOf(owners), 8), runOf(owners.length)), owners);
    const steps = intervalsOf(owners).flatMap(({ stage, start, stop }) => Array(stop - start).fill(stage));
    assert.deepEqual(steps, owners);
  }
});

test("the sentence names the input", () => {
  assert.throws(() => checkSplits([1.5], "steps", "fraction"), /^Error: fraction in unit steps is a fraction/);
});

test("numbers in sentences look as Python writes them with the format code g", () => {
  const written = { 0: "0", 0.4: "0.4", 100000: "100000", 1000000: "1e+06", 0.0001: "0.0001", 0.00001234567: "1.23457e-05" };
  for (const [value, text] of Object.entries(written)) {
    assert.equal(general(Number(value)), text);
  }
  assert.equal(general(14.614641), "14.6146");
  assert.equal(general(Infinity), "inf");
  assert.equal(general(NaN), "nan");
});

test("one number is read from what a widget or a link holds", () => {
  for (const text of ["2", " 2.0 ", "+2e0", String(2)]) {
    assert.equal(readNumber("fraction", text), 2);
  }
  for (const text of ["", "x", "1_0", "0.2, 0.4", "NaN", "Infinity"]) {
    assert.throws(() => readNumber("fraction", text), new ScheduleError(`fraction must be a number such as 0.4, got "${text}".`));
  }
});

test("white space is what Python takes for it", () => {
  assert.deepEqual(parseSpec("0.2\u00850.4\u001c0.6\u3000", "steps", "", 4).splits, [0.2, 0.4, 0.6]);
  assert.throws(() => parseSpec("0.2\ufeff0.4", "steps", "", 3), /must be numbers/);
  assert.throws(() => parsePattern("\u00a01x1", 2), /but has ""/);
});
