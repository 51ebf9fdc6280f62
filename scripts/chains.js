// `node scripts/chains.js`: writes docs/chains.md, the official templates with a chain of samplers.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

import { joinAll } from "../js/convert/convert.js";
import { KINDS } from "../js/convert/nodes.js";
import { say } from "../js/convert/sentences.js";

const HOSTS = new URL("../.host/", import.meta.url);
export const PAGE = new URL("../docs/chains.md", import.meta.url);

/** The folder of templates that dev.py pins, and its version; null where it is not there. */
export function templates() {
  const name = (existsSync(HOSTS) ? readdirSync(HOSTS) : []).find((each) => each.startsWith("templates-"));
  if (!name) {
    return null;
  }
  const folder = new URL(`${name}/comfyui_workflow_templates_json/templates/`, HOSTS);
  return { folder, version: name.slice("templates-".length) };
}

/**
 * @param {{folder: URL, version: string}} found
 * @returns {string}
 */
export function pageOf({ folder, version }) {
  const joined = [];
  const refused = [];
  let count = 0;
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
    const workflow = JSON.parse(readFileSync(new URL(file, folder), "utf8"));
    if (!Array.isArray(workflow.nodes) || !Array.isArray(workflow.links)) {
      continue;
    }
    count += 1;
    const outcome = joinAll(workflow);
    const name = file.replace(/\.json$/, "");
    joined.push(...rowsOf(name, outcome.steps));
    refused.push(...new Set(outcome.refused.map((sentence) => `| ${name} | ${say(sentence)} |`)));
  }
  return `# Official templates with samplers in a row

Written by \`node scripts/chains.js\` from the ${count} workflows of comfyui-workflow-templates-json ${version}.

## Before and after

Written by \`python -m scripts.docs_pictures\`.

![SDXL base and refiner before and after, on the classic canvas](chain-sdxl-classic.png)

The SDXL refiner template (sdxl_refiner_prompt_example) on the classic canvas: base and refiner, each with its own prompt,
become one T-Stitch KSampler (Advanced), and Split Steps hands it the step of the switch from the node that set it before.

![SDXL base and refiner before and after, in Nodes 2.0](chain-sdxl-nodes2.png)

The same template in Nodes 2.0.

![Wan 2.2 high and low noise before and after, on the classic canvas](chain-wan-classic.png)

The Wan 2.2 template for a first and a last frame (video_wan2_2_14B_flf2v) on the classic canvas: the samplers for high and
for low noise become one node, whose bar shows the steps of each model.

![Wan 2.2 high and low noise before and after, in Nodes 2.0](chain-wan-nodes2.png)

The same template in Nodes 2.0.

## Joined by "Stitch into one loop"

| template | chains | become | not the same |
|---|--:|---|---|
${joined.join("\n")}

## Left as they are

| template | why |
|---|---|
${refused.join("\n")}
`;
}

/**
 * @param {string} name
 * @param {import("../js/convert/convert.js").Step[]} steps
 */
function rowsOf(name, steps) {
  const rows = new Map();
  for (const { plan } of steps) {
    const nodes = [...new Set(plan.add.map(({ type }) => KINDS[type].title))].join(", ");
    const differences = plan.differences.map((sentence) => say(sentence)).join(" ") || "nothing";
    const row = `${nodes} | ${differences}`;
    rows.set(row, (rows.get(row) ?? 0) + 1);
  }
  return [...rows].map(([row, chains]) => `| ${name} | ${chains} | ${row} |`);
}

if (import.meta.url === new URL(process.argv[1] ?? "", "file:").href) {
  const found = templates();
  if (found) {
    writeFileSync(PAGE, pageOf(found));
  } else {
    process.stderr.write("The templates are not there: python dev.py setup brings them.\n");
    process.exitCode = 1;
  }
}
