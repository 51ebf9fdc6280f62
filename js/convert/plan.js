/** From a chain of samplers to the nodes that replace it: what is added, linked anew and removed. */

import { BYPASSED, MUTED, nameOf, same, sameOutput } from "./chart.js";
import { Refusal } from "./chain.js";
import { differencesOf } from "./differences.js";
import { constant, numberOf, samePosition } from "./levels.js";
import { CONTROL, HELPERS, KINDS } from "./nodes.js";

/**
 * @typedef {import("./chart.js").Chart} Chart
 * @typedef {import("./chart.js").ChartNode} ChartNode
 * @typedef {import("./chart.js").Output} Output
 * @typedef {import("./chart.js").Setting} Setting
 * @typedef {import("./chain.js").Chain} Chain
 * @typedef {import("./chain.js").Part} Part
 * @typedef {import("./levels.js").Position} Position
 * @typedef {import("./sentences.js").Sentence} Sentence
 *
 * @typedef {object} NewNode
 * @property {string} key stands for its id, unless `id` gives it
 * @property {string | null} id of the node whose place it takes
 * @property {string} type
 * @property {string | null} title where it is not the usual one
 * @property {number} mode
 * @property {string} near id of a node: where to put it
 * @property {Record<string, any>} values by widget
 * @property {Record<string, Output>} inputs by name
 *
 * @typedef {object} Plan
 * @property {NewNode[]} add
 * @property {{node: string, values: Record<string, any>, inputs: Record<string, Output | null>}[]} change
 * @property {{node: string, input: string, from: Output}[]} readers of what the chain gave
 * @property {string[]} remove
 * @property {Record<string, Record<string, [string, string]>>} moved by id and name of a widget that goes, where it is now
 * @property {Sentence[]} differences
 * @property {number} samplers how many are joined
 */

const SWITCH = "step";
/** For these, the host's KSampler leaves out the last noise level but one. */
const DISCARDING = ["dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"];

/**
 * @param {Chart} chart
 * @param {Chain} chain
 * @returns {Plan}
 * @throws {Refusal}
 */
export function planOf(chart, chain) {
  checkOpen(chart, chain);
  const builder = new Builder(chart, chain);
  const [{ node }] = chain.parts;
  if (node.type === "SamplerCustomAdvanced") {
    builder.joinGuiders(chain.parts.map((part) => builder.input(part, "guider")));
  } else if (node.type === "KSamplerAdvanced" && chain.parts.length === 2 && builder.fitsOneNode()) {
    builder.replaceByOneNode();
  } else if (builder.sharesPrompts()) {
    builder.joinModels();
  } else {
    builder.joinPrompts();
  }
  return builder.finish();
}

/**
 * @param {Chart} chart
 * @param {Chain} chain
 */
function checkOpen(chart, { parts }) {
  for (const { node } of parts) {
    for (const [name, , optional] of KINDS[node.type].sockets) {
      if (!optional && !chart.follow(chart.from(node, name), node.mode).output) {
        throw new Refusal({ kind: "open", values: { input: name, a: nameOf(node) } });
      }
    }
  }
}

class Builder {
  /**
   * @param {Chart} chart
   * @param {Chain} chain
   */
  constructor(chart, chain) {
    this.chart = chart;
    this.chain = chain;
    this.first = chain.parts[0];
    this.last = chain.parts[chain.parts.length - 1];
    this.differences = differencesOf(chart, chain);
    /** @type {NewNode[]} */
    this.add = [];
    /** @type {Plan["change"]} */
    this.change = [];
    /** @type {Plan["moved"]} */
    this.moved = {};
    /** @type {string | null} */
    this.result = null;
  }

  /**
   * @param {Part} part
   * @param {string} name
   * @returns {Setting}
   */
  setting({ node }, name) {
    return this.chart.setting(node, name);
  }

  /**
   * @param {Part} part
   * @param {string} name
   * @returns {Output}
   */
  input({ node }, name) {
    return /** @type {Output} */ (this.chart.from(node, name));
  }

