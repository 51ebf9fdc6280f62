// `python dev.py convert IN OUT`: chains of samplers in a workflow or an API prompt become one loop each.

import { readFileSync, statSync, writeFileSync } from "node:fs";

import { Refusal } from "../js/convert/chain.js";
import { isWorkflow, joinAll, joinAllOfPrompt } from "../js/convert/convert.js";
import { REFUSALS, say } from "../js/convert/sentences.js";

const MOST_BYTES = 64 * 1024 * 1024;

/** What went wrong, in a sentence. */
class ConvertError extends Error {}

/** @param {string} path */
function read(path) {
  let text;
  try {
    if (statSync(path).size > MOST_BYTES) {
      throw new ConvertError(`${path} is larger than ${MOST_BYTES / 1024 / 1024} MB, which no workflow is.`);
    }
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof ConvertError) {
      throw error;
    }
    throw new ConvertError(`${path} cannot be read: ${error.code ?? error.message}.`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new ConvertError(`${path} is no JSON file, or was cut off: save it from ComfyUI anew.`);
  }
}

/** @param {string[]} paths */
function convert([from, to]) {
  const given = read(from);
  const { document, steps, refused } = isWorkflow(given) ? joinAll(given) : joinAllOfPrompt(given);
  const lines = steps.flatMap(({ plan }) => [
    `${plan.samplers} samplers became one loop.`,
    ...plan.differences.map((sentence) => `  Not the same as before: ${say(sentence)}`),
  ]);
  lines.push(...refused.map((sentence) => `Left as it was: ${say(sentence)}`));
  if (!steps.length) {
    throw new ConvertError([`${REFUSALS.none} Nothing was written.`, ...lines].join("\n"));
  }
  try {
    writeFileSync(to, `${JSON.stringify(document, null, 2)}\n`);
  } catch (error) {
    throw new ConvertError(`${to} cannot be written: ${error.code ?? error.message}.`);
  }
  process.stdout.write(`${[...lines, `Written to ${to}.`].join("\n")}\n`);
}

try {
  const paths = process.argv.slice(2);
  if (paths.length !== 2 || paths.some((path) => path.startsWith("-"))) {
    throw new ConvertError("Give two files: the workflow to read, and the one to write.");
  }
  convert(paths);
} catch (error) {
  const sentence = error instanceof Refusal ? say(error.sentence) : error.message;
  if (!(error instanceof Refusal) && !(error instanceof ConvertError)) {
    throw error;
  }
  process.stderr.write(`convert: ${sentence}\n`);
  process.exitCode = 1;
}
