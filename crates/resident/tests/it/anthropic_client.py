"""Drives a hub with the official Anthropic client, for anthropic_client.rs.

Argument: the base URL of a hub with the model `demo`. Every check is a function; the first that fails
ends the program.
"""

import asyncio
import json
import sys

import anthropic

TIMEOUT_S = 120

QUESTION = [{"role": "user", "content": "What is Resident?"}]
# The client has no word for how tokens are chosen any more.
GREEDY = {"model": "demo", "max_tokens": 512, "extra_body": {"temperature": 0}}

WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city"}},
        "required": ["city"],
    },
}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def prompt_tokens(usage):
    return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens


def check_message(client):
    answer = client.messages.create(messages=QUESTION, **GREEDY)
    assert answer.type == "message" and answer.role == "assistant", answer
    assert answer.model == "demo" and answer.id.startswith("msg_"), answer
    assert text_of(answer).strip() and answer.stop_reason == "end_turn", answer
    assert answer.stop_sequence is None, answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer
    return text_of(answer)


def check_streaming(client, whole):
    with client.messages.stream(messages=QUESTION, **GREEDY) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3 and "".join(pieces) == whole == text_of(final), (pieces, whole, final)
    assert final.stop_reason == "end_turn" and final.usage.output_tokens > 0, final
    events = list(client.messages.create(messages=QUESTION, stream=True, **GREEDY))
    names = [event.type for event in events]
    assert names[:2] == ["message_start", "content_block_start"], names
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"], names
    begun, ended = events[0].message.usage, events[-2].usage
    assert prompt_tokens(begun) == prompt_tokens(ended) == prompt_tokens(final.usage), events


def check_options(client, whole):
    cut = client.messages.create(messages=QUESTION, **{**GREEDY, "max_tokens": 3})
    assert cut.stop_reason == "max_tokens" and cut.usage.output_tokens == 3, cut
    assert whole.startswith(text_of(cut)), (whole, cut)
    stop = whole.split()[2]
    cut = client.messages.create(messages=QUESTION, stop_sequences=[stop], **GREEDY)
    assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == stop, cut
    assert text_of(cut) == whole[: whole.index(stop)], (whole, cut)
    client.messages.create(
        messages=QUESTION,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        metadata={"user_id": "someone"},
        service_tier="standard_only",
        thinking={"type": "disabled"},
        **{**GREEDY, "extra_body": {"temperature": 0, "top_k": 5}},
    )


def check_counting(client):
    said = {"model": "demo", "system": "You are brief.", "messages": QUESTION}
    counted = client.messages.count_tokens(**said).input_tokens
    for _ in range(2):
        answer = client.messages.create(**said, max_tokens=1)
        assert prompt_tokens(answer.usage) == counted, (answer, counted)
    assert answer.usage.cache_read_input_tokens > 0, answer
    longer = client.messages.count_tokens(**{**said, "system": "You are brief. " * 2000})
    assert longer.input_tokens > 2000, longer


def check_tools(client):
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    web = {"type": "web_search_20250305", "name": "web_search"}
    answer = client.messages.create(messages=question, tools=[WEATHER, web], **GREEDY)
    assert answer.stop_reason == "tool_use", answer
    call = answer.content[-1]
    assert call.type == "tool_use" and call.id.startswith("toolu_"), answer
    assert call.name == "get_weather" and "city" in call.input, answer
    with client.messages.stream(messages=question, tools=[WEATHER], **GREEDY) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use" and final.content[-1].input == call.input, (final, answer)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": '{"temperature": 21}'}
    answer = client.messages.create(
        messages=[
            *question,
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": [result]},
        ],
        tools=[WEATHER],
        **GREEDY,
    )
    assert text_of(answer).strip(), answer


def check_structured(client):
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 150}},
        "required": ["age"],
        "additionalProperties": False,
    }
    held = {"format": {"type": "json_schema", "schema": schema}}
    answer = client.messages.create(messages=QUESTION, output_config=held, **GREEDY)
    assert 0 <= json.loads(text_of(answer))["age"] <= 150, answer
    assert answer.stop_reason == "end_turn", answer


def check_thoughts(client):
    """What was thought elsewhere is taken back, and neighbours of one role are one turn."""
    thought = {"type": "thinking", "thinking": "Let me see.", "signature": "of somebody else"}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [thought, {"type": "redacted_thinking", "data": "x"}]},
        {"role": "assistant", "content": "Hello."},
        *QUESTION,
    ]
    assert text_of(client.messages.create(messages=messages, **GREEDY)).strip(), messages


def check_errors(client):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    for change, error_type, word in [
        ({"model": "nobody"}, anthropic.NotFoundError, "nobody"),
        ({"messages": [{"role": "user", "content": [image]}]}, anthropic.BadRequestError, "picture"),
        ({"messages": []}, anthropic.BadRequestError, "messages"),
        ({"tool_choice": {"type": "tool", "name": "nobody"}, "tools": [WEATHER]}, anthropic.BadRequestError, "tool_choice"),
        ({"system": "word " * 40000}, anthropic.BadRequestError, "prompt is too long"),
    ]:
        for stream in [False, True]:
            try:
                answer = client.messages.create(**{**GREEDY, "messages": QUESTION, "stream": stream, **change})
            except error_type as error:
                assert error.body["type"] == "error" and word in error.body["error"]["message"], error
                assert error.request_id == error.body["request_id"], error
            else:
                raise AssertionError(f"{change} was not refused: {answer}")


async def check_at_once(url, whole):
    client = anthropic.AsyncAnthropic(base_url=url, api_key="unused", timeout=TIMEOUT_S, max_retries=0)
    asks = [client.messages.create(messages=QUESTION, **GREEDY) for _ in range(4)]
    for answer in await asyncio.gather(*asks):
        assert text_of(answer) == whole, answer


def main(url):
    client = anthropic.Anthropic(base_url=url, api_key="unused", timeout=TIMEOUT_S, max_retries=0)
    whole = check_message(client)
    check_streaming(client, whole)
    check_options(client, whole)
    check_counting(client)
    check_tools(client)
    check_structured(client)
    check_thoughts(client)
    check_errors(client)
    asyncio.run(check_at_once(url, whole))
    print("anthropic", "content")


main(*sys.argv[1:])
