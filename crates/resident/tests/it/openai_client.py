"""Drives a hub with the official OpenAI client, for openai_client.rs.

Arguments: the base URL of an open hub with the models `demo` and `minilm`, the base URL of a hub
that wants a key, and that key. Every check is a function; the first that fails ends the program.
"""

import asyncio
import json
import math
import sys

import openai

TIMEOUT_S = 120

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Name of the city"}},
            "required": ["city"],
        },
    },
}


def ask(text):
    return [{"role": "user", "content": text}]


QUESTION = ask("What is Resident?")


def check_models(client):
    names = sorted(model.id for model in client.models.list())
    assert names == ["demo", "minilm"], names
    assert client.models.retrieve("demo").id == "demo"


def check_chat(client):
    answer = client.chat.completions.create(model="demo", messages=QUESTION, temperature=0)
    choice = answer.choices[0]
    assert choice.message.role == "assistant", choice
    assert choice.message.content.strip(), choice
    assert choice.finish_reason == "stop", choice
    assert answer.object == "chat.completion" and answer.model == "demo" and answer.id, answer
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage
    again = client.chat.completions.create(
        model="demo",
        messages=[
            {"role": "system", "content": "You are brief."},
            *QUESTION,
            {"role": "assistant", "content": choice.message.content},
            {"role": "user", "content": [{"type": "text", "text": "谢谢"}]},
        ],
        max_completion_tokens=16,
    )
    assert again.usage.completion_tokens <= 16, again.usage
    return choice.message.content


def check_streaming(client, whole):
    stream = client.chat.completions.create(
        model="demo",
        messages=QUESTION,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole, (pieces, whole)
    assert len([piece for piece in pieces if piece]) > 3, pieces
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert [reason for reason in reasons if reason] == ["stop"], reasons
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0, chunks[-1]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks[:-1])


def check_streaming_helper(client, whole):
    with client.chat.completions.stream(model="demo", messages=QUESTION, temperature=0) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole, final


def check_logprobs(client, whole):
    answer = client.chat.completions.create(
        model="demo", messages=QUESTION, temperature=0, logprobs=True, top_logprobs=4
    )
    tokens = answer.choices[0].logprobs.content
    said = b"".join(bytes(token.bytes) for token in tokens).decode()
    assert said.startswith(whole), (said, whole)
    for token in tokens:
        assert len(token.top_logprobs) == 4, token
        best = max(token.top_logprobs, key=lambda top: top.logprob)
        assert abs(best.logprob - token.logprob) < 1e-6, token
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) < 1.0001, token
    plain = client.chat.completions.create(model="demo", messages=QUESTION, max_tokens=1)
    assert plain.choices[0].logprobs is None, plain


def check_choices(client):
    def draw(seed):
        answer = client.chat.completions.create(
            model="demo",
            messages=QUESTION,
            n=2,
            seed=seed,
            temperature=2.0,
            max_tokens=40,
            # Otherwise a model that is sure of itself says the same whatever is drawn.
            extra_body={"top_k": 0, "min_p": 0, "top_p": 1},
        )
        assert [choice.index for choice in answer.choices] == [0, 1], answer
        return [choice.message.content for choice in answer.choices]

    first = draw(1)
    assert first == draw(1), "the same seed draws the same"
    assert first[0] != first[1], "the choices differ"


def check_stop_and_length(client, whole):
    word = whole.split()[2]
    answer = client.chat.completions.create(
        model="demo", messages=QUESTION, temperature=0, stop=[word]
    )
    assert answer.choices[0].message.content == whole[: whole.index(word)], answer
    assert answer.choices[0].finish_reason == "stop", answer
    answer = client.chat.completions.create(
        model="demo", messages=QUESTION, temperature=0, max_tokens=2
    )
    assert answer.choices[0].finish_reason == "length", answer
    assert answer.usage.completion_tokens == 2, answer


def check_tools(client):
    question = ask("What is the weather in Paris?")
    answer = client.chat.completions.create(
        model="demo", messages=question, tools=[WEATHER], temperature=0
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls", choice
    call = choice.message.tool_calls[0]
    assert call.type == "function" and call.id, call
    assert call.function.name == "get_weather", call
    arguments = json.loads(call.function.arguments)
    assert "city" in arguments, arguments

    stream = client.chat.completions.create(
        model="demo", messages=question, tools=[WEATHER], temperature=0, stream=True
    )
    name, text, ids = "", "", set()
    for chunk in stream:
        for part in chunk.choices[0].delta.tool_calls or []:
            assert part.index == 0, part
            name += part.function.name or ""
            text += part.function.arguments or ""
            ids.update([part.id] if part.id else [])
    assert name == "get_weather" and json.loads(text) == arguments, (name, text)
    assert len(ids) == 1, ids

    answer = client.chat.completions.create(
        model="demo",
        messages=[
            *question,
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21}'},
        ],
        tools=[WEATHER],
        temperature=0,
        max_tokens=60,
    )
    assert answer.choices[0].message.content.strip(), answer


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["friend", "stranger"]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}


