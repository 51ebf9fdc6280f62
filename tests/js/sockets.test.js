import assert from "node:assert/strict";
import { test } from "node:test";

import { numberedGroups, shownCount } from "../../js/sockets.js";

test("numbered names are grouped by stem and sorted by number", () => {
  const names = ["final_model", "model_10", "model_2", "guider_1", "model_3", "other"];
  assert.deepEqual(numberedGroups(names), [["model_2", "model_3", "model_10"]]);
  assert.deepEqual(numberedGroups(["a_2", "b_2", "a_3", "b_3"]), [["a_2", "a_3"], ["b_2", "b_3"]]);
  assert.deepEqual(numberedGroups([]), []);
});

const cases = [
  { linked: "......", shown: 1 },
  { linked: "x.....", shown: 2 },
  { linked: "xx....", shown: 3 },
  { linked: ".x....", shown: 2 },
  { linked: "x.x...", shown: 3 },
  { linked: "xxxxx.", shown: 6 },
  { linked: "xxxxxx", shown: 6 },
  { linked: ".....x", shown: 6 },
];
for (const { linked, shown } of cases) {
  test(`${linked} shows ${shown}`, () => {
    assert.equal(shownCount([...linked].map((mark) => mark === "x")), shown);
  });
}
