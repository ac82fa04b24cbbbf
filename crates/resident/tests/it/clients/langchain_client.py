"""Drives a hub with LangChain's packages for OpenAI, Ollama and Anthropic, for libraries.rs.

Argument: the base URL of a hub with the models `demo`, `minilm` and `stage/actor`. Every check is a function; the
first that fails ends the program.
"""

import asyncio
import json
import sys
from typing import Literal

import anthropic
import ollama
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from stage import ACTOR, MANY_LETTERS, QUESTION, TEXTS, TIMEOUT_S
from stage import call, check_vectors, play, refused, said


def of_openai(url, model, **options):
    return ChatOpenAI(
        base_url=url + "/v1",
        api_key="unused",
        model=model,
        temperature=0,
        use_responses_api=False,
        stream_usage=True,
        timeout=TIMEOUT_S,
        max_retries=0,
        **options,
    )


def of_ollama(url, model, **options):
    return ChatOllama(base_url=url, model=model, temperature=0, **options)


def of_anthropic(url, model, **options):
    options = {"max_tokens": 512, **options}
    return ChatAnthropic(
        base_url=url, api_key="unused", model=model, temperature=0, timeout=TIMEOUT_S, max_retries=0, **options
    )


MAKERS = [of_openai, of_ollama, of_anthropic]


@tool
def get_weather(city: str, days: int) -> str:
    """The weather of a city in some days."""
    return f"{city} in {days} days: {20 + days} degrees"


class Person(BaseModel):
    """Somebody."""

    name: Literal["Ada", "Alan", "Grace"]
    known: bool


def check_chat(model, whole):
    answer = model.invoke(QUESTION)
    assert isinstance(answer, AIMessage) and str(answer.text) == whole, (answer, whole)
    usage = answer.usage_metadata
    assert usage["input_tokens"] > 0 and usage["output_tokens"] > 0, answer
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"], answer
    ended = answer.response_metadata
    reason = ended.get("finish_reason") or ended.get("done_reason") or ended.get("stop_reason")
    assert reason in ["stop", "end_turn"], answer
    talk = [SystemMessage("Be brief."), HumanMessage("hi"), AIMessage("Hello."), HumanMessage(QUESTION)]
    assert str(model.invoke(talk).text).strip(), talk


def check_streaming(model, whole):
    chunks = list(model.stream(QUESTION))
    texts = [str(chunk.text) for chunk in chunks]
    assert "".join(texts) == whole and len([text for text in texts if text]) > 3, (texts, whole)
    summed = chunks[0]
    for chunk in chunks[1:]:
        summed += chunk
    assert summed.usage_metadata["output_tokens"] > 0, summed


async def check_at_once(model, whole):
    async def streamed():
        return "".join([str(chunk.text) async for chunk in model.astream(QUESTION)])

    asks = [streamed(), streamed(), streamed()]
    answers = await asyncio.gather(*asks, *[model.ainvoke(QUESTION) for _ in range(3)])
    assert all(str(getattr(answer, "text", answer)) == whole for answer in answers), answers


def check_letters(actor):
    asked = play({"say": MANY_LETTERS})
    assert str(actor.invoke(asked).text) == MANY_LETTERS
    assert "".join(str(chunk.text) for chunk in actor.stream(asked)) == MANY_LETTERS


def check_tools(actor):
    """Two calls at once, both answered, and the model hears both results."""
    cities = [{"city": "Paris", "days": 1}, {"city": "北京", "days": 2}]
    asked = HumanMessage(play(call(*[("get_weather", city) for city in cities]), {"say": "I heard: {heard}"}))
    actor = actor.bind_tools([get_weather])
    answer = actor.invoke([asked])
    summed = None
    for chunk in actor.stream([asked]):
        summed = chunk if summed is None else summed + chunk
    for message in [answer, summed]:
        assert [made["args"] for made in message.tool_calls] == cities, message
        assert {made["name"] for made in message.tool_calls} == {"get_weather"}, message
        assert len({made["id"] for made in message.tool_calls}) == 2, message
        results = [get_weather.invoke(made) for made in message.tool_calls]
        assert all(isinstance(result, ToolMessage) for result in results), results
        ended = actor.invoke([asked, message, *results])
        heard = "I heard: Paris in 1 days: 21 degrees, 北京 in 2 days: 22 degrees"
        assert str(ended.text) == heard and not ended.tool_calls, ended


