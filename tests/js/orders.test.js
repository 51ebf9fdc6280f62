import assert from "node:assert/strict";
import { test } from "node:test";

import { usualOrders } from "../../js/timeline/orders.js";
import { parsePattern, stepsOfPattern } from "../../js/timeline/schedule.js";

/** @param {number} stages @param {number} steps */
function orders(stages, steps) {
  return Object.fromEntries(usualOrders(stages, steps).map(({ name, pattern }) => [name, pattern]));
}

test("two models in the steps of the run", () => {
  assert.deepEqual(orders(2, 20), {
    "small, large": "1x8 2x12",
    "large, small, large": "2x4 1x8 2x8",
    "large, small": "2x12 1x8",
    interleaved: Array(10).fill("1x1 2x1").join(" "),
  });
});

test("an interleaved run ends with the finishing model", () => {
  assert.equal(orders(2, 5).interleaved, "2x1 1x1 2x1 1x1 2x1");
  assert.equal(orders(3, 7).interleaved, "3x1 1x1 2x1 3x1 1x1 2x1 3x1");
});

test("three models share out the small steps", () => {
  assert.equal(orders(3, 20)["small, large"], "1x4 2x4 3x12");
  assert.equal(orders(3, 20)["large, small, large"], "3x4 1x4 2x4 3x8");
  assert.equal(orders(3, 20)["large, small"], "3x12 2x4 1x4");
});

test("every pattern has the steps of the run and all models, or is not offered", () => {
  for (let stages = 2; stages <= 8; stages += 1) {
    for (const steps of [1, 2, 3, 4, 7, 12, 30]) {
      for (const { pattern } of usualOrders(stages, steps)) {
        const parsed = parsePattern(pattern, stages);
        assert.equal(stepsOfPattern(parsed), steps);
        assert.equal(new Set(parsed.map(({ stage }) => stage)).size, stages);
      }
    }
  }
  assert.deepEqual(orders(2, 1), {});
  assert.deepEqual(usualOrders(1, 20), [], "one model has no order");
});
