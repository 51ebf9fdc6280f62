// Hands what the server tells of a run to the widgets of the node that holds the schedule.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { LiveStore } from "./live/state.js";

/** @typedef {import("./live/state.js").LiveState} LiveState */
/** @typedef {import("./live/state.js").Message} Message */

const store = new LiveStore(window.sessionStorage ?? null);

/** Listen to the server; once, when the page starts. */
export function listenToRuns() {
  api.addEventListener("tstitch.progress", ({ detail }) => {
    const node = nodeOf(detail);
    const state = store.take(detail, () => levelsKey(node));
    if (node) {
      tell(node, state);
    }
  });
  for (const end of ["execution_error", "execution_interrupted"]) {
    api.addEventListener(end, ({ detail }) => forget(store.drop(detail.prompt_id)));
  }
  api.addEventListener("status", ({ detail }) => {
    if (detail?.exec_info?.queue_remaining === 0) {
      forget(store.drop()); // their end was missed: the server, or the way to it, was away
    }
  });
}

/** @param {Message[]} runs that have ended, and not as runs should */
function forget(runs) {
  for (const node of runs.map(nodeOf)) {
    if (node) {
      tell(node, null);
    }
  }
}

/** Give every node of a workflow that has just been opened what is known of its last run. */
export function showKnownRuns() {
  const graph = rootGraph();
  if (!graph) {
    return;
  }
  for (const [id, node] of nodesById(graph, "")) {
    const state = store.of(graph.id ?? null, id);
    if (state) {
      tell(node, state);
    }
  }
}

/** None before the page has made it. */
function rootGraph() {
  return app.graph?.rootGraph ?? app.graph;
}

/**
 * The node of a message, if its workflow is the one on the page, which may have gone on to another one since.
 * @param {Message} message
 */
function nodeOf({ node, workflow }) {
  let graph = rootGraph();
  if (workflow !== null && workflow !== graph?.id) {
    return undefined;
  }
  const path = node.split(":");
  for (const part of path.slice(0, -1)) {
    graph = child(graph, part)?.subgraph;
  }
  return child(graph, path.at(-1));
}

/**
 * @param {HostGraph | undefined} graph
 * @param {string | undefined} id
 */
function child(graph, id) {
  return graph?.nodes.find((node) => String(node.id) === id);
}

/**
 * @param {HostGraph} graph
 * @param {string} prefix
 * @returns {Iterable<[string, HostNode]>}
 */
function* nodesById(graph, prefix) {
  for (const node of graph.nodes) {
    yield [`${prefix}${node.id}`, node];
    if (node.subgraph) {
      yield* nodesById(node.subgraph, `${prefix}${node.id}:`);
    }
  }
}

/**
 * @param {HostNode} node
 * @param {LiveState | null} state
 */
function tell(node, state) {
  for (const widget of node.widgets ?? []) {
    widget.setLive?.(state);
  }
}

/**
 * Graph fingerprint of the starting run.
 * @param {HostNode | undefined} node
 * @returns {string | null} null where no widget can tell
 */
function levelsKey(node) {
  return node?.widgets?.find((widget) => widget.levelsKey)?.levelsKey?.() ?? null;
}
