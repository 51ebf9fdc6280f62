/** What is said about a conversion, in English; locales/<language>/main.json has the same sentences. */

/**
 * @typedef {{kind: string, values: Record<string, string | number>}} Sentence
 */

/** Why nothing is converted. */
export const REFUSALS = {
  alone: "“{b}” takes its latent from no other sampler, and no other sampler goes on with its noisy latent.",
  noSampler: "“{b}” is no sampler that can hand on a noisy latent: choose a KSampler (Advanced), SamplerCustom or SamplerCustomAdvanced.",
  none: "No two samplers of this graph hand a noisy latent on.",
  finished: "“{a}” removes all noise before “{b}” starts: these are two runs, not one.",
  secondPass: "“{b}” draws over the picture of “{a}” with new noise: these are two runs, not one.",
  denoised: "“{b}” reads the denoised output of “{a}”, not the noisy latent: these are two runs, not one.",
  changed: "Between “{a}” and “{b}” the latent is changed by {nodes}. One loop cannot do that.",
  redrawn: "Between “{a}” and “{b}” the picture is decoded and made into a latent anew, by {nodes}. One loop cannot do that.",
  muted: "“{b}” takes its latent from a muted node.",
  outside: "The latent of “{b}” comes from outside of this subgraph. Unpack the subgraph to join it with the sampler there.",
  loop: "The latent of “{b}” goes round in a loop.",
  off: "One of “{a}” and “{b}” is muted or bypassed, the other is not.",
  kinds: "“{a}” and “{b}” are nodes of different kinds. Use the same kind of sampler for both.",
  otherLevels: "The noise levels of “{a}” and “{b}” do not come from one schedule that is split, so it cannot be told that one goes on where the other ends.",
  latents: "“{a}” draws with a model on {x} latents and “{b}” with one on {y} latents. Models in one loop need the same.",
  late: "“{a}” starts within its schedule. From there only T-Stitch KSampler (Advanced) counts steps, which takes the place of two KSamplers (Advanced).",
  tooMany: "{count} samplers follow one another, but at most {most} models can be joined.",
  open: "The input {input} of “{a}” is not connected.",
  unknown: "{input} of “{a}” is known only in a run, so the step of the switch cannot be told.",
  unreadable: "{reason}",
};

/** What will not be the same. */
export const DIFFERENCES = {
  steps: "“{a}” is set to {x} steps and “{b}” to {y}. The loop has one number of steps, {y}.",
  sampler: "“{a}” uses the sampler {x} and “{b}” {y}. The loop uses {y} from the first step to the last.",
  scheduler: "“{a}” uses the scheduler {x} and “{b}” {y}. The loop uses {y} from the first step to the last.",
  gap: "“{a}” ends at step {x} and “{b}” starts at step {y}. In the loop “{b}” takes over at step {y}.",
  gapUnknown: "It cannot be told whether “{b}” starts where “{a}” ends, as other nodes set both. In the loop “{b}” takes over where it is set to start.",
  noise: "“{b}” adds noise again. The loop adds noise once, at its start.",
  noNoise: "Whether “{b}” adds noise again is known only in a run. The loop adds noise once, at its start.",
  cleaned: "“{a}” removes the rest of its noise before it hands the latent on. In the loop it hands the noisy latent on.",
  levels: "The models of “{a}” and “{b}” have different noise levels ({x}; {y}). The loop has those of “{b}”.",
  levelsModel: "The noise levels of “{a}” and “{b}” are computed for different models. The loop has those of “{b}”.",
  history: "The sampler {x} remembers earlier steps or adds noise in each step. The chain started it anew at each seam, the loop does not: the picture is another one, and usually a better one.",
  discarded: "For the sampler {x}, KSampler leaves out the last noise level but one, and SamplerCustomAdvanced does not: the noise levels differ a little.",
  leftover: "The last sampler stops before the last step and removes the rest of the noise there. SamplerCustomAdvanced leaves the rest in.",
  stays: "“{node}” reads the unfinished latent of “{a}”. “{a}” stays for it, and draws its steps once more.",
  cut: "“{node}” is muted or bypassed. It loses its link from “{a}”, which goes.",
  fixed: "The step where “{b}” takes over came from other nodes. It is now the number {x}, and no longer follows them.",
  skipped: "“{node}” is bypassed, and is not part of the loop.",
};

/** What the dialog and the menus say besides. */
export const WORDS = {
  command: "Stitch into one loop",
  title: "Stitch into one loop",
  intro: "This will not be the same as before:",
  doIt: "Do it all the same",
  cancel: "Cancel",
  close: "Close",
  refused: "Not stitched",
  done: "{count} samplers are one loop now. Undo brings them back.",
};

const ALL = { ...REFUSALS, ...DIFFERENCES, ...WORDS };

/**
 * @param {Sentence} sentence
 * @param {Record<string, string>} [texts] of another language
 */
export function say({ kind, values }, texts = {}) {
  const text = texts[kind] ?? /** @type {Record<string, string>} */ (ALL)[kind] ?? kind;
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}
