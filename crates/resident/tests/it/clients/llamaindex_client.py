"""Drives a hub with LlamaIndex's packages for servers like OpenAI's and for Ollama, for libraries.rs.

Argument: the base URL of a hub with the models `demo`, `minilm` and `stage/actor`. Every check is a function; the
first that fails ends the program.
"""

import asyncio
import json
import sys
from typing import Literal

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from stage import ACTOR, MANY_LETTERS, QUESTION, TEXTS, TIMEOUT_S
from stage import call, check_vectors, play, refused, said


def of_openai(url, model, **options):
    return OpenAILike(
        model=model,
        api_base=url + "/v1",
        api_key="unused",
        context_window=8192,
        is_chat_model=True,
        is_function_calling_model=True,
        temperature=0,
        timeout=TIMEOUT_S,
        max_retries=0,
        **options,
    )


def of_ollama(url, model, **options):
    return Ollama(
        model=model, base_url=url, temperature=0, context_window=8192, request_timeout=TIMEOUT_S, **options
    )


MAKERS = [of_openai, of_ollama]


class Person(BaseModel):
    """Somebody."""

    name: Literal["Ada", "Alan", "Grace"]
    known: bool


ADA = {"name": "Ada", "known": True}


def get_weather(city: str, days: int) -> str:
    """The weather of a city in some days."""
    return f"{city} in {days} days: {20 + days} degrees"


def ask(text):
    return [ChatMessage(role="user", content=text)]


def check_chat(model, whole):
    assert model.chat(ask(QUESTION)).message.content == whole
    assert model.complete(QUESTION).text == whole
    talk = [ChatMessage(role="system", content="Be brief."), *ask("hi")]
    talk += [ChatMessage(role="assistant", content="Hello."), *ask(QUESTION)]
    assert model.chat(talk).message.content.strip()


def check_streaming(model, actor, whole):
    parts = list(model.stream_chat(ask(QUESTION)))
    assert "".join(part.delta or "" for part in parts) == whole == parts[-1].message.content, parts
    assert len(parts) > 3, parts
    assert "".join(part.delta or "" for part in model.stream_complete(QUESTION)) == whole
    asked = play({"say": MANY_LETTERS})
    assert "".join(part.delta or "" for part in actor.stream_chat(ask(asked))) == MANY_LETTERS


async def check_at_once(model, whole):
    answers = await asyncio.gather(*[model.achat(ask(QUESTION)) for _ in range(4)])
    assert all(answer.message.content == whole for answer in answers), answers


def check_tools(actor):
    tool = FunctionTool.from_defaults(get_weather)
    asked = play(call(("get_weather", {"city": "Paris", "days": 1})), {"say": "I heard: {heard}"})
    answer = actor.chat_with_tools([tool], user_msg=asked)
    (made,) = actor.get_tool_calls_from_response(answer)
    assert (made.tool_name, made.tool_kwargs) == ("get_weather", {"city": "Paris", "days": 1}), answer
    result = ChatMessage(
        role="tool", content=get_weather(**made.tool_kwargs), additional_kwargs={"tool_call_id": made.tool_id}
    )
    ended = actor.chat_with_tools([tool], chat_history=[*ask(asked), answer.message, result])
    assert ended.message.content == "I heard: Paris in 1 days: 21 degrees", ended


async def check_agent(actor):
    """Its own loop: it streams, calls the function, and gives the result back."""
    agent = FunctionAgent(tools=[get_weather], llm=actor, system_prompt="Be of help.")
    cities = [("get_weather", {"city": city, "days": 2}) for city in ["Paris", "北京"]]
    answer = await agent.run(user_msg=play(call(*cities), {"say": "I heard: {heard}"}))
    heard = "I heard: Paris in 2 days: 22 degrees, 北京 in 2 days: 22 degrees"
    assert str(answer) == heard and len(answer.tool_calls) == 2, answer


def check_structured(actor, act):
    got = actor.as_structured_llm(Person).complete(play(act)).raw
    assert got == Person(**ADA), got


def check_embeddings(url):
    for model in [
        OpenAILikeEmbedding(model_name="minilm", api_base=url + "/v1", api_key="unused"),
        OllamaEmbedding(model_name="minilm", base_url=url),
    ]:
        check_vectors(model.get_text_embedding_batch(TEXTS))
        check_vectors([model.get_query_embedding(text) for text in TEXTS])


def main(url):
    whole = said(url, QUESTION)
    for maker in MAKERS:
        demo, actor = maker(url, "demo"), maker(url, ACTOR)
        check_chat(demo, whole)
        check_streaming(demo, actor, whole)
        asyncio.run(check_at_once(demo, whole))
        check_tools(actor)
        asyncio.run(check_agent(actor))
        # Of servers like OpenAI's it demands a call of a tool that stands for the class.
        check_structured(actor, {"say": json.dumps(ADA)} if maker is of_ollama else call(("Person", ADA)))
        refused("nobody", lambda: maker(url, "nobody").chat(ask(QUESTION)))
        print(maker.__name__, "is content")
    check_embeddings(url)
    print("llama-index is content")


main(*sys.argv[1:])
