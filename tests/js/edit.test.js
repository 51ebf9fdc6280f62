import assert from "node:assert/strict";
import { test } from "node:test";

import {
  addBoundary,
  boundariesOf,
  canAdd,
  meantHandle,
  moveBoundary,
  nudge,
  paint,
  patternText,
  removeBoundary,
  splitAt,
  splitsText,
} from "../../js/timeline/edit.js";
import { parseSpec, patternOf, resolve, runOf } from "../../js/timeline/schedule.js";

const UNITS = ["steps", "step", "timestep", "sigma"];

/** Levels of a real sampler: the karras schedule between 14.6 and 0.03. */
function karras(steps) {
  const [high, low] = [14.614642 ** (1 / 7), 0.0291675 ** (1 / 7)];
  const levels = Array.from({ length: steps }, (_, step) => (high + (step / Math.max(steps - 1, 1)) * (low - high)) ** 7);
  return [...levels, 0];
}

function karrasRun(steps, more = {}) {
  const sigmas = karras(steps);
  const timesteps = sigmas.map((sigma) => sigma / sigmas[0]);
  return runOf(steps, { sigmas, timesteps, sigmaOfFraction: (fraction) => 14.614642 * (1 - fraction), ...more });
}

function spec(splits, unit = "steps", pattern = "") {
  return parseSpec(splits, unit, pattern, splits.split(",").length + 1);
}

const patterned = (text, stages = 2) => parseSpec("", "steps", text, stages);

for (const unit of UNITS) {
  test(`a split can be put on every boundary, in unit ${unit}`, () => {
    for (const steps of [1, 2, 3, 7, 20, 50, 160]) {
      const run = karrasRun(steps);
      for (let boundary = 0; boundary <= steps; boundary++) {
        const value = splitAt(boundary, unit, run);
        const read = parseSpec(String(value), unit, "", 2);
        assert.deepEqual(boundariesOf(read, run), [boundary], `${value} of ${steps} steps`);
        assert.equal(resolve(read, run).filter((stage) => stage === 0).length, boundary);
      }
    }
  });
}

for (const unit of ["timestep", "sigma"]) {
  test(`a split can be put on every boundary of a run with round levels, in unit ${unit}`, () => {
    for (const steps of [1, 2, 4, 10, 20]) {
      const levels = Array.from({ length: steps + 1 }, (_, step) => 1 - step / steps);
      const run = runOf(steps, { sigmas: levels, timesteps: levels });
      for (let boundary = 0; boundary <= steps; boundary++) {
        const value = splitAt(boundary, unit, run);
        const read = parseSpec(String(value), unit, "", 2);
        assert.deepEqual(boundariesOf(read, run), [boundary], `${value} of ${steps} steps`);
        assert.equal(resolve(read, run).filter((stage) => stage === 0).length, boundary);
      }
    }
  });
}

test("a handle dragged to a step lies above the level that the next model starts from", () => {
  const levels = [1, 0.875, 0.5, 0.25, 0];
  const run = runOf(4, { sigmas: levels, timesteps: levels });
  assert.deepEqual(boundariesOf(spec("0.875", "timestep"), run), [2], "the step at 0.875 is still the earlier model's");
  assert.equal(splitsText(moveBoundary(spec("0.875", "timestep"), run, 0, 1)), "0.9");
  assert.equal(splitsText(moveBoundary(spec("0.9", "timestep"), run, 0, 2)), "0.6");
});

test("a split of a part of a schedule can be put on every boundary", () => {
  const known = karrasRun(8, { firstStep: 4, totalSteps: 12 });
  const sigmas = karras(20).slice(10);
  const unknown = karrasRun(10, { firstStep: null, totalSteps: null, sigmas, timesteps: sigmas.map((sigma) => sigma / 14.614642) });
  for (const run of [known, unknown]) {
    for (let boundary = 0; boundary <= run.steps; boundary++) {
      assert.deepEqual(boundariesOf(spec(String(splitAt(boundary, "steps", run))), run), [boundary]);
    }
  }
});