  /**
   * Whether an input gets the same thing at all samplers.
   * @param {string} name
   */
  sharesInput(name) {
    const roots = this.chain.parts.map(({ node }) => this.chart.follow(this.chart.from(node, name), node.mode).output);
    return roots.every((root) => sameOutput(root, roots[0]));
  }

  /** @param {string} name */
  sharesSetting(name) {
    return this.chain.parts.every((part) => same(this.setting(part, name), this.setting(this.last, name)));
  }

  sharesPrompts() {
    return this.sharesInput("positive") && this.sharesInput("negative") && this.sharesSetting("cfg");
  }

  /** T-Stitch KSampler (Advanced) reads a small_cfg of 0 as "the same". */
  fitsOneNode() {
    return this.sharesSetting("cfg") || this.setting(this.first, "cfg").value !== 0;
  }

  /**
   * @param {string} type
   * @param {Part} near
   * @param {Partial<NewNode>} [more]
   */
  create(type, near, more = {}) {
    /** @type {NewNode} */
    const node = {
      key: `new-${this.add.length}`,
      id: null,
      type,
      title: null,
      mode: this.last.node.mode,
      near: near.node.id,
      values: {},
      inputs: {},
      ...more,
    };
    this.add.push(node);
    return node;
  }

  /**
   * Set a widget as that of a sampler is: to its value, or with its link.
   * @param {NewNode} node
   * @param {string} name
   * @param {Part} part
   * @param {string} [theirName]
   */
  take(node, name, part, theirName = name) {
    const setting = this.preferLinked(part, theirName);
    this.put(node, name, { ...setting, value: setting.value ?? part.node.values[theirName] });
    (this.moved[part.node.id] ??= {})[theirName] = [node.key, name];
    const control = part.node.values[CONTROL];
    if (name === "noise_seed" && control !== undefined) {
      node.values[CONTROL] = control;
    }
  }

  /**
   * @param {NewNode} node
   * @param {string} name
   * @param {Setting} setting
   */
  put(node, name, setting) {
    if (setting.from) {
      node.inputs[name] = setting.from;
    }
    if (setting.value !== undefined) {
      node.values[name] = setting.value;
    }
  }

  /**
   * A setting, or the same one of another sampler, which follows a node.
   * @param {Part} part
   * @param {string} name
   */
  preferLinked(part, name) {
    const own = this.setting(part, name);
    const equals = this.chain.parts.map((each) => this.setting(each, name)).filter((each) => same(each, own));
    return own.from ? own : (["steps", "cfg"].includes(name) && equals.find(({ from }) => from)) || own;
  }

  // --- the nodes

  replaceByOneNode() {
    const { first, last } = this;
    const node = this.create("TStitchKSamplerAdvanced", first, { id: first.node.id, title: this.jointTitle() });
    node.inputs.model = this.input(last, "model");
    node.inputs.small_model = this.input(first, "model");
    node.inputs.latent_image = this.input(first, "latent_image");
    for (const name of ["positive", "negative"]) {
      node.inputs[name] = this.input(last, name);
      if (!this.sharesInput(name)) {
        node.inputs[`small_${name}`] = this.input(first, name);
      }
    }
    for (const name of ["add_noise", "noise_seed", "start_at_step"]) {
      this.take(node, name, first);
    }
    for (const name of ["steps", "cfg", "sampler_name", "scheduler", "end_at_step", "return_with_leftover_noise"]) {
      this.take(node, name, last);
    }
    for (const name of ["steps", "sampler_name", "scheduler"]) {
      (this.moved[first.node.id] ??= {})[name] = [node.key, name];
    }
    if (!this.sharesSetting("cfg")) {
      this.take(node, "small_cfg", first, "cfg");
    }
    this.scaleStart(node);
    const [split] = this.splits([]);
    node.values.unit = SWITCH;
    if (split.from) {
      const steps = this.create("TStitchSplitSteps", first);
      this.put(steps, "step_1", split);
      node.inputs.fraction = { node: steps.key, slot: 1 };
      node.values.fraction = split.value ?? 0;
    } else {
      node.values.fraction = split.value;
    }
    this.result = node.key;
  }

