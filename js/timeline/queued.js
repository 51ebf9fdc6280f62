/** What the graph was when prompts were queued: a person may change it while they wait, or while models are loaded. */

export class QueuedKeys {
  constructor() {
    /** @type {Map<string, string[]>} by node, of the prompts that may still wait */
    this.waiting = new Map();
  }

  /**
   * @param {string} node
   * @param {string} key
   */
  put(node, key) {
    this.waiting.set(node, [...(this.waiting.get(node) ?? []), key]);
  }

  /**
   * The key of the prompt that begins.
   * @param {string} node
   * @returns {string | null | undefined} null where it may be one of several, undefined where none was queued here
   */
  take(node) {
    const keys = this.waiting.get(node) ?? [];
    return keys.some((key) => key !== keys[0]) ? null : keys.pop();
  }

  /** No prompt waits any more: those that are left were cached, or taken from the queue. */
  forget() {
    this.waiting.clear();
  }
}
