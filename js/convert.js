// "Stitch into one loop": on the menu of a sampler, in its toolbox, and as a command.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { compareLatents, filesOf } from "./convert/latents.js";
import { chainOf, isJoinable, Refusal, survey } from "./convert/chain.js";
import { GraphError } from "./convert/chart.js";
import { ask } from "./convert/dialog.js";
import { applyToPage, chartOfPage } from "./convert/live.js";
import { planOf } from "./convert/plan.js";
import { say } from "./convert/sentences.js";
import { textsIn } from "./convert/texts.js";

/** @typedef {import("./convert/sentences.js").Sentence} Sentence */

export const COMMAND = "TStitch.StitchIntoLoop";
const MOST_CHAINS = 256;
const STILL_FRAMES = 4;
const LONGEST_WAIT = 2000; // milliseconds

/** @type {Record<string, string>} */
let texts = {};

/**
 * @param {string} kind
 * @param {Record<string, string | number>} [values]
 */
function words(kind, values = {}) {
  return say({ kind, values }, texts);
}

function language() {
  return String(app.extensionManager?.setting?.get("Comfy.Locale") ?? "en").split("-")[0];
}

/** The texts of the page's language, for menus, which cannot wait for them. */
export async function loadTexts() {
  texts = await textsIn(language());
}

/** The graph that is shown. */
function shownGraph() {
  return app.canvas?.graph ?? app.graph;
}

/**
 * Whether a node is a sampler of a chain that can be joined.
 * @param {any} node
 */
export function isInChain(node) {
  if (!isJoinable(node) || !node.graph) {
    return false;
  }
  try {
    const chart = chartOfPage(node.graph);
    planOf(chart, chainOf(chart, String(node.id)));
    return true;
  } catch (error) {
    return passOver(error);
  }
}

/**
 * @param {unknown} error
 * @returns {false}
 */
function passOver(error) {
  if (error instanceof Refusal || error instanceof GraphError) {
    return false;
  }
  throw error;
}

/**
 * What the menu of a node has for it.
 * @param {any} node
 */
export function menuItems(node) {
  return isInChain(node) ? [{ content: words("command"), callback: () => void stitch(node) }] : [];
}

/** The command: the chain of the selected sampler, or else every chain of the graph that is shown. */
export async function stitchSelected() {
  const selected = [...(app.canvas?.selectedItems ?? [])].filter(isJoinable);
  await stitch(selected[0] ?? null);
}

/**
 * @param {any} node null for every chain of the graph
 */
export async function stitch(node) {
  await loadTexts();
  const graph = node?.graph ?? shownGraph();
  /** @type {string[]} */
  let chains;
  /** @type {Sentence[]} */
  let differences;
  try {
    ({ chains, differences } = whatToJoin(graph, node));
    await checkLatents(graph, chains);
  } catch (error) {
    passOver(error);
    await refuse(error);
    return;
  }
  if (differences.length && !(await confirm(differences))) {
    return;
  }
  const count = await change(graph, () => chains.reduce((sum, id) => sum + joinNow(graph, id), 0));
  app.extensionManager?.toast?.add({ severity: "success", summary: words("done", { count }), life: 5000 });
}

/**
 * @param {any} graph
 * @param {any} node
 * @throws {Refusal | GraphError}
 */
function whatToJoin(graph, node) {
  const chart = chartOfPage(graph);
  if (node) {
    const id = String(node.id);
    return { chains: [id], differences: planOf(chart, chainOf(chart, id)).differences };
  }
  const { last, refused } = survey(chart);
  const chains = last.slice(0, MOST_CHAINS);
  if (!chains.length) {
    throw new Refusal(refused[0] ?? { kind: "none", values: {} });
  }
  return { chains, differences: chains.flatMap((id) => planOf(chart, chainOf(chart, id)).differences) };
}

/**
 * Ask the server whether the model files of each chain read the same latents; of files that it does not know, or where it
 * does not answer, nothing is said, and the run itself checks them.
 * @param {any} graph
 * @param {string[]} chains
 * @throws {Refusal}
 */
async function checkLatents(graph, chains) {
  const chart = chartOfPage(graph);
  const all = chains.map((id) => filesOf(chart, chainOf(chart, id)));
  const names = [...new Set(all.flat().map(({ file }) => file))];
  if (names.length < 2) {
    return;
  }
  const query = new URLSearchParams(names.map((name) => ["name", name]));
  const known = await api.fetchApi(`/tstitch/latents?${query}`).then(
    (answer) => (answer.ok ? answer.json() : {}),
    () => ({}),
  );
  all.forEach((files) => compareLatents(files, known));
}

/**
 * @param {any} graph
 * @param {string} id
 * @returns {number} how many samplers became one loop
 */
function joinNow(graph, id) {
  const chart = chartOfPage(graph);
  if (!chart.nodes.has(id)) {
    return 0; // it went with another chain
  }
  const plan = planOf(chart, chainOf(chart, id));
  const made = applyToPage(graph, plan, (type) => window.LiteGraph.createNode(type));
  app.canvas.selectItems?.(made);
  return plan.samplers;
}

/**
 * One step for the page's undo.
 * @param {any} graph
 * @param {() => number} action
 */
async function change(graph, action) {
  app.canvas.emitBeforeChange?.();
  graph.beforeChange?.();
  try {
    const count = action();
    graph.setDirtyCanvas(true, true);
    await stillness(graph);
    return count;
  } finally {
    graph.afterChange?.();
    app.canvas.emitAfterChange?.();
  }
}

/**
 * Until nodes have the size that their widgets want, which the page finds out when it draws: else that would be a
 * second step.
 * @param {any} graph
 */
async function stillness(graph) {
  const sizes = () => graph.nodes.map((/** @type {any} */ { size }) => `${size[0]} ${size[1]}`).join();
  const end = performance.now() + LONGEST_WAIT;
  let before = "";
  for (let still = 0; still < STILL_FRAMES && performance.now() < end; ) {
    await nextFrame();
    const now = sizes();
    still = now === before ? still + 1 : 0;
    before = now;
  }
}

/** The next picture of the page, or a moment later where it draws none, as in a tab at the back. */
function nextFrame() {
  return new Promise((resolve) => {
    requestAnimationFrame(resolve);
    setTimeout(resolve, LONGEST_WAIT / 10);
  });
}

/** @param {Sentence[]} differences */
function confirm(differences) {
  const sentences = [...new Set(differences.map((sentence) => say(sentence, texts)))];
  return ask({
    title: words("title"),
    intro: words("intro"),
    sentences,
    close: words("cancel"),
    confirm: words("doIt"),
  });
}

/** @param {any} error */
function refuse(error) {
  const sentence = error instanceof Refusal ? say(error.sentence, texts) : error.message;
  return ask({ title: words("refused"), intro: "", sentences: [sentence], close: words("close"), confirm: null });
}

/**
 * Older pages ask the type of a node for its menu, and no extension.
 * @param {any} type
 * @param {any} definition
 */
export function addToOldMenu(type, { name }) {
  if (!isJoinable({ type: name }) || "collectNodeMenuItems" in app) {
    return;
  }
  const { getExtraMenuOptions } = type.prototype;
  type.prototype.getExtraMenuOptions = function (/** @type {any} */ canvas, /** @type {any[]} */ options) {
    const more = getExtraMenuOptions?.call(this, canvas, options);
    options.unshift(...menuItems(this));
    return more;
  };
}
