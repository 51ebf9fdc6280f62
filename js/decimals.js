// Numbers keep the decimals that their node asks for.
//
// The page rounds what is typed to the decimals it shows, which it takes from the size of a step: a budget of 0.02 with
// steps of 0.1 became 0.

/** Widgets that round coarser than this are left as the page's own nodes have them. */
const FINE = 0.001;

/**
 * @param {number} round a power of ten, such as 0.0001
 * @returns {number} its decimals
 */
export function decimalsOf(round) {
  return Math.max(0, Math.round(-Math.log10(round)));
}

/** @param {HostNode} node */
export function keepDecimals(node) {
  for (const { options } of node.widgets ?? []) {
    if (typeof options?.round === "number" && options.round > 0 && options.round <= FINE) {
      options.precision = decimalsOf(options.round);
    }
  }
}
