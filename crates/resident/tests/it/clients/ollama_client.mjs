// Drives a hub with the official Ollama client for JavaScript, for libraries.rs.
//
// Argument: the base URL of a hub with the models `demo`, `minilm` and `stage/actor`. The first check that fails ends
// the program.

import assert from "node:assert/strict";
import { Ollama } from "ollama";
import {
  ACTOR, MANY_LETTERS, PERSON, QUESTION, TEXTS, WEATHER,
  all, ask, call, checkPerson, checkPieces, checkVectors, play, refused, said,
} from "./stage.mjs";

const url = process.argv[2];
const client = new Ollama({ host: url });
const options = { temperature: 0 };

async function checkChat(whole) {
  const answer = await client.chat({ model: "demo", messages: ask(QUESTION), options });
  assert.equal(answer.message.content, whole);
  assert.equal(answer.done_reason, "stop");
  assert.ok(answer.eval_count > 0 && answer.total_duration > 0);
  const parts = await all(await client.chat({ model: "demo", messages: ask(QUESTION), options, stream: true }));
  checkPieces(parts.map((part) => part.message.content), whole);
  assert.equal(parts.findIndex((part) => part.done), parts.length - 1);
  const asked = ask(play({ think: "Let me see.", say: MANY_LETTERS }));
  const thought = await client.chat({ model: ACTOR, messages: asked, think: true });
  assert.deepEqual([thought.message.thinking, thought.message.content], ["Let me see.", MANY_LETTERS]);
}

async function checkGenerate(whole) {
  const pieces = await all(await client.generate({ model: "demo", prompt: QUESTION, options, stream: true }));
  checkPieces(pieces.map((piece) => piece.response), whole);
}

async function checkTools() {
  const asked = ask(play(call(["get_weather", { city: "北京", days: 2 }]), { say: "I heard: {heard}" }));
  const tools = [{ type: "function", function: { name: "get_weather", description: "", parameters: WEATHER } }];
  const whole = await client.chat({ model: ACTOR, messages: asked, tools });
  const streamed = await all(await client.chat({ model: ACTOR, messages: asked, tools, stream: true }));
  const calls = streamed.flatMap((part) => part.message.tool_calls ?? []);
  for (const made of [whole.message.tool_calls, calls]) {
    assert.equal(made.length, 1);
    assert.equal(made[0].function.name, "get_weather");
    assert.deepEqual(made[0].function.arguments, { city: "北京", days: 2 });
  }
  const result = { role: "tool", tool_name: "get_weather", content: "22 degrees" };
  const ended = await client.chat({ model: ACTOR, messages: [...asked, whole.message, result], tools });
  assert.equal(ended.message.content, "I heard: 22 degrees");
}

async function checkStructured() {
  const answer = await client.chat({ model: "demo", messages: ask(QUESTION), format: PERSON });
  checkPerson(JSON.parse(answer.message.content));
}

async function checkEmbeddings() {
  checkVectors((await client.embed({ model: "minilm", input: TEXTS })).embeddings);
}

async function checkLists() {
  const names = (await client.list()).models.map((model) => model.name).sort();
  assert.deepEqual(names, ["demo:latest", "minilm:latest", `${ACTOR}:latest`]);
  const shown = await client.show({ model: "demo" });
  assert.ok(shown.capabilities.includes("completion") && shown.model_info["general.architecture"], shown);
}

async function checkErrors() {
  const error = await refused("not found", () => client.chat({ model: "nobody", messages: ask("x") }));
  assert.equal(error.status_code, 404);
}

const whole = await said(url, QUESTION);
await checkChat(whole);
await checkGenerate(whole);
await checkTools();
await checkStructured();
await checkEmbeddings();
await checkLists();
await checkErrors();
console.log("ollama is content");
