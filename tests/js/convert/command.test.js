// `python dev.py convert`: what it writes, and the one sentence it has for bad input.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { nodeOfType, twoSamplers, workflowOf } from "./workflows.js";

const COMMAND = fileURLToPath(new URL("../../../scripts/convert.js", import.meta.url));

function run(content) {
  const folder = mkdtempSync(join(tmpdir(), "tstitch-convert-"));
  const [from, to] = [join(folder, "in.json"), join(folder, "out.json")];
  if (content !== null) {
    writeFileSync(from, content);
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, from, to], { encoding: "utf8" });
  return { status, stdout, stderr, written: existsSync(to) ? JSON.parse(readFileSync(to, "utf8")) : null };
}

test("a workflow is converted, and differences are told", () => {
  const { status, stdout, written } = run(JSON.stringify(workflowOf(twoSamplers({}, { add_noise: "enable" }))));
  assert.equal(status, 0);
  assert.match(stdout, /^2 samplers became one loop\.\n {2}Not the same as before: .* adds noise again/);
  assert.ok(nodeOfType(written, "TStitchKSamplerAdvanced"));
});

const whole = JSON.stringify(workflowOf(twoSamplers()));
const bad = {
  "no file": null,
  "an empty file": "",
  "a truncated file": whole.slice(0, whole.length / 2),
  "no JSON": "\u0000\u0001PNG",
  "a list": "[1, 2]",
  "nodes without links": '{"nodes": [], "extra": {}}',
  "a number": "3",
  "nothing to join": JSON.stringify(workflowOf({ 1: ["Loader"] })),
};
for (const [name, content] of Object.entries(bad)) {
  test(`one sentence for ${name}`, () => {
    const { status, stderr, written } = run(content);
    assert.equal(status, 1);
    assert.equal(written, null);
    assert.match(stderr, /^convert: .+\.\n$/);
  });
}
