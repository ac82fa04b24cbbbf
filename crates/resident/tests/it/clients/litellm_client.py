"""Drives a hub with LiteLLM, which speaks all three dialects, for libraries.rs.

Argument: the base URL of a hub with the models `demo`, `minilm` and `stage/actor`. Every check is a function; the
first that fails ends the program.
"""

import asyncio
import json
import os
import sys

# Otherwise it asks the internet for prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from stage import ACTOR, MANY_LETTERS, PERSON, QUESTION, TEXTS, TIMEOUT_S, WEATHER
from stage import call, check_person, check_vectors, play, refused, said

litellm.telemetry = False

TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather of a city", "parameters": WEATHER},
}


def providers(url):
    """What a model is called, by dialect, and where it is."""
    return [("openai", url + "/v1"), ("ollama_chat", url), ("anthropic", url)]


def ask(provider, model, text, **options):
    dialect, base = provider
    messages = text if isinstance(text, list) else [{"role": "user", "content": text}]
    return {
        "model": f"{dialect}/{model}",
        "api_base": base,
        "api_key": "unused",
        "messages": messages,
        "temperature": 0,
        "max_tokens": 512,
        "timeout": TIMEOUT_S,
        "num_retries": 0,
        **options,
    }


def check_chat(provider, whole):
    answer = litellm.completion(**ask(provider, "demo", QUESTION))
    choice = answer.choices[0]
    assert choice.message.content == whole and choice.finish_reason == "stop", (answer, whole)
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0, answer


def check_streaming(provider, whole):
    chunks = list(litellm.completion(**ask(provider, "demo", QUESTION, stream=True)))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == whole and len([piece for piece in pieces if piece]) > 3, (pieces, whole)
    assert chunks[-1].choices[0].finish_reason == "stop", chunks[-1]
    asked = play({"say": MANY_LETTERS})
    chunks = list(litellm.completion(**ask(provider, ACTOR, asked, stream=True)))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == MANY_LETTERS, chunks


async def check_at_once(provider, whole):
    asks = [litellm.acompletion(**ask(provider, "demo", QUESTION)) for _ in range(4)]
    for answer in await asyncio.gather(*asks):
        assert answer.choices[0].message.content == whole, answer


def check_tools(provider):
    asked = [{"role": "user", "content": play(
        call(("get_weather", {"city": "Paris", "days": 3})), {"say": "I heard: {heard}"}
    )}]
    answer = litellm.completion(**ask(provider, ACTOR, asked, tools=[TOOL]))
    streamed = litellm.completion(**ask(provider, ACTOR, asked, tools=[TOOL], stream=True))
    rebuilt = litellm.stream_chunk_builder(list(streamed), messages=asked)
    for got in [answer, rebuilt]:
        assert got.choices[0].finish_reason == "tool_calls", got
        (made,) = got.choices[0].message.tool_calls
        assert made.function.name == "get_weather" and made.id, got
        assert json.loads(made.function.arguments) == {"city": "Paris", "days": 3}, got
        result = {"role": "tool", "tool_call_id": made.id, "content": "23 degrees"}
        talk = [*asked, got.choices[0].message.model_dump(exclude_none=True), result]
        ended = litellm.completion(**ask(provider, ACTOR, talk, tools=[TOOL]))
        assert ended.choices[0].message.content == "I heard: 23 degrees", ended


def check_structured(provider):
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    ada = {"name": "Ada", "known": True}
    act = {"say": json.dumps(ada)}
    if provider[0] == "anthropic":
        # Of a model of Anthropic's that it does not know it demands a call of a tool of its own.
        act = call(("json_tool_call", ada))
    else:
        answer = litellm.completion(**ask(provider, "demo", QUESTION, response_format=wanted))
        check_person(json.loads(answer.choices[0].message.content))
    answer = litellm.completion(**ask(provider, ACTOR, play(act), response_format=wanted))
    assert json.loads(answer.choices[0].message.content) == ada, answer


def check_embeddings(url):
    for dialect, base in [("openai", url + "/v1"), ("ollama", url)]:
        answer = litellm.embedding(
            model=f"{dialect}/minilm", input=TEXTS, api_base=base, api_key="unused", timeout=TIMEOUT_S
        )
        check_vectors([row["embedding"] for row in answer.data])


def check_errors(provider):
    error = refused("nobody", lambda: litellm.completion(**ask(provider, "nobody", QUESTION)))
    assert error.status_code == 404 or provider[0] == "ollama_chat", repr(error)
    long = "word " * 200_000
    error = refused("context", lambda: litellm.completion(**ask(provider, "demo", long)))
    assert error.status_code == 400 or provider[0] == "ollama_chat", repr(error)


def main(url):
    whole = said(url, QUESTION)
    for provider in providers(url):
        check_chat(provider, whole)
        check_streaming(provider, whole)
        asyncio.run(check_at_once(provider, whole))
        check_tools(provider)
        check_structured(provider)
        check_errors(provider)
        print(provider[0], "is content")
    check_embeddings(url)
    print("litellm is content")


main(*sys.argv[1:])
