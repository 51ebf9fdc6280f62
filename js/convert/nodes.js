/** The nodes that a chain of samplers consists of and is turned into: their inputs and widgets in the host's order. */

/**
 * @typedef {object} NodeKind
 * @property {string} title
 * @property {[string, string, boolean?][]} sockets name, type, and whether it may stay open
 * @property {[string, string, any, boolean?][]} widgets name, type, default, and whether the input is optional
 * @property {[string, string][]} outputs name and type
 * @property {[number, number]} size
 * @property {string} registry id of the pack in the Comfy Registry
 */

export const CONTROL = "control_after_generate";

const HOST = "comfy-core";
const OURS = "tstitch";
export const MOST_STAGES = 8;

/** @type {NodeKind["widgets"]} */
const SCHEDULE_WIDGETS = [
  ["splits", "STRING", "0.4"],
  ["unit", "COMBO", "steps"],
  ["pattern", "STRING", ""],
  ["memory", "COMBO", "auto"],
];

/**
 * The optional sockets from the second on, such as model_2 to model_7.
 * @param {string} prefix
 * @param {string} type
 * @returns {NodeKind["sockets"]}
 */
function numbered(prefix, type) {
  return Array.from({ length: MOST_STAGES - 2 }, (_, index) => [`${prefix}_${index + 2}`, type, true]);
}

/**
 * @param {string} prefix
 * @param {string} type
 * @returns {NodeKind["sockets"]}
 */
function stageSockets(prefix, type) {
  return [[`final_${prefix}`, type], [`${prefix}_1`, type], ...numbered(prefix, type)];
}

/** @type {NodeKind["widgets"]} */
const ADVANCED_WIDGETS = [
  ["add_noise", "COMBO", "enable"],
  ["noise_seed", "INT", 0],
  [CONTROL, "COMBO", "randomize"],
  ["steps", "INT", 20],
  ["cfg", "FLOAT", 8],
  ["sampler_name", "COMBO", "euler"],
  ["scheduler", "COMBO", "simple"],
  ["start_at_step", "INT", 0],
  ["end_at_step", "INT", 10000],
  ["return_with_leftover_noise", "COMBO", "disable"],
];

/** @type {NodeKind["sockets"]} */
const PROMPTS = [
  ["positive", "CONDITIONING"],
  ["negative", "CONDITIONING"],
];

/** @type {NodeKind["outputs"]} */
const SAMPLED = [
  ["output", "LATENT"],
  ["denoised_output", "LATENT"],
];

