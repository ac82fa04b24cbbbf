// Drives a hub with the official Anthropic client for JavaScript, for libraries.rs.
//
// Argument: the base URL of a hub with the models `demo` and `stage/actor`. The first check that fails ends the
// program.

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import {
  ACTOR, MANY_LETTERS, PERSON, QUESTION, WEATHER, all, ask, call, checkPerson, checkPieces, play, refused, said,
} from "./stage.mjs";

const url = process.argv[2];
const client = new Anthropic({ baseURL: url, apiKey: "unused", maxRetries: 0 });
const greedy = (asked) => ({ model: "demo", max_tokens: 512, temperature: 0, ...asked });
const create = (asked) => client.messages.create(greedy(asked));
const textOf = (message) => message.content.map((block) => block.text ?? "").join("");

async function checkMessage(whole) {
  const answer = await create({ messages: ask(QUESTION) });
  assert.equal(textOf(answer), whole);
  assert.equal(answer.stop_reason, "end_turn");
  assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
  const counted = await client.messages.countTokens({ model: "demo", messages: ask(QUESTION) });
  const { input_tokens, cache_read_input_tokens, cache_creation_input_tokens } = answer.usage;
  assert.equal(counted.input_tokens, input_tokens + cache_read_input_tokens + cache_creation_input_tokens);
}

async function checkStreaming(whole) {
  const stream = client.messages.stream(greedy({ messages: ask(QUESTION) }));
  const pieces = [];
  stream.on("text", (piece) => pieces.push(piece));
  assert.equal(textOf(await stream.finalMessage()), whole);
  checkPieces(pieces, whole);
  const names = (await all(await create({ messages: ask(QUESTION), stream: true }))).map((event) => event.type);
  assert.deepEqual(names.slice(-3), ["content_block_stop", "message_delta", "message_stop"]);
  const asked = play({ think: "Let me see.", say: MANY_LETTERS });
  const final = await client.messages.stream(greedy({ model: ACTOR, messages: ask(asked) })).finalMessage();
  assert.deepEqual(final.content.map((block) => block.type), ["thinking", "text"]);
  assert.equal(final.content[0].thinking, "Let me see.");
  assert.equal(textOf(final), MANY_LETTERS);
}

async function checkTools() {
  const asked = ask(play(call(["get_weather", { city: "北京", days: 2 }]), { say: "I heard: {heard}" }));
  const tools = [{ name: "get_weather", description: "The weather", input_schema: WEATHER }];
  const whole = await create({ model: ACTOR, messages: asked, tools });
  const streamed = await client.messages.stream(greedy({ model: ACTOR, messages: asked, tools })).finalMessage();
  for (const answer of [whole, streamed]) {
    assert.equal(answer.stop_reason, "tool_use");
    const made = answer.content.at(-1);
    assert.deepEqual([made.type, made.name, made.input], ["tool_use", "get_weather", { city: "北京", days: 2 }]);
    const result = { type: "tool_result", tool_use_id: made.id, content: [{ type: "text", text: "22 degrees" }] };
    const messages = [
      ...asked, { role: "assistant", content: answer.content }, { role: "user", content: [result] },
    ];
    assert.equal(textOf(await create({ model: ACTOR, messages, tools })), "I heard: 22 degrees");
  }
}

async function checkStructured() {
  const format = { type: "json_schema", schema: PERSON };
  const answer = await create({ messages: ask(QUESTION), output_config: { format } });
  checkPerson(JSON.parse(textOf(answer)));
}

async function checkErrors() {
  for (const stream of [false, true]) {
    const error = await refused("nobody", () => create({ model: "nobody", messages: ask("x"), stream }));
    assert.ok(error instanceof Anthropic.NotFoundError && error.error.error.type === "not_found_error", error);
  }
}

const whole = await said(url, QUESTION);
await checkMessage(whole);
await checkStreaming(whole);
await checkTools();
await checkStructured();
await checkErrors();
console.log("anthropic is content");
