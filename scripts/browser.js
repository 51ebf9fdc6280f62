// What scripts/browser.py calls inside the page. Loaded before the page's own scripts; never a part of the pack.
const driver = {
  /** The page's own events, in order. */
  events: [],

  watch() {
    const kinds = [
      "execution_start", "executing", "executed", "progress", "progress_state", "execution_success",
      "execution_error", "execution_interrupted", "b_preview", "b_preview_with_metadata",
    ];
    for (const kind of kinds) {
      app.api.addEventListener(kind, ({ detail }) => {
        this.events.push({ kind, detail: kind.startsWith("b_") ? null : detail, at: performance.now() });
      });
    }
  },

  finished() {
    const ends = ["execution_success", "execution_error", "execution_interrupted"];
    return this.events.filter((event) => ends.includes(event.kind));
  },

  /** Until the page has drawn as many frames, and done what waits for them. */
  async frames(count) {
    for (let frame = 0; frame < count; frame++) {
      await new Promise(requestAnimationFrame);
    }
    await new Promise((resolve) => {
      setTimeout(resolve);
    });
  },

  /** The graph that holds the node of an execution id such as "7" or "2:1", and the node. */
  locate(id) {
    const path = String(id).split(":");
    let graph = app.graph.rootGraph ?? app.graph;
    for (const part of path.slice(0, -1)) {
      graph = this.child(graph, part).subgraph;
    }
    return this.child(graph, path.at(-1));
  },

  child(graph, id) {
    const node = graph.nodes.find((candidate) => String(candidate.id) === String(id));
    if (!node) {
      throw new Error(`no node ${id} in this graph`);
    }
    return node;
  },

  add(type, [x, y], values) {
    const node = LiteGraph.createNode(type);
    node.pos = [x, y];
    app.graph.add(node);
    for (const [name, value] of Object.entries(values)) {
      this.set(node.id, name, value);
    }
    return String(node.id);
  },

  connect(from, output, to, input) {
    const origin = this.locate(from);
    const target = this.locate(to);
    const slot = typeof output === "number" ? output : origin.findOutputSlot(output);
    return Boolean(origin.connect(slot, target, target.findInputSlot(input)));
  },

  inputs(id) {
    return this.locate(id).inputs.map(({ name, type, link }) => ({ name, type, linked: link != null }));
  },

  widget(id, name) {
    const widget = this.locate(id).widgets.find((candidate) => candidate.name === name);
    if (!widget) {
      throw new Error(`node ${id} has no widget ${name}`);
    }
    return widget;
  },

  widgets(id) {
    const named = (this.locate(id).widgets ?? []).filter((widget) => widget.options?.serialize !== false);
    return Object.fromEntries(named.map((widget) => [widget.name, widget.value]));
  },

  set(id, name, value) {
    const widget = this.widget(id, name);
    widget.value = value;
    widget.callback?.(value, app.canvas, this.locate(id));
  },

  /** Where a node is drawn, in pixels of the window: [x, y, width, height]. */
  box(id) {
    const node = this.locate(id);
    const [x, y, width, height] = node.getBounding();
    const { scale, offset } = app.canvas.ds;
    const rect = app.canvas.canvas.getBoundingClientRect();
    return [rect.left + (x + offset[0]) * scale, rect.top + (y + offset[1]) * scale, width * scale, height * scale];
  },

  /** Put the view so that `id` is at the middle of the window. */
  show(id, scale) {
    app.canvas.ds.scale = scale;
    app.canvas.centerOnNode(this.locate(id));
    app.canvas.setDirty(true, true);
  },

  /** Put the view so that these nodes, with an edge around them, fill a rectangle of the window. */
  fit(ids, [left, top, width, height], edge) {
    const boxes = ids.map((id) => this.locate(id).getBounding());
    const [x, y] = [0, 1].map((side) => Math.min(...boxes.map((box) => box[side])) - edge);
    const [right, bottom] = [0, 1].map((side) => Math.max(...boxes.map((box) => box[side] + box[side + 2])) + edge);
    const view = app.canvas.ds;
    const rect = app.canvas.canvas.getBoundingClientRect();
    view.scale = Math.min(width / (right - x), height / (bottom - y));
    view.offset[0] = (left - rect.left + width / 2) / view.scale - (x + right) / 2;
    view.offset[1] = (top - rect.top + height / 2) / view.scale - (y + bottom) / 2;
    app.canvas.setDirty(true, true);
  },
};
window.driver = driver;