  /** Multi-Model Schedule before the last sampler. */
  joinModels() {
    const models = this.chain.parts.map((part) => this.input(part, "model"));
    const joined = this.create("TStitchModelSchedule", this.first);
    this.fillStages(joined, "model", models);
    const change = this.changeLast({ model: { node: joined.key, slot: 0 } });
    this.takeStart(change);
    if (this.last.cuts.length) {
      this.setSplits(joined, this.cutLevels(change));
    } else {
      this.takeInto(change, "start_at_step");
      this.scaleStart(change);
      this.setSplits(joined, this.first.range.start);
    }
  }

  /**
   * Stitch Guiders before the last sampler.
   * @param {Output[]} guiders
   */
  joinGuiders(guiders) {
    const joined = this.create("TStitchGuiders", this.first);
    this.fillStages(joined, "guider", guiders);
    const change = this.changeLast({
      guider: { node: joined.key, slot: 0 },
      noise: this.input(this.first, "noise"),
    });
    this.setSplits(joined, this.cutLevels(change));
  }

  /** A guider for each sampler that has its own prompt or cfg, joined for a SamplerCustomAdvanced. */
  joinPrompts() {
    const guiders = this.chain.parts.map((part) => {
      const guider = this.create("CFGGuider", part, { title: this.titleOf(part) });
      for (const name of ["model", "positive", "negative"]) {
        guider.inputs[name] = this.input(part, name);
      }
      this.take(guider, "cfg", part);
      return { node: guider.key, slot: 0 };
    });
    const joined = this.create("TStitchGuiders", this.first);
    this.fillStages(joined, "guider", guiders);
    const { last, first } = this;
    const sampler = this.create("SamplerCustomAdvanced", last, { id: last.node.id, title: this.titleOf(last) });
    sampler.inputs.noise = { node: this.createNoise().key, slot: 0 };
    sampler.inputs.guider = { node: joined.key, slot: 0 };
    sampler.inputs.latent_image = this.input(first, "latent_image");
    if (last.cuts.length) {
      sampler.inputs.sampler = this.input(last, "sampler");
      this.setSplits(joined, this.cutLevels(sampler));
    } else {
      this.createLevels(sampler);
      this.setSplits(joined, first.range.start);
    }
    this.result = sampler.key;
  }

  createNoise() {
    const adds = this.setting(this.first, "add_noise");
    if (adds.value === undefined) {
      throw new Refusal({ kind: "unknown", values: { input: "add_noise", a: nameOf(this.first.node) } });
    }
    const isAdded = adds.value === true || adds.value === "enable";
    const noise = this.create(isAdded ? "RandomNoise" : "DisableNoise", this.first);
    if (isAdded) {
      this.take(noise, "noise_seed", this.first);
    }
    return noise;
  }

  /**
   * Sampler and noise levels as those of advanced KSamplers.
   * @param {NewNode} sampler
   */
  createLevels(sampler) {
    const { first, last } = this;
    const name = this.setting(last, "sampler_name").value;
    if (DISCARDING.includes(name)) {
      this.differences.push({ kind: "discarded", values: { x: name } });
    }
    if (last.range.end && this.setting(last, "return_with_leftover_noise").value !== "enable") {
      this.differences.push({ kind: "leftover", values: {} });
    }
    const select = this.create("KSamplerSelect", last);
    this.take(select, "sampler_name", last);
    const scheduler = this.create("BasicScheduler", last);
    scheduler.inputs.model = this.input(last, "model");
    this.take(scheduler, "scheduler", last);
    this.take(scheduler, "steps", last);
    sampler.inputs.sampler = { node: select.key, slot: 0 };
    const whole = { node: scheduler.key, slot: 0 };
    const kept = last.range.end ? this.createCut(whole, last.range.end, 0) : whole;
    sampler.inputs.sigmas = first.range.start.length ? this.createCut(kept, first.range.start, 1) : kept;
  }

