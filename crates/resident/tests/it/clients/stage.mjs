// What the checks of JavaScript's libraries share: the questions, what the engine itself says to them, and plays.
//
// `play.rs` says what a play is. Not here: any library.

import assert from "node:assert/strict";

// The model that does what its user says.
export const ACTOR = "stage/actor";

export const QUESTION = "What is Resident?";

// Letters of two, three and four bytes, of which pieces of an answer must cut none.
export const MANY_LETTERS = "Grüße, 常驻 — 🦀!";

export const TEXTS = ["The cat sleeps.", "A kitten is napping.", "Interest rates rose."];

export const WEATHER = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
};

export const PERSON = {
  type: "object",
  properties: {
    // Nothing that goes on for ever, since some libraries take bounds out of a schema.
    name: { type: "string", enum: ["Ada", "Alan", "Grace"] },
    known: { type: "boolean" },
  },
  required: ["name", "known"],
  additionalProperties: false,
};

// What a user says to have these acts played, one in each turn.
export const play = (...acts) => "PLAY " + JSON.stringify(acts);

// An act that calls tools; each call is [name, arguments].
export const call = (...calls) => ({ call: calls });

export const ask = (content) => [{ role: "user", content }];

// What the demo model says to a question, asked without any library.
export async function said(url, question) {
  const asked = { model: "demo", temperature: 0, messages: ask(question) };
  const answer = await fetch(url + "/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(asked),
  });
  const text = (await answer.json()).choices[0].message.content;
  assert.ok(text.length > 20, text);
  return text;
}

export function checkPerson(person) {
  assert.deepEqual(Object.keys(person).sort(), ["known", "name"]);
  assert.ok(PERSON.properties.name.enum.includes(person.name) && typeof person.known === "boolean");
}

// Whether these are the vectors of `TEXTS`: the first two mean nearly the same.
export function checkVectors([cat, kitten, rates]) {
  const cosine = (a, b) => a.reduce((sum, x, at) => sum + x * b[at], 0);
  assert.equal(cat.length, 384);
  assert.ok(Math.abs(cosine(cat, cat) - 1) < 1e-3);
  assert.ok(cosine(cat, kitten) > cosine(cat, rates) + 0.2);
}

// Whether pieces are this text, and are pieces.
export function checkPieces(pieces, whole) {
  assert.equal(pieces.join(""), whole);
  assert.ok(pieces.filter(Boolean).length > 3, JSON.stringify(pieces));
}

// The items of a stream.
export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

// The error with which `work` fails, which must say `word`.
export async function refused(word, work) {
  const error = await work().then((answer) => assert.fail(`nothing was refused: ${JSON.stringify(answer)}`), (e) => e);
  assert.ok(String(error).includes(word), error);
  return error;
}
