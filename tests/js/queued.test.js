import assert from "node:assert/strict";
import { test } from "node:test";

import { QueuedKeys } from "../../js/timeline/queued.js";

test("a prompt has the key it was queued with, each node its own", () => {
  const queued = new QueuedKeys();
  queued.put("1", "a");
  queued.put("1", "a");
  queued.put("2", "b");
  assert.equal(queued.take("1"), "a");
  assert.equal(queued.take("2"), "b");
  assert.equal(queued.take("1"), "a");
  assert.equal(queued.take("1"), undefined, "this one was not queued here");
});

test("of prompts that wait and differ none has a key: they may run in any order", () => {
  const queued = new QueuedKeys();
  queued.put("1", "a");
  queued.put("1", "b");
  assert.equal(queued.take("1"), null);
  assert.equal(queued.take("1"), null);
});

test("one that is queued while another runs has its key", () => {
  const queued = new QueuedKeys();
  queued.put("1", "a");
  assert.equal(queued.take("1"), "a");
  queued.put("1", "b");
  assert.equal(queued.take("1"), "b");
});

test("what was queued and never ran is forgotten when nothing waits any more", () => {
  const queued = new QueuedKeys();
  queued.put("1", "a");
  queued.count(1);
  queued.count(0);
  queued.put("1", "b");
  assert.equal(queued.take("1"), "b");
});

test("an empty queue that is told of late forgets nothing of the prompt after it", () => {
  const queued = new QueuedKeys();
  queued.count(1);
  queued.put("1", "a");
  queued.count(0); // of the prompt before
  queued.put("1", "a");
  queued.count(1);
  assert.equal(queued.take("1"), "a");
  assert.equal(queued.take("1"), "a");
  queued.count(0);
  assert.equal(queued.take("1"), undefined);
});