  /**
   * @param {Output} whole
   * @param {Position} at one setting
   * @param {number} slot
   */
  createCut(whole, at, slot) {
    const split = this.create("SplitSigmas", this.last);
    split.inputs.sigmas = whole;
    this.put(split, "step", at.length === 1 ? at[0] : this.fixedNumber(at, this.last));
    return { node: split.key, slot };
  }

  /**
   * The noise levels of the whole chain, into the sampler that is left.
   * @param {{inputs: Record<string, Output | null>}} sampler
   * @returns {Position} where they begin
   */
  cutLevels(sampler) {
    const { start } = this.first.range;
    const { end } = this.last.range;
    const fits = this.last.cuts.find((cut) => {
      const endsThere = end ? cut.end && samePosition(cut.end, end) : !cut.end;
      return endsThere && samePosition(cut.start, start);
    });
    if (fits) {
      sampler.inputs.sigmas = fits.output;
      return start;
    }
    const [whole] = this.last.cuts;
    const kept = end ? this.createCut(whole.output, end, 0) : whole.output;
    sampler.inputs.sigmas = start.length ? this.createCut(kept, start, 1) : kept;
    return start;
  }

  /**
   * @param {Record<string, Output>} inputs
   * @returns {Plan["change"][number]}
   */
  changeLast(inputs) {
    const latent = this.input(this.first, "latent_image");
    const change = { node: this.last.node.id, values: {}, inputs: { ...inputs, latent_image: latent } };
    this.change.push(change);
    return change;
  }

  /**
   * What the first sampler starts from, for the last one that takes its place.
   * @param {Plan["change"][number]} change
   */
  takeStart(change) {
    this.takeInto(change, "add_noise");
    this.takeInto(change, "noise_seed");
    const control = this.first.node.values[CONTROL];
    if (control !== undefined) {
      change.values[CONTROL] = control;
    }
    for (const name of ["steps", "cfg"]) {
      const setting = this.preferLinked(this.last, name);
      if (this.last.node.values[name] !== undefined && setting.from) {
        change.inputs[name] = setting.from;
      }
    }
  }

  /**
   * @param {Plan["change"][number]} change
   * @param {string} name
   */
  takeInto(change, name) {
    const { from, value } = this.setting(this.first, name);
    change.inputs[name] = from;
    change.values[name] = value ?? this.first.node.values[name];
    (this.moved[this.first.node.id] ??= {})[name] = [this.last.node.id, name];
  }

  /**
   * The first step of a chain whose samplers count other numbers of steps.
   * @param {{values: Record<string, any>, inputs: Record<string, Output | null>}} node
   */
  scaleStart(node) {
    if (this.first.range.start.length && !this.sharesSetting("steps")) {
      node.values.start_at_step = this.scaled(this.first);
      delete node.inputs.start_at_step;
    }
  }

  // --- the splits

  /**
   * @param {NewNode} node
   * @param {string} prefix
   * @param {Output[]} outputs in run order
   */
  fillStages(node, prefix, outputs) {
    outputs.slice(0, -1).forEach((output, index) => {
      node.inputs[`${prefix}_${index + 1}`] = output;
    });
    node.inputs[`final_${prefix}`] = outputs[outputs.length - 1];
    node.values.unit = SWITCH;
  }

