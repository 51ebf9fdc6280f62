/**
 * Colours of the models in run order, the same as in the figures (tstitch/views/plots.py): Okabe and Ito's palette, which
 * people with any kind of colour vision can tell apart (Wong, Nature Methods 8, 441, 2011). Without its black, which a
 * dark theme would swallow.
 */
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999"];

/** @param {number} stage */
export function colourOf(stage) {
  return COLOURS[stage % COLOURS.length];
}

/**
 * Black or white, whichever has more contrast with `colour` (WCAG relative luminance).
 * @param {string} colour as #rrggbb
 */
export function textColourOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 ? "#fff" : "#000";
}
