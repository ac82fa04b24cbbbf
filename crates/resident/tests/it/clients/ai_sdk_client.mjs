// Drives a hub with the AI SDK, by its packages for servers like OpenAI's, for OpenAI, Anthropic and Ollama, for
// libraries.rs.
//
// Argument: the base URL of a hub with the models `demo`, `minilm` and `stage/actor`. The first check that fails ends
// the program.

import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embedMany, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { createOllama } from "ai-sdk-ollama";
import {
  ACTOR, MANY_LETTERS, PERSON, QUESTION, TEXTS, WEATHER,
  all, call, checkPerson, checkPieces, checkVectors, play, refused, said,
} from "./stage.mjs";

const url = process.argv[2];
const settings = { baseURL: url + "/v1", apiKey: "unused" };
const compatible = createOpenAICompatible({ ...settings, name: "resident", supportsStructuredOutputs: true });
const openai = createOpenAI(settings);
const anthropic = createAnthropic(settings);
const ollama = createOllama({ baseURL: url });

// Which model is meant, by package.
const packages = {
  "openai-compatible": (name) => compatible(name),
  "openai, chat": (name) => openai.chat(name),
  // What that package does unless it is told otherwise.
  "openai, responses": (name) => openai(name),
  anthropic: (name) => anthropic(name),
  ollama: (name) => ollama(name),
};

const common = { temperature: 0, maxRetries: 0, maxOutputTokens: 512 };

async function checkChat(model, whole) {
  const answer = await generateText({ ...common, model: model("demo"), prompt: QUESTION });
  assert.equal(answer.text, whole);
  assert.equal(answer.finishReason, "stop");
  assert.ok(answer.usage.inputTokens > 0 && answer.usage.outputTokens > 0);
}

async function checkStreaming(model, whole) {
  const stream = streamText({ ...common, model: model("demo"), prompt: QUESTION });
  checkPieces(await all(stream.textStream), whole);
  const prompt = play({ say: MANY_LETTERS });
  assert.equal(await streamText({ ...common, model: model(ACTOR), prompt }).text, MANY_LETTERS);
}

// The package's own loop: two calls at once, both answered, and the model hears both results.
async function checkTools(model) {
  const cities = [{ city: "Paris", days: 1 }, { city: "北京", days: 2 }];
  const prompt = play(call(...cities.map((city) => ["get_weather", city])), { say: "I heard: {heard}" });
  for (const run of [generateText, streamText]) {
    const seen = [];
    const get_weather = tool({
      description: "The weather of a city",
      inputSchema: jsonSchema(WEATHER),
      execute: async ({ city, days }) => {
        seen.push({ city, days });
        return `${city} ${20 + days}`;
      },
    });
    const answer = await run({
      ...common, model: model(ACTOR), prompt, tools: { get_weather }, stopWhen: stepCountIs(3),
    });
    assert.equal(await answer.text, "I heard: Paris 21, 北京 22");
    assert.deepEqual(seen, cities);
    assert.equal((await answer.steps).length, 2);
  }
}

async function checkStructured(model) {
  const output = Output.object({ schema: jsonSchema(PERSON), name: "person" });
  // Of a model of Anthropic's that it does not know it demands a call otherwise.
  const providerOptions = { anthropic: { structuredOutputMode: "outputFormat" } };
  const held = { ...common, output, providerOptions };
  checkPerson((await generateText({ ...held, model: model("demo"), prompt: QUESTION })).output);
  const prompt = play({ say: '{"name": "Ada", "known": true}' });
  const answer = await generateText({ ...held, model: model(ACTOR), prompt });
  assert.deepEqual(answer.output, { name: "Ada", known: true });
}

async function checkReasoning(model) {
  const prompt = play({ think: "Let me see.", say: "Yes." });
  const answer = await generateText({ ...common, model: model(ACTOR), prompt });
  assert.deepEqual([answer.reasoningText, answer.text], ["Let me see.", "Yes."]);
}

async function checkErrors(name, model) {
  const error = await refused("nobody", () => generateText({ ...common, model: model("nobody"), prompt: "x" }));
  // The package for Ollama keeps the words only.
  if (name !== "ollama") assert.equal(error.statusCode, 404);
}

const whole = await said(url, QUESTION);
for (const [name, model] of Object.entries(packages)) {
  await checkChat(model, whole);
  await checkStreaming(model, whole);
  await checkTools(model);
  await checkStructured(model);
  await checkErrors(name, model);
  console.log(name, "is content");
}
for (const name of ["openai-compatible", "anthropic"]) await checkReasoning(packages[name]);
for (const model of [compatible.embeddingModel("minilm"), openai.embedding("minilm"), ollama.embedding("minilm")]) {
  checkVectors((await embedMany({ model, values: TEXTS, maxRetries: 0 })).embeddings);
}