  /**
   * @param {NewNode} node
   * @param {Position} start of the run
   */
  setSplits(node, start) {
    if (start.length) {
      // A joined MODEL or GUIDER sees the later part of a schedule alone, and cannot count the steps before it.
      throw new Refusal({ kind: "late", values: { a: nameOf(this.first.node) } });
    }
    const splits = this.splits(start);
    node.values.splits = splits.map(({ value }) => value ?? 0).join(", ");
    if (splits.every(({ from }) => !from)) {
      return;
    }
    const steps = this.create("TStitchSplitSteps", this.first);
    splits.forEach((split, index) => {
      const name = `step_${index + 1}`;
      if (split.from || index === 0) {
        this.put(steps, name, split);
      } else {
        const number = this.create("PrimitiveInt", this.first, { values: { value: split.value } });
        steps.inputs[name] = { node: number.key, slot: 0 };
      }
    });
    node.inputs.splits = { node: steps.key, slot: 0 };
  }

  /**
   * Where each sampler but the first takes over, counted from `start`.
   * @param {Position} start
   * @returns {Setting[]}
   */
  splits(start) {
    if (!this.last.cuts.length && !this.sharesSetting("steps")) {
      const first = start.length ? this.scaled(this.first) : 0;
      return this.chain.parts.slice(1).map((part) => constant(this.scaled(part) - first));
    }
    return this.chain.parts.slice(1).map((part, index) => {
      const before = this.chain.parts[index].range.end ?? [];
      const own = part.range.start;
      const linked = [before, own].find((position) => position.length === 1 && position[0].from);
      const at = linked && samePosition(before, own) ? linked : own;
      if (!start.length && at.length <= 1) {
        return at[0] ?? constant(0);
      }
      const rest = start.length && samePosition(at.slice(0, start.length), start) ? at.slice(start.length) : null;
      return rest?.length === 1 ? rest[0] : this.fixedNumber(at, part, start);
    });
  }

  /**
   * Where a sampler starts, in the number of steps of the last one.
   * @param {Part} part
   */
  scaled(part) {
    const [theirs, ours] = [part, this.last].map((each) => this.setting(each, "steps").value);
    const { value } = this.fixedNumber(part.range.start, part);
    if (typeof theirs !== "number" || typeof ours !== "number") {
      throw new Refusal({ kind: "unknown", values: { input: "steps", a: nameOf(part.node) } });
    }
    return Math.round((value * ours) / theirs);
  }

  /**
   * @param {Position} at
   * @param {Part} part
   * @param {Position} [start]
   * @returns {Setting}
   */
  fixedNumber(at, part, start = []) {
    const [value, offset] = [numberOf(at), numberOf(start)];
    if (value === undefined || offset === undefined) {
      throw new Refusal({ kind: "unknown", values: { input: "step", a: nameOf(part.node) } });
    }
    if ([...at, ...start].some(({ root }) => root)) {
      this.differences.push({ kind: "fixed", values: { b: nameOf(part.node), x: value - offset } });
    }
    return constant(value - offset);
  }

  // --- titles

  /** @param {Part} part */
  titleOf({ node }) {
    return node.titled ? node.title : null;
  }

  jointTitle() {
    const titles = this.chain.parts.map((part) => this.titleOf(part)).filter((title) => title !== null);
    return titles.length ? [...new Set(titles)].join(" + ") : null;
  }

  // --- what goes

  /** @returns {Plan} */
  finish() {
    const replaced = this.result !== null;
    const readers = replaced ? this.readersOfTheResult() : [];
    const after = this.after(readers, replaced);
    const remove = this.prune(after, replaced);
    return {
      add: this.add.map((node) => (node.id && remove.includes(node.id) ? node : { ...node, id: null })),
      change: this.change,
      readers,
      remove,
      moved: Object.fromEntries(Object.entries(this.moved).filter(([id]) => remove.includes(id))),
      differences: this.differences,
      samplers: this.chain.parts.length,
    };
  }

  readersOfTheResult() {
    const from = { node: /** @type {string} */ (this.result), slot: 0 };
    const isReport = this.add.find(({ key }) => key === this.result)?.type === "TStitchKSamplerAdvanced";
    return this.chart.readers(this.last.node.id).map(({ node, input, slot }) => ({
      node: node.id,
      input: input.name,
      from: isReport ? from : { ...from, slot },
    }));
  }

