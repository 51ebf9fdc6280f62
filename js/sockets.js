// Numbered optional sockets (model_2, model_3, ...): only the next free one is shown.
//
// Without this file every socket is simply there, and the page matches saved links by the sockets' names. The order of
// a node's inputs is kept the same on every path (new, loaded, pasted, packed into a subgraph): first what every node
// has, then the sockets that were added, by number. So links that are restored by position find the same socket.

/** @typedef {{ name: string, type: string, extra: Record<string, any> }} SocketTemplate */

/**
 * Groups of two and more names with one stem and rising numbers, in order.
 * @param {string[]} names
 * @returns {string[][]}
 */
export function numberedGroups(names) {
  /** @type {Map<string, { name: string, number: number }[]>} */
  const groups = new Map();
  for (const name of names) {
    const match = /^(.+)_(\d+)$/.exec(name);
    if (match) {
      const group = groups.get(match[1]) ?? [];
      group.push({ name, number: Number(match[2]) });
      groups.set(match[1], group);
    }
  }
  return [...groups.values()]
    .filter((group) => group.length > 1)
    .map((group) => group.sort((a, b) => a.number - b.number).map(({ name }) => name));
}

/**
 * How many sockets of a group to show: those up to the last linked one, and one more when none of them is free.
 * @param {boolean[]} linked of all sockets of the group
 */
export function shownCount(linked) {
  const used = linked.lastIndexOf(true) + 1;
  const full = linked.slice(0, used).every(Boolean);
  return Math.min(used + (full ? 1 : 0), linked.length);
}

/**
 * Keep the numbered sockets of a new node to those that are needed, from now on.
 * @param {HostNode} node
 */
export function manageSockets(node) {
  const optional = node.constructor.nodeData?.input.optional ?? {};
  const sockets = (node.inputs ?? []).filter((input) => !input.widget && input.name in optional);
  const groups = numberedGroups(sockets.map(({ name }) => name)).map((names) =>
    names.map((name) => template(/** @type {HostInputSlot} */ (sockets.find((socket) => socket.name === name)))),
  );
  if (!groups.length) {
    return;
  }
  const update = () => groups.forEach((group) => showNeeded(node, group));
  let waiting = false;
  // The page is in the midst of its own change when it calls: inputs must not go before it is through.
  const updateSoon = () => {
    if (!waiting) {
      waiting = true;
      queueMicrotask(() => {
        waiting = false;
        update();
      });
    }
  };
  const { onConnectionsChange, onConfigure } = node;
  node.onConnectionsChange = function (...args) {
    onConnectionsChange?.apply(this, args);
    groups.forEach((group) => showNeeded(node, group, false)); // the page may connect the next one before it is through
    updateSoon();
  };
  node.onConfigure = function (...args) {
    onConfigure?.apply(this, args);
    updateSoon();
  };
  update();
  node.setSize([node.size[0], node.computeSize()[1]]);
}

/**
 * @param {HostInputSlot & Record<string, any>} input
 * @returns {SocketTemplate}
 */
function template({ name, type, label, shape, localized_name, tooltip }) {
  const given = Object.entries({ label, shape, localized_name, tooltip }).filter(([, value]) => value !== undefined);
  return { name, type, extra: Object.fromEntries(given) };
}

/**
 * @param {HostNode} node
 * @param {SocketTemplate[]} group
 * @param {boolean} [mayRemove]
 */
function showNeeded(node, group, mayRemove = true) {
  const find = (/** @type {string} */ name) => node.inputs.findIndex((input) => input.name === name);
  const linked = group.map(({ name }) => node.inputs[find(name)]?.link != null);
  const count = shownCount(linked);
  const height = node.size[1];
  const before = node.computeSize()[1];
  for (const { name, type, extra } of group.slice(0, count)) {
    if (find(name) < 0) {
      node.addInput(name, type, extra);
    }
  }
  for (const { name } of mayRemove ? group.slice(count).reverse() : []) {
    const slot = find(name);
    if (slot >= 0 && node.graph) {
      node.removeInput(slot);
    } else if (slot >= 0) {
      node.inputs.splice(slot, 1); // a node that is being made has no graph, and removeInput asks for one
    }
  }
  const after = node.computeSize()[1];
  if (after !== before) {
    node.setSize([node.size[0], Math.max(after, height + after - before)]);
    node.setDirtyCanvas(true, true);
  }
}