def check_structured(demo, actor, methods):
    """The model is held to the schema, and what it says arrives as an object."""
    person = demo.with_structured_output(Person, method="json_schema").invoke(QUESTION)
    assert isinstance(person, Person), person
    ada = {"name": "Ada", "known": True}
    acts = {"json_schema": {"say": json.dumps(ada)}, "function_calling": call(("Person", ada))}
    for method in methods:
        got = actor.with_structured_output(Person, method=method).invoke(play(acts[method]))
        assert got == Person(**ada), (method, got)
    schema = Person.model_json_schema()
    asked = play({"tell": "/response_format/json_schema/schema"})
    heard = actor.with_structured_output(schema, method="json_schema", include_raw=True).invoke(asked)
    told = json.loads(str(heard["raw"].text))
    assert told["properties"]["known"]["type"] == "boolean", told
    assert sorted(told["required"]) == ["known", "name"], told


def check_demand(actor):
    """That a call is demanded arrives at the engine."""
    demanding = actor.bind_tools([get_weather], tool_choice="get_weather")
    told = json.loads(str(demanding.invoke(play({"tell": "/tool_choice"})).text))
    assert told == {"type": "function", "function": {"name": "get_weather"}}, told


def check_reasoning(url):
    asked = play({"think": "Let me see.", "say": "Yes."})
    thinks = of_ollama(url, ACTOR, reasoning=True).invoke(asked)
    assert thinks.additional_kwargs["reasoning_content"] == "Let me see.", thinks
    thinks = of_anthropic(url, ACTOR, max_tokens=4096).invoke(asked)
    kinds = [(block["type"], block.get("reasoning")) for block in thinks.content_blocks]
    assert kinds == [("reasoning", "Let me see."), ("text", None)] and str(thinks.text) == "Yes.", thinks
    assert str(of_openai(url, ACTOR).invoke(asked).text) == "Yes."


def check_completion(url):
    model = OpenAI(base_url=url + "/v1", api_key="unused", model="demo", temperature=0, max_tokens=8)
    whole = model.invoke("Resident")
    assert whole.strip() and "".join(model.stream("Resident")) == whole, whole


def check_embeddings(url):
    for model in [
        OpenAIEmbeddings(
            base_url=url + "/v1", api_key="unused", model="minilm", check_embedding_ctx_length=False
        ),
        OllamaEmbeddings(base_url=url, model="minilm"),
    ]:
        vectors = model.embed_documents(TEXTS)
        check_vectors(vectors)
        one = model.embed_query(TEXTS[0])
        assert max(abs(a - b) for a, b in zip(one, vectors[0], strict=True)) < 1e-3, one


def check_errors(url):
    for maker, kind in [
        (of_openai, openai.NotFoundError),
        (of_ollama, ollama.ResponseError),
        (of_anthropic, anthropic.NotFoundError),
    ]:
        for ask in [maker(url, "nobody").invoke, lambda asked: list(maker(url, "nobody").stream(asked))]:
            error = refused("nobody", lambda: ask(QUESTION))
            assert isinstance(error, kind), repr(error)


def main(url):
    whole = said(url, QUESTION)
    for maker in MAKERS:
        demo, actor = maker(url, "demo"), maker(url, ACTOR)
        check_chat(demo, whole)
        check_streaming(demo, whole)
        asyncio.run(check_at_once(demo, whole))
        check_letters(actor)
        check_tools(actor)
        check_structured(demo, actor, ["json_schema", "function_calling"])
        if maker is not of_ollama:
            # Ollama's dialect has no word for it.
            check_demand(actor)
        print(maker.__name__, "is content")
    check_reasoning(url)
    check_completion(url)
    check_embeddings(url)
    check_errors(url)
    print("langchain is content")


main(*sys.argv[1:])