test("snapped values are round", () => {
  const run = karrasRun(20);
  assert.equal(splitAt(8, "steps", run), 0.4);
  assert.equal(splitAt(1, "steps", runOf(3)), 0.33);
  assert.equal(splitAt(8, "step", run), 8);
  assert.equal(splitAt(0, "timestep", run), 1);
  assert.equal(splitAt(20, "sigma", run), 0);
  assert.equal(String(splitAt(8, "sigma", run)).length <= 4, true);
});

test("a boundary moves to a step and stops at its neighbours", () => {
  const run = runOf(20);
  assert.equal(splitsText(moveBoundary(spec("0.4"), run, 0, 12.3)), "0.6");
  assert.equal(splitsText(moveBoundary(spec("0.4"), run, 0, 99)), "1");
  assert.equal(splitsText(moveBoundary(spec("0.3, 0.6"), run, 0, 19)), "0.6, 0.6");
  assert.equal(splitsText(moveBoundary(spec("0.3, 0.6"), run, 1, 0)), "0.3, 0.3");
  assert.equal(splitsText(moveBoundary(spec("6, 12", "step"), run, 1, 15)), "6, 15");
});

test("splits stay in order however they are moved", () => {
  const run = karrasRun(20);
  for (const [unit, text] of [["steps", "0.2, 0.41, 0.7"], ["step", "4, 8, 14"], ["timestep", "0.9, 0.5, 0.1"], ["sigma", "9, 3, 1"]]) {
    for (const index of [0, 1, 2]) {
      for (let position = -1; position <= 21; position += 0.5) {
        for (const fine of [false, true]) {
          const moved = moveBoundary(spec(text, unit), run, index, position, fine);
          assert.deepEqual(parseSpec(splitsText(moved), unit, "", 4), moved);
        }
      }
    }
  }
});

test("without snapping a fraction has three decimals and a step stays whole", () => {
  const run = karrasRun(20);
  assert.equal(splitsText(moveBoundary(spec("0.4"), run, 0, 8.13, true)), "0.407");
  assert.equal(splitsText(moveBoundary(spec("8", "step"), run, 0, 8.6, true)), "9");
  const [sigma] = moveBoundary(spec("3", "sigma"), run, 0, 8.5, true).splits;
  assert.ok(run.sigmas[9] < sigma && sigma < run.sigmas[8]);
});

test("a nudge moves to the right or left of the bar in every unit", () => {
  const run = karrasRun(20);
  assert.equal(splitsText(nudge(spec("0.4"), run, 0, 1)), "0.401");
  assert.equal(splitsText(nudge(spec("0"), run, 0, -1)), "0");
  assert.equal(splitsText(nudge(spec("8", "step"), run, 0, -1)), "7");
  assert.equal(splitsText(nudge(spec("0.5", "timestep"), run, 0, 1)), "0.499");
  assert.equal(splitsText(nudge(spec("3", "sigma"), run, 0, 1)), "2.97");
  assert.equal(patternText(nudge(patterned("1x8 2x12"), run, 0, 1)), "1x9 2x11");
});

test("a split is added only where a model waits for one", () => {
  const run = runOf(20);
  const waiting = { ...spec("0.4"), stages: 3 };
  assert.ok(canAdd(waiting, run));
  assert.equal(splitsText(addBoundary(waiting, run, 4)), "0.2, 0.4");
  assert.ok(!canAdd(spec("0.4"), run));
  assert.equal(splitsText(addBoundary(spec("0.4"), run, 4)), "0.4");
  const falling = { ...spec("0.5", "timestep"), stages: 3 };
  assert.deepEqual(addBoundary(falling, karrasRun(20), 1).splits.length, 2);
  parseSpec(splitsText(addBoundary(falling, karrasRun(20), 1)), "timestep", "", 3);
});

test("a split is removed", () => {
  assert.equal(splitsText(removeBoundary(spec("0.3, 0.6"), runOf(20), 0)), "0.6");
});

