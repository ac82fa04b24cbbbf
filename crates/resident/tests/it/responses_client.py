"""Asks a hub for OpenAI's responses with the official client, for responses_client.rs.

Argument: the base URL of a hub with the model `demo`. Every check is a function; the first that fails ends
the program.
"""

import json
import sys
from typing import Literal

import openai
import pydantic

TIMEOUT_S = 120
QUESTION = "What is Resident?"

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city"}},
        "required": ["city"],
    },
}


def refused(kind, call):
    try:
        call()
    except kind as error:
        assert error.body and error.body["message"], error
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_whole(client):
    """What is said to a chat is said here, with instructions and without."""
    messages = [{"role": "user", "content": QUESTION}]
    chat = client.chat.completions.create(model="demo", messages=messages, temperature=0)
    whole = chat.choices[0].message.content
    answer = client.responses.create(model="demo", input=QUESTION, temperature=0)
    assert answer.output_text == whole, (answer, whole)
    assert answer.id.startswith("resp_") and answer.status == "completed", answer
    assert answer.object == "response" and answer.model == "demo", answer
    assert [item.type for item in answer.output] == ["message"], answer
    assert answer.usage.input_tokens == chat.usage.prompt_tokens, answer.usage
    assert answer.usage.output_tokens == chat.usage.completion_tokens, answer.usage
    again = client.responses.create(
        model="demo",
        instructions="You are brief.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}],
        temperature=0,
        max_output_tokens=12,
    )
    messages = [{"role": "system", "content": "You are brief."}, *messages]
    chat = client.chat.completions.create(
        model="demo", messages=messages, temperature=0, max_tokens=12
    )
    assert again.output_text == chat.choices[0].message.content, (again, chat)
    return whole


def check_stream(client, whole):
    events = list(client.responses.create(model="demo", input=QUESTION, temperature=0, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 3 and "".join(deltas) == whole, deltas
    before = ["created", "in_progress", "output_item.added", "content_part.added"]
    after = ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert kinds == before + ["output_text.delta"] * len(deltas) + after, kinds
    last = events[-1].response
    assert last.output_text == whole and last.status == "completed", last
    assert last.id == events[0].response.id and events[0].response.output == []
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {last.output[0].id}
    assert client.responses.retrieve(last.id).output_text == whole
    with client.responses.stream(model="demo", input=QUESTION, temperature=0) as stream:
        seen = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.output_text == whole == seen[-1], (final, seen)


def check_length(client):
    answer = client.responses.create(
        model="demo", input=QUESTION, temperature=0, max_output_tokens=2
    )
    assert answer.status == "incomplete", answer
    assert answer.incomplete_details.reason == "max_output_tokens", answer
    assert answer.usage.output_tokens == 2 and answer.output[0].status == "incomplete", answer


def check_logprobs(client, whole):
    answer = client.responses.create(
        model="demo",
        input=QUESTION,
        temperature=0,
        include=["message.output_text.logprobs"],
        top_logprobs=3,
    )
    tokens = answer.output[0].content[0].logprobs
    said = b"".join(bytes(token.bytes) for token in tokens).decode()
    assert said.startswith(whole), (said, whole)
    assert all(len(token.top_logprobs) == 3 for token in tokens), tokens


def check_tools(client):
    """A result is told with the whole conversation, or with the answer that asked for it."""
    asked = {"model": "demo", "tools": [WEATHER], "temperature": 0}
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = client.responses.create(**asked, input=question)
    call = answer.output[-1]
    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed"), call
    assert "city" in json.loads(call.arguments), call

    with client.responses.stream(**asked, input=question) as stream:
        events = list(stream)
    deltas = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert deltas[-1].snapshot == call.arguments, deltas
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [event.arguments for event in done] == [call.arguments], done

    result = {"type": "function_call_output", "call_id": call.call_id, "output": '{"temperature": 21}'}
    asked["max_output_tokens"] = 40
    whole = [*question, *answer.output, result]
    by_hand = client.responses.create(**asked, input=whole)
    by_id = client.responses.create(**asked, input=[result], previous_response_id=answer.id)
    by_reference = client.responses.create(
        **asked,
        input=[*question, *[{"type": "item_reference", "id": item.id} for item in answer.output], result],
    )
    assert by_hand.output_text.strip(), by_hand
    assert by_hand.output_text == by_id.output_text == by_reference.output_text, (by_hand, by_id)
    assert by_hand.usage.input_tokens == by_id.usage.input_tokens, (by_hand.usage, by_id.usage)
    assert by_id.previous_response_id == answer.id
    error = refused(openai.BadRequestError, lambda: client.responses.create(**asked, input=[result]))
    assert error.param == "input[0].call_id", error


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    age: int = pydantic.Field(ge=0, le=150)
    kind: Literal["friend", "stranger"]


def check_structured(client):
    answer = client.responses.parse(
        model="demo", input=QUESTION, text_format=Person, temperature=1.2, max_output_tokens=1500
    )
    assert isinstance(answer.output_parsed, Person), answer
    with client.responses.stream(
        model="demo", input=QUESTION, text_format=Person, temperature=1.2, max_output_tokens=1500
    ) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Person)


def check_kept(client, whole):
    first = client.responses.create(
        model="demo", input=QUESTION, temperature=0, metadata={"a": "b"}
    )
    second = client.responses.create(
        model="demo", input="And why?", temperature=0, max_output_tokens=20, previous_response_id=first.id
    )
    kept = client.responses.retrieve(first.id)
    assert (kept.output_text, kept.metadata) == (whole, {"a": "b"}), kept
    items = list(client.responses.input_items.list(second.id, order="asc", limit=1))
    said = [(item.role, item.content[0].text) for item in items]
    assert said == [("user", QUESTION), ("assistant", whole), ("user", "And why?")], said
    count = client.responses.input_tokens.count(
        model="demo", input="And why?", previous_response_id=first.id
    )
    assert count.input_tokens == second.usage.input_tokens, (count, second.usage)
    client.responses.delete(first.id)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(first.id))
    refused(openai.NotFoundError, lambda: client.responses.delete(first.id))
    error = refused(
        openai.BadRequestError,
        lambda: client.responses.create(model="demo", input="x", previous_response_id=first.id),
    )
    assert error.code == "previous_response_not_found", error
    # What goes on from it has its own copy.
    third = client.responses.create(
        model="demo", input="And how?", max_output_tokens=4, previous_response_id=second.id
    )
    assert third.usage.input_tokens > second.usage.input_tokens, third.usage
    unkept = client.responses.create(model="demo", input="x", max_output_tokens=4, store=False)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(unkept.id))


def check_errors(client):
    create = client.responses.create
    error = refused(openai.NotFoundError, lambda: create(model="nobody", input="x"))
    assert error.code == "model_not_found", error
    error = refused(openai.BadRequestError, lambda: create(model="demo", input="x", temperature=99))
    assert error.param == "temperature", error
    for stream in (False, True):
        long = lambda: create(model="demo", input="word " * 200_000, stream=stream)
        assert refused(openai.BadRequestError, long).code == "context_length_exceeded"
    error = refused(
        openai.BadRequestError, lambda: create(model="demo", input="x", background=True)
    )
    assert error.param == "background", error


def main():
    (base_url,) = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=TIMEOUT_S)
    whole = check_whole(client)
    check_stream(client, whole)
    check_length(client)
    check_logprobs(client, whole)
    check_tools(client)
    check_structured(client)
    check_kept(client, whole)
    check_errors(client)
    print("all checks passed, openai", openai.__version__)


main()