/** @type {Record<string, NodeKind>} */
export const KINDS = {
  KSamplerAdvanced: {
    title: "KSampler (Advanced)",
    sockets: [["model", "MODEL"], ...PROMPTS, ["latent_image", "LATENT"]],
    widgets: ADVANCED_WIDGETS,
    outputs: [["LATENT", "LATENT"]],
    size: [320, 334],
    registry: HOST,
  },
  SamplerCustom: {
    title: "SamplerCustom",
    sockets: [["model", "MODEL"], ...PROMPTS, ["sampler", "SAMPLER"], ["sigmas", "SIGMAS"], ["latent_image", "LATENT"]],
    widgets: [
      ["add_noise", "BOOLEAN", true],
      ["noise_seed", "INT", 0],
      [CONTROL, "COMBO", "randomize"],
      ["cfg", "FLOAT", 8],
    ],
    outputs: SAMPLED,
    size: [320, 442],
    registry: HOST,
  },
  SamplerCustomAdvanced: {
    title: "SamplerCustomAdvanced",
    sockets: [
      ["noise", "NOISE"],
      ["guider", "GUIDER"],
      ["sampler", "SAMPLER"],
      ["sigmas", "SIGMAS"],
      ["latent_image", "LATENT"],
    ],
    widgets: [],
    outputs: SAMPLED,
    size: [320, 326],
    registry: HOST,
  },
  RandomNoise: {
    title: "RandomNoise",
    sockets: [],
    widgets: [
      ["noise_seed", "INT", 0],
      [CONTROL, "COMBO", "randomize"],
    ],
    outputs: [["NOISE", "NOISE"]],
    size: [320, 82],
    registry: HOST,
  },
  DisableNoise: {
    title: "DisableNoise",
    sockets: [],
    widgets: [],
    outputs: [["NOISE", "NOISE"]],
    size: [320, 30],
    registry: HOST,
  },
  CFGGuider: {
    title: "CFGGuider",
    sockets: [["model", "MODEL"], ...PROMPTS],
    widgets: [["cfg", "FLOAT", 8]],
    outputs: [["GUIDER", "GUIDER"]],
    size: [320, 98],
    registry: HOST,
  },
  KSamplerSelect: {
    title: "KSamplerSelect",
    sockets: [],
    widgets: [["sampler_name", "COMBO", "euler"]],
    outputs: [["SAMPLER", "SAMPLER"]],
    size: [320, 58],
    registry: HOST,
  },
  BasicScheduler: {
    title: "BasicScheduler",
    sockets: [["model", "MODEL"]],
    widgets: [
      ["scheduler", "COMBO", "simple"],
      ["steps", "INT", 20],
      ["denoise", "FLOAT", 1],
    ],
    outputs: [["SIGMAS", "SIGMAS"]],
    size: [320, 106],
    registry: HOST,
  },
  SplitSigmas: {
    title: "SplitSigmas",
    sockets: [["sigmas", "SIGMAS"]],
    widgets: [["step", "INT", 0]],
    outputs: [
      ["high_sigmas", "SIGMAS"],
      ["low_sigmas", "SIGMAS"],
    ],
    size: [320, 78],
    registry: HOST,
  },
  SplitSigmasDenoise: {
    title: "SplitSigmasDenoise",
    sockets: [["sigmas", "SIGMAS"]],
    widgets: [["denoise", "FLOAT", 1]],
    outputs: [
      ["high_sigmas", "SIGMAS"],
      ["low_sigmas", "SIGMAS"],
    ],
    size: [320, 78],
    registry: HOST,
  },
  PrimitiveInt: {
    title: "Int",
    sockets: [],
    widgets: [
      ["value", "INT", 0],
      [CONTROL, "COMBO", "fixed"],
    ],
    outputs: [["INT", "INT"]],
    size: [320, 82],
    registry: HOST,
  },
  TStitchKSamplerAdvanced: {
    title: "T-Stitch KSampler (Advanced)",
    sockets: [
      ["model", "MODEL"],
      ["small_model", "MODEL"],
      ...PROMPTS,
      ["latent_image", "LATENT"],
      ["small_positive", "CONDITIONING", true],
      ["small_negative", "CONDITIONING", true],
    ],
    widgets: [
      ...ADVANCED_WIDGETS,
      ["fraction", "FLOAT", 0.4],
      ["small_cfg", "FLOAT", 0, true],
      ["unit", "COMBO", "steps", true],
      ["memory", "COMBO", "auto", true],
    ],
    outputs: [
      ["LATENT", "LATENT"],
      ["report", "STRING"],
    ],
    size: [320, 644],
    registry: OURS,
  },
  TStitchSplitSteps: {
    title: "Split Steps",
    sockets: numbered("step", "INT"),
    widgets: [["step_1", "INT", 0]],
    outputs: [
      ["splits", "STRING"],
      ["fraction", "FLOAT"],
    ],
    size: [320, 106],
    registry: OURS,
  },
  TStitchModelSchedule: {
    title: "Multi-Model Schedule",
    sockets: stageSockets("model", "MODEL"),
    widgets: SCHEDULE_WIDGETS,
    outputs: [["MODEL", "MODEL"]],
    size: [320, 318],
    registry: OURS,
  },
  TStitchGuiders: {
    title: "Stitch Guiders",
    sockets: stageSockets("guider", "GUIDER"),
    widgets: SCHEDULE_WIDGETS,
    outputs: [["GUIDER", "GUIDER"]],
    size: [320, 318],
    registry: OURS,
  },
};

/** Of other nodes, the widgets that tell a value before the run. */
export const VALUE_WIDGETS = /** @type {Record<string, string[]>} */ ({
  PrimitiveNode: ["value"],
  PrimitiveFloat: ["value"],
  PrimitiveBoolean: ["value"],
  PrimitiveString: ["value"],
  PrimitiveStringMultiline: ["value"],
  ComfySwitchNode: ["switch"],
  ModelSamplingSD3: ["shift"],
  ModelSamplingAuraFlow: ["shift"],
  ModelSamplingDiscrete: ["sampling", "zsnr"],
  ModelSamplingContinuousEDM: ["sampling", "sigma_max", "sigma_min"],
  ModelSamplingContinuousV: ["sampling", "sigma_max", "sigma_min"],
  ModelSamplingFlux: ["max_shift", "base_shift", "width", "height"],
  ModelSamplingLTXV: ["max_shift", "base_shift"],
  UNETLoader: ["unet_name"],
  CheckpointLoaderSimple: ["ckpt_name"],
  KarrasScheduler: ["steps", "sigma_max", "sigma_min", "rho"],
  ManualSigmas: ["sigmas"],
  SetNode: ["name"],
  GetNode: ["name"],
});

/** Nodes that only serve others: they go when nobody reads them any more. */
export const HELPERS = new Set([
  "Reroute",
  "GetNode",
  "SetNode",
  "PrimitiveNode",
  "RandomNoise",
  "DisableNoise",
  "CFGGuider",
  "BasicGuider",
  "KSamplerSelect",
  "BasicScheduler",
  "SplitSigmas",
  "SplitSigmasDenoise",
]);

/**
 * The names of a node's saved widget values, in order; none where it is not known.
 * @param {string} type
 */
export function widgetNames(type) {
  return KINDS[type]?.widgets.map(([name]) => name) ?? VALUE_WIDGETS[type] ?? [];
}
