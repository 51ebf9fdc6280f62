import assert from "node:assert/strict";
import { test } from "node:test";

import { decimalsOf, keepDecimals } from "../../js/decimals.js";

test("a widget shows and keeps as many decimals as it rounds to", () => {
  const widgets = [
    { options: { round: 0.0001, precision: 1 } },
    { options: { round: 0.01, precision: 1 } },
    { options: { precision: 2 } },
    {},
  ];
  keepDecimals(/** @type {any} */ ({ widgets }));
  assert.deepEqual(widgets.map(({ options }) => options?.precision), [4, 1, 2, undefined]);
  keepDecimals(/** @type {any} */ ({}));
});

test("decimals of a power of ten", () => {
  assert.deepEqual([1, 0.1, 0.01, 0.001, 0.0001, 0.000001].map(decimalsOf), [0, 1, 2, 3, 4, 6]);
});