def check_person(text):
    person = json.loads(text)
    assert sorted(person) == ["age", "kind", "name"], person
    assert len(person["name"]) <= 20 and 0 <= person["age"] <= 150, person
    assert person["kind"] in ("friend", "stranger"), person


def check_structured(client):
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    asked = {"model": "demo", "messages": QUESTION, "temperature": 1.2, "max_tokens": 1500}
    answer = client.chat.completions.create(**asked, response_format=wanted)
    assert answer.choices[0].finish_reason == "stop", answer
    check_person(answer.choices[0].message.content)
    stream = client.chat.completions.create(**asked, response_format=wanted, stream=True)
    check_person("".join(chunk.choices[0].delta.content or "" for chunk in stream))
    answer = client.chat.completions.create(**asked, response_format={"type": "json_object"})
    assert answer.choices[0].message.content.startswith("{"), answer
    wanted["json_schema"]["schema"] = {"type": "object", "not": {}}
    error = refused(
        openai.BadRequestError,
        lambda: client.chat.completions.create(**asked, response_format=wanted),
    )
    assert error.param == "response_format.json_schema.schema", error


def check_completions(client):
    answer = client.completions.create(
        model="demo", prompt="Resident", max_tokens=8, temperature=0, logprobs=2, echo=False
    )
    assert answer.choices[0].text, answer
    assert len(answer.choices[0].logprobs.tokens) == answer.usage.completion_tokens, answer
    stream = client.completions.create(
        model="demo", prompt="Resident", max_tokens=8, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == answer.choices[0].text


def check_embeddings(client):
    texts = ["The cat sleeps.", "A kitten is napping.", "Interest rates rose."]
    # The client asks for base64 by itself and decodes it.
    binary = [one.embedding for one in client.embeddings.create(model="minilm", input=texts).data]
    answer = client.embeddings.create(model="minilm", input=texts, encoding_format="float")
    plain = [one.embedding for one in answer.data]
    assert [one.index for one in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens > 0
    for one, other in zip(binary, plain, strict=True):
        assert len(one) == len(other) == 384
        assert max(abs(a - b) for a, b in zip(one, other)) < 1e-6
    cosine = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert cosine(plain[0], plain[1]) > cosine(plain[0], plain[2]) + 0.2
    raw = client.embeddings.with_raw_response.create(
        model="minilm", input=texts[0], encoding_format="base64"
    )
    assert isinstance(json.loads(raw.text)["data"][0]["embedding"], str), raw.text


def refused(kind, call):
    try:
        call()
    except kind as error:
        assert error.body and error.body["message"], error
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_errors(client):
    create = client.chat.completions.create
    error = refused(openai.NotFoundError, lambda: create(model="nobody", messages=QUESTION))
    assert error.code == "model_not_found", error
    error = refused(
        openai.BadRequestError, lambda: create(model="demo", messages=QUESTION, temperature=99)
    )
    assert error.param == "temperature", error
    long = ask("word " * 200_000)
    for stream in (False, True):
        error = refused(
            openai.BadRequestError, lambda: create(model="demo", messages=long, stream=stream)
        )
        assert error.code == "context_length_exceeded", error
    refused(openai.BadRequestError, lambda: create(model="demo", messages=[]))
    refused(openai.BadRequestError, lambda: create(model="minilm", messages=QUESTION))
    refused(openai.NotFoundError, lambda: client.models.retrieve("nobody"))


def check_key(keyed_url, key):
    good = openai.OpenAI(base_url=keyed_url, api_key=key, max_retries=0, timeout=TIMEOUT_S)
    good.models.list()
    bad = openai.OpenAI(base_url=keyed_url, api_key="wrong", max_retries=0, timeout=TIMEOUT_S)
    refused(openai.AuthenticationError, lambda: bad.models.list())
    refused(
        openai.AuthenticationError,
        lambda: bad.chat.completions.create(model="demo", messages=QUESTION),
    )


async def check_concurrent_streams(base_url, whole):
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="none", max_retries=0, timeout=TIMEOUT_S
    ) as client:

        async def one():
            stream = await client.chat.completions.create(
                model="demo", messages=QUESTION, temperature=0, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        answers = await asyncio.gather(*[one() for _ in range(8)])
    assert all(answer == whole for answer in answers), (whole, answers)


def check_early_close(client):
    """The stream is left after its first words; openai_client.rs sees that nothing runs on."""
    stream = client.chat.completions.create(
        model="demo",
        messages=QUESTION,
        stream=True,
        max_tokens=100_000,
        extra_body={"ignore_eos": True},
    )
    for _, _chunk in zip(range(3), stream):
        pass
    stream.close()


def main():
    base_url, keyed_url, key = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=TIMEOUT_S)
    check_models(client)
    whole = check_chat(client)
    check_streaming(client, whole)
    check_streaming_helper(client, whole)
    check_logprobs(client, whole)
    check_choices(client)
    check_stop_and_length(client, whole)
    check_tools(client)
    check_structured(client)
    check_completions(client)
    check_embeddings(client)
    check_errors(client)
    check_key(keyed_url, key)
    asyncio.run(check_concurrent_streams(base_url, whole))
    check_early_close(client)
    print("all checks passed, openai", openai.__version__)


main()
