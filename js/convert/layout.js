/** Where new nodes go: to the place of those that make room for them. */

/**
 * @typedef {import("./plan.js").Plan} Plan
 * @typedef {[number, number]} Point
 * @typedef {{left: number, top: number, right: number, bottom: number}} Box
 */

const TITLE = 30; // height of a node's title, which lies above its position
const GAP = 20;

/**
 * For each new node the free place that is nearest to the node it is to be near to.
 * @param {any} graph before the change
 * @param {Plan} plan
 * @param {Point[]} sizes
 * @returns {Point[]}
 */
export function placesOf(graph, plan, sizes) {
  const taken = graph.nodes
    .filter((/** @type {any} */ node) => !plan.remove.includes(String(node.id)))
    .map((/** @type {any} */ node) => boxOf(pointOf(node.pos), pointOf(node.size)));
  return plan.add.map(({ near }, index) => {
    const place = nearestFree(pointOf(nodeOf(graph, near)?.pos), sizes[index], taken);
    taken.push(boxOf(place, sizes[index]));
    return place;
  });
}

/**
 * @param {any} graph
 * @param {string} id
 */
function nodeOf(graph, id) {
  return graph.nodes.find((/** @type {any} */ node) => String(node.id) === id);
}

/**
 * The page saves points as lists, older ones as objects.
 * @param {any} value
 * @returns {Point}
 */
function pointOf(value) {
  return [Number(value?.[0]) || 0, Number(value?.[1]) || 0];
}

/**
 * @param {Point} pos
 * @param {Point} size
 * @returns {Box}
 */
function boxOf([x, y], [width, height]) {
  return { left: x, top: y - TITLE, right: x + width, bottom: y + height };
}

/**
 * @param {Point} start
 * @param {Point} size
 * @param {Box[]} taken
 * @returns {Point}
 */
export function nearestFree(start, size, taken) {
  /** @type {Point[]} */
  const candidates = [start];
  for (const { left, top, right, bottom } of taken) {
    candidates.push(
      [start[0], bottom + GAP + TITLE],
      [start[0], top - GAP - size[1]],
      [right + GAP, start[1]],
      [left - GAP - size[0], start[1]],
      [right + GAP, top + TITLE],
      [left, bottom + GAP + TITLE],
    );
  }
  const free = candidates.filter((candidate) => taken.every((box) => !overlaps(boxOf(candidate, size), box)));
  const distance = (/** @type {Point} */ [x, y]) => Math.hypot(x - start[0], y - start[1]);
  return free.sort((one, other) => distance(one) - distance(other))[0] ?? start;
}

/**
 * @param {Box} one
 * @param {Box} other
 */
function overlaps(one, other) {
  return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
}
