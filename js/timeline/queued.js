/** What the graph was when prompts were queued: a person may change it while they wait, or while models are loaded. */

/** @typedef {{key: string, counted: boolean}} Waiting `counted`: the server has counted its prompt as one that waits */

export class QueuedKeys {
  constructor() {
    /** @type {Map<string, Waiting[]>} by node, of the prompts that may still wait */
    this.waiting = new Map();
  }

  /**
   * @param {string} node
   * @param {string} key
   */
  put(node, key) {
    this.waiting.set(node, [...(this.waiting.get(node) ?? []), { key, counted: false }]);
  }

  /**
   * The key of the prompt that begins.
   * @param {string} node
   * @returns {string | null | undefined} null where it may be one of several, undefined where none was queued here
   */
  take(node) {
    const waiting = this.waiting.get(node) ?? [];
    return waiting.some(({ key }) => key !== waiting[0].key) ? null : waiting.pop()?.key;
  }

  /**
   * The server tells how many prompts wait or run. With none left, those still here were cached, or taken from the
   * queue; but what was put since the last count may come after this one.
   * @param {number} remaining
   */
  count(remaining) {
    for (const [node, waiting] of this.waiting) {
      const left = remaining > 0 ? waiting : waiting.filter(({ counted }) => !counted);
      this.waiting.set(node, left.map(({ key }) => ({ key, counted: true })));
    }
  }
}
