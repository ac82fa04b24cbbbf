// Drives a hub with the official OpenAI client for JavaScript, for libraries.rs.
//
// Argument: the base URL of a hub with the models `demo`, `minilm` and `stage/actor`. The first check that fails ends
// the program.

import assert from "node:assert/strict";
import OpenAI from "openai";
import {
  ACTOR, MANY_LETTERS, PERSON, QUESTION, TEXTS, WEATHER,
  all, ask, call, checkPerson, checkPieces, checkVectors, play, refused, said,
} from "./stage.mjs";

const url = process.argv[2];
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "unused", maxRetries: 0 });
const create = (asked) => client.chat.completions.create({ model: "demo", temperature: 0, ...asked });

async function checkChat(whole) {
  const answer = await create({ messages: ask(QUESTION) });
  assert.equal(answer.choices[0].message.content, whole);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  const names = (await all(client.models.list())).map((model) => model.id).sort();
  assert.deepEqual(names, ["demo", "minilm", ACTOR]);
}

async function checkStreaming(whole) {
  const options = { include_usage: true };
  const chunks = await all(await create({ messages: ask(QUESTION), stream: true, stream_options: options }));
  checkPieces(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? ""), whole);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
  const helper = client.chat.completions.stream({ model: ACTOR, messages: ask(play({ say: MANY_LETTERS })) });
  assert.equal(await helper.finalContent(), MANY_LETTERS);
  const answers = await Promise.all([1, 2, 3, 4].map(() => create({ messages: ask(QUESTION) })));
  for (const answer of answers) assert.equal(answer.choices[0].message.content, whole);
}

// The client's own loop calls the function and gives its result back.
async function checkTools() {
  const cities = [{ city: "Paris", days: 1 }, { city: "北京", days: 2 }];
  const asked = play(call(...cities.map((city) => ["get_weather", city])), { say: "I heard: {heard}" });
  const seen = [];
  const tool = {
    type: "function",
    function: {
      name: "get_weather",
      parameters: WEATHER,
      parse: JSON.parse,
      function: ({ city, days }) => {
        seen.push({ city, days });
        return `${city} ${20 + days}`;
      },
    },
  };
  for (const stream of [false, true]) {
    const runner = client.chat.completions.runTools({ model: ACTOR, messages: ask(asked), tools: [tool], stream });
    assert.equal(await runner.finalContent(), "I heard: Paris 21, 北京 22");
  }
  assert.deepEqual(seen, [...cities, ...cities]);
}

async function checkStructured() {
  const format = { type: "json_schema", json_schema: { name: "person", strict: true, schema: PERSON } };
  const answer = await client.chat.completions.parse({
    model: "demo", messages: ask(QUESTION), response_format: format, temperature: 1.2,
  });
  checkPerson(JSON.parse(answer.choices[0].message.content));
  const told = await create({
    model: ACTOR, messages: ask(play({ tell: "/response_format/json_schema/schema" })), response_format: format,
  });
  assert.deepEqual(JSON.parse(told.choices[0].message.content), PERSON);
}

async function checkEmbeddings() {
  // It asks for base64 by itself and decodes it.
  const answer = await client.embeddings.create({ model: "minilm", input: TEXTS });
  checkVectors(answer.data.map((row) => row.embedding));
}

async function checkErrors() {
  const error = await refused("nobody", () => create({ model: "nobody", messages: ask("x") }));
  assert.ok(error instanceof OpenAI.NotFoundError && error.code === "model_not_found", error);
}

async function checkEarlyEnd() {
  const stream = await create({ messages: ask(QUESTION), stream: true, max_tokens: 100_000, ignore_eos: true });
  for await (const _ of stream) break;
}

const whole = await said(url, QUESTION);
await checkChat(whole);
await checkStreaming(whole);
await checkTools();
await checkStructured();
await checkEmbeddings();
await checkErrors();
await checkEarlyEnd();
console.log("openai is content");