test("boundaries of a pattern move, come and go, and its steps stay as many", () => {
  const run = runOf(20);
  assert.deepEqual(boundariesOf(patterned("2x4 1x10 2x6"), run), [4, 14]);
  assert.equal(patternText(moveBoundary(patterned("2x4 1x10 2x6"), run, 0, 7)), "2x7 1x7 2x6");
  assert.equal(patternText(moveBoundary(patterned("2x4 1x10 2x6"), run, 0, 2)), "2x2 1x12 2x6");
  assert.equal(patternText(moveBoundary(patterned("2x4 1x10 2x6"), run, 0, 20)), "2x13 1x1 2x6");
  assert.equal(patternText(moveBoundary(patterned("2x4 1x10 2x6"), run, 0, 0)), "2x1 1x13 2x6");
  assert.equal(patternText(addBoundary(patterned("1x8 2x12"), run, 14)), "1x8 2x6 1x6");
  assert.equal(patternText(addBoundary(patterned("1x8 2x12"), run, 8)), "1x8 2x12");
  assert.equal(patternText(removeBoundary(patterned("2x4 1x10 2x6"), run, 0)), "2x20");
  assert.equal(patternText(removeBoundary(patterned("1x8 2x6 3x6", 3), run, 1)), "1x8 2x12");
});

test("a pattern that does not fit the run is not cut", () => {
  const pattern = patterned("1x8 2x12");
  assert.ok(canAdd(pattern, runOf(20)));
  assert.ok(!canAdd(pattern, runOf(30)));
  assert.equal(patternText(addBoundary(pattern, runOf(30), 14)), "1x8 2x12");
});

test("in a part of a schedule nothing that counts the steps of the whole has a handle", () => {
  const sigmas = karras(20).slice(10);
  const part = karrasRun(10, { firstStep: null, totalSteps: null, sigmas });
  const pattern = patterned("1x8 2x12");
  assert.equal(boundariesOf(pattern, part), null);
  assert.ok(!canAdd(pattern, part));
  assert.ok(!canAdd(patterned("1x4 2x6"), part));
  assert.equal(patternText(moveBoundary(pattern, part, 0, 3)), "1x8 2x12");
  assert.equal(boundariesOf(spec("8", "step"), part), null);
  assert.ok(!canAdd({ ...spec("8", "step"), stages: 3 }, part));
  assert.deepEqual(boundariesOf(spec("1"), part), [10]);
});

test("the start of a schedule counts its steps", () => {
  const start = runOf(10, { totalSteps: null });
  assert.deepEqual(boundariesOf(patterned("1x8 2x12"), start), [8]);
  assert.equal(patternText(moveBoundary(patterned("1x8 2x12"), start, 0, 3)), "1x3 2x7");
  assert.deepEqual(boundariesOf(spec("8", "step"), start), [8]);
});

test("of handles at the end of the run the first is meant, which alone can move", () => {
  const run = runOf(20);
  assert.equal(meantHandle(spec("0.3, 1, 1"), run, 2), 1);
  assert.equal(meantHandle(spec("0.3, 0.6, 1"), run, 2), 2);
  assert.equal(meantHandle(spec("0.3, 0.3"), run, 1), 1);
});

test("painting writes a pattern of all steps, in either direction", () => {
  const owners = resolve(spec("0.4"), runOf(20));
  assert.equal(patternText(paint(spec("0.4"), owners, 0, 3, 1)), "2x4 1x4 2x12");
  assert.equal(patternText(paint(spec("0.4"), owners, 3, 0, 1)), "2x4 1x4 2x12");
  assert.equal(patternText(paint(spec("0.4"), owners, 19, 19, 0)), "1x8 2x11 1x1");
  assert.equal(patternOf(owners), "1x8 2x12", "the owners given are left alone");
});

test("splits by noise level have no place on a bar whose levels are unknown or rise", () => {
  assert.equal(boundariesOf(spec("3", "sigma"), runOf(4)), null);
  assert.equal(boundariesOf(spec("3", "sigma"), runOf(3, { sigmas: [0, 2, 5, 10] })), null);
  assert.deepEqual(boundariesOf(spec("0.5"), runOf(4)), [2]);
});
