// What is said, in every language.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { DIFFERENCES, REFUSALS, say, WORDS } from "../../../js/convert/sentences.js";

const ENGLISH = { ...REFUSALS, ...DIFFERENCES, ...WORDS };
const LETTERS = { ko: /[\uac00-\ud7a3]/, ja: /[\u3040-\u30ff\u4e00-\u9fff]/, zh: /[\u4e00-\u9fff]/ };

function read(language, file) {
  return JSON.parse(readFileSync(new URL(`../../../locales/${language}/${file}`, import.meta.url), "utf8"));
}

function places(text) {
  return [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();
}

test("no two sentences have one name", () => {
  const counts = [REFUSALS, DIFFERENCES, WORDS].map((group) => Object.keys(group).length);
  assert.equal(Object.keys(ENGLISH).length, counts.reduce((sum, count) => sum + count));
});

test("the English file says what the code says", () => {
  assert.deepEqual(read("en", "main.json").tstitch.convert, ENGLISH);
});

for (const [language, letters] of Object.entries(LETTERS)) {
  test(`every sentence is there in ${language}, with the same names in it`, () => {
    const texts = read(language, "main.json").tstitch.convert;
    assert.deepEqual(Object.keys(texts), Object.keys(ENGLISH));
    for (const [kind, text] of Object.entries(texts)) {
      assert.deepEqual(places(text), places(ENGLISH[kind]), `${language} ${kind}`);
      assert.ok(kind === "unreadable" || letters.test(text), `${language} ${kind} is not translated`);
    }
    assert.equal(read(language, "commands.json").TStitch_StitchIntoLoop.label, texts.command);
  });
}

test("a sentence in another language, and in English where it is missing", () => {
  const sentence = { kind: "noise", values: { b: "B" } };
  assert.equal(say(sentence, { noise: "{b}!" }), "B!");
  assert.match(say(sentence, {}), /^“B” adds noise again/);
});