  /**
   * The graph as it will be, with the nodes that may go still in it.
   * @param {Plan["readers"]} readers
   * @param {boolean} replaced
   */
  after(readers, replaced) {
    const chart = this.chart.copy();
    for (const { key, type, mode, inputs, values } of this.add) {
      const linked = Object.entries(inputs).map(([name, from]) => ({ name, type: "*", from }));
      chart.nodes.set(key, { id: key, type, mode, title: "", titled: false, inputs: linked, outputs: [], values, own: null });
    }
    const link = (/** @type {string} */ id, /** @type {string} */ name, /** @type {Output | null} */ from) => {
      const { inputs } = chart.node(id);
      const input = inputs.find((each) => each.name === name);
      if (input) {
        input.from = from;
      } else if (from) {
        inputs.push({ name, type: "*", from });
      }
    };
    for (const { node, inputs } of this.change) {
      Object.entries(inputs).forEach(([name, from]) => link(node, name, from));
    }
    readers.forEach(({ node, input, from }) => link(node, input, from));
    if (replaced) {
      chart.nodes.delete(this.last.node.id);
    }
    return chart;
  }

  /**
   * The nodes that nobody needs any more: samplers of the chain, and helpers that only they have read.
   * @param {Chart} after
   * @param {boolean} replaced
   */
  prune(after, replaced) {
    const remove = replaced ? [this.last.node.id] : [];
    const own = this.chain.parts.slice(0, -1).map(({ node }) => node.id).reverse();
    const mayGo = [...own, ...this.chain.passed];
    const waiting = [...mayGo];
    const served = [...remove, ...this.change.map(({ node }) => node)];
    served.forEach((id) => waiting.push(...this.servantsOf(this.chart.node(id), mayGo)));
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      const node = after.nodes.get(id);
      const readers = node ? after.readers(id) : [];
      if (!node || readers.some((reader) => !own.includes(node.id) || this.isOn(reader.node))) {
        continue;
      }
      remove.push(id);
      after.nodes.delete(id);
      waiting.push(...this.servantsOf(node, mayGo));
    }
    this.tellOfLeftOnes(own, remove);
    return remove;
  }

  /**
   * Nodes that a node reads, and that may go with it.
   * @param {ChartNode} node
   * @param {string[]} mayGo
   * @returns {string[]}
   */
  servantsOf(node, mayGo) {
    const ids = node.inputs.flatMap(({ from }) => (from ? [from.node] : []));
    if (node.type === "GetNode") {
      ids.push(...[this.chart.setNode(node)?.id].filter((id) => id !== undefined));
    }
    return ids.filter((id) => mayGo.includes(id) || HELPERS.has(this.chart.nodes.get(id)?.type ?? ""));
  }

  /**
   * Whether a node runs when the chain does.
   * @param {ChartNode} node
   */
  isOn({ mode }) {
    return (mode !== MUTED && mode !== BYPASSED) || mode === this.last.node.mode;
  }

  /**
   * @param {string[]} own
   * @param {string[]} remove
   */
  tellOfLeftOnes(own, remove) {
    for (const id of own) {
      const a = nameOf(this.chart.node(id));
      for (const { node } of this.chart.readers(id)) {
        const isOfChain = this.chain.parts.some((part) => part.node === node) || this.chain.passed.includes(node.id);
        if (isOfChain || remove.includes(node.id)) {
          continue;
        }
        const kind = remove.includes(id) ? "cut" : "stays";
        this.differences.push({ kind, values: { node: nameOf(node), a } });
      }
    }
    for (const id of this.chain.passed) {
      const node = this.chart.node(id);
      if (node.mode === BYPASSED && this.last.node.mode !== BYPASSED && remove.includes(id)) {
        this.differences.push({ kind: "skipped", values: { node: nameOf(node) } });
      }
    }
  }
}
