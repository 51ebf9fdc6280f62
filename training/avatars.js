// Draws a part of the avatars: `node training/avatars.js SPLIT FIRST COUNT PIXELS LABELS`.
//
// Picture i is of style i mod 10 and of the seed "SPLIT-i", so that anyone draws the same set. PIXELS gets COUNT x 64 x
// 64 x 3 bytes (RGB), LABELS a JSON list with the style and every attribute that the design chose.

import { writeFileSync } from "node:fs";
import { createAvatar } from "@dicebear/core";
import * as designs from "@dicebear/collection";
import { Resvg } from "@resvg/resvg-js";

const STYLES = [
  "adventurer", "bigEars", "bigSmile", "funEmoji", "micah",
  "miniavs", "openPeeps", "personas", "pixelArt", "toonHead",
];
const BACKGROUNDS = ["b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf", "c4ecc9", "fff1b5", "e6e6e6"];
const SIZE = 64;
const UNSEEN = ["secondaryBackgroundColor", "backgroundType", "backgroundRotation"];

const [split, first, count, pixelsFile, labelsFile] = process.argv.slice(2);
const pixels = Buffer.alloc(Number(count) * SIZE * SIZE * 3);
const labels = [];
let offset = 0;
for (let i = Number(first); i < Number(first) + Number(count); i++) {
  const style = STYLES[i % STYLES.length];
  const avatar = createAvatar(designs[style], { seed: `${split}-${i}`, size: SIZE, backgroundColor: BACKGROUNDS });
  const rgba = new Resvg(avatar.toString(), { background: "white", font: { loadSystemFonts: false } }).render().pixels;
  for (let j = 0; j < rgba.length; j += 4) {
    pixels[offset++] = rgba[j];
    pixels[offset++] = rgba[j + 1];
    pixels[offset++] = rgba[j + 2];
  }
  const attributes = { ...avatar.toJson().extra };
  for (const name of UNSEEN) {
    delete attributes[name];
  }
  labels.push({ style, ...attributes });
}
writeFileSync(pixelsFile, pixels);
writeFileSync(labelsFile, JSON.stringify(labels));
