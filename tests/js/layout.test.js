import assert from "node:assert/strict";
import { test } from "node:test";

import {
  HEIGHT,
  chipColumns,
  fitText,
  markText,
  positionAt,
  rulerMarks,
  secondsText,
  stepAt,
  tickStride,
  totalHeight,
} from "../../js/timeline/layout.js";
import { colourOf, textColourOn } from "../../js/timeline/palette.js";
import { runOf } from "../../js/timeline/schedule.js";

test("every pixel of the bar belongs to a step, and outside ones to the nearest", () => {
  assert.deepEqual([-5, 0, 9.9, 10, 199, 200, 300].map((x) => stepAt(x, 200, 20)), [0, 0, 0, 1, 19, 19, 19]);
  assert.deepEqual([-5, 0, 15, 200, 300].map((x) => positionAt(x, 200, 20)), [0, 0, 1.5, 20, 20]);
});

test("the ruler has both ends, and its numbers never touch", () => {
  for (const unit of ["steps", "step", "timestep", "sigma"]) {
    for (const steps of [1, 2, 7, 20, 50, 1000, 10000]) {
      for (const width of [60, 150, 250, 600]) {
        const levels = Array.from({ length: steps + 1 }, (_, step) => 14.614642 * (1 - step / steps));
        const run = runOf(steps, { sigmas: levels, timesteps: levels.map((level) => level / 14.614642) });
        const marks = rulerMarks(unit, run, width);
        assert.equal(marks[0].step, 0);
        assert.equal(marks.at(-1).step, steps);
        const places = marks.map((mark) => (mark.step / steps) * width);
        for (let at = 1; at < marks.length; at++) {
          const needed = (marks[at - 1].text.length + marks[at].text.length) * 2.6;
          assert.ok(marks.length === 2 || places[at] - places[at - 1] >= needed, `${unit} ${steps} ${width}`);
        }
      }
    }
  }
});

test("the ruler counts in the chosen unit", () => {
  const run = runOf(4, { sigmas: [14.6146, 5, 2.5, 0.7, 0], timesteps: [1, 0.8, 0.55, 0.123, 0] });
  assert.deepEqual(rulerMarks("steps", run, 400).map((mark) => mark.text), ["0", "0.25", "0.5", "0.75", "1"]);
  assert.deepEqual(rulerMarks("step", run, 400).map((mark) => mark.text), ["0", "1", "2", "3", "4"]);
  assert.deepEqual(rulerMarks("timestep", run, 400).map((mark) => mark.text), ["1", "0.8", "0.55", "0.12", "0"]);
  assert.deepEqual(rulerMarks("sigma", run, 400).map((mark) => mark.text), ["14.6", "5", "2.5", "0.7", "0"]);
  assert.equal(markText(2, "step", { ...run, firstStep: 6, totalSteps: 10 }), "8");
  assert.equal(markText(2, "sigma", runOf(4)), "2", "steps, as long as the levels are not known");
});

test("ticks stay apart", () => {
  assert.equal(tickStride(20, 250), 1);
  assert.ok((250 / 1000) * tickStride(1000, 250) >= 4);
});

test("a label is cut before it is dropped", () => {
  assert.equal(fitText("dreamshaper", "1", 200), "dreamshaper");
  assert.equal(fitText("dreamshaper", "1", 60), "dreamsh…");
  assert.equal(fitText("dreamshaper", "1", 20), "1");
  assert.equal(fitText("dreamshaper", "1", 6), "");
});

test("chips take as many columns as fit, and the widget grows with their rows", () => {
  assert.deepEqual([320, 200, 40].map((width) => chipColumns(2, width)), [2, 1, 1]);
  assert.equal(chipColumns(8, 600), 5);
  assert.equal(totalHeight(8, 320) - totalHeight(2, 320), 3 * HEIGHT.chip);
});

test("seconds read well at every size", () => {
  const written = { 0: "0 s", 0.0123: "12 ms", 0.25: "0.25 s", 3.14159: "3.1 s", 9.96: "10 s", 59.7: "60 s", 125: "2:05 min", 7300: "2:01 h" };
  for (const [seconds, text] of Object.entries(written)) {
    assert.equal(secondsText(Number(seconds)), text);
  }
});

test("eight stages have eight colours, and text on each has a contrast of 4.5 or more", () => {
  const colours = Array.from({ length: 8 }, (_, stage) => colourOf(stage));
  assert.equal(new Set(colours).size, 8);
  for (const colour of colours) {
    assert.ok(contrast(colour, textColourOn(colour)) >= 4.5, colour);
  }
});

function contrast(one, other) {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function luminance(colour) {
  const hex = colour.length === 4 ? [...colour.slice(1)].map((digit) => digit + digit) : colour.slice(1).match(/../g);
  const [red, green, blue] = hex.map((pair) => {
    const value = parseInt(pair, 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
