"""Drives a hub with the official Ollama client, for ollama_client.rs.

Argument: the base URL of a hub with the models `demo` and `minilm`. Every check is a function; the first that fails
ends the program.
"""

import asyncio
import json
import sys

import ollama

TIMEOUT_S = 120

QUESTION = [{"role": "user", "content": "What is Resident?"}]
GREEDY = {"temperature": 0}


def check_chat(client):
    answer = client.chat("demo", messages=QUESTION, options=GREEDY)
    assert answer.message.role == "assistant" and answer.message.content.strip(), answer
    assert answer.done and answer.done_reason == "stop" and answer.model == "demo", answer
    assert answer.prompt_eval_count > 0 and answer.eval_count > 0, answer
    parts = answer.prompt_eval_duration + answer.eval_duration
    assert answer.total_duration >= parts > 0, answer
    return answer.message.content


def check_streaming(client, whole):
    parts = list(client.chat("demo:latest", messages=QUESTION, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == whole, (parts, whole)
    assert len(parts) > 3 and [part.done for part in parts].index(True) == len(parts) - 1, parts
    assert parts[-1].eval_count > 0, parts[-1]


def check_options(client):
    answer = client.chat("demo", messages=QUESTION, options={**GREEDY, "num_predict": 3})
    assert answer.done_reason == "length" and answer.eval_count == 3, answer
    whole = client.generate("demo", "Once", raw=True, options={**GREEDY, "num_predict": 8})
    assert whole.response and whole.eval_count <= 8, whole
    stop = whole.response.split()[-1]
    cut = client.generate("demo", "Once", raw=True, options={**GREEDY, "num_predict": 8, "stop": [stop]})
    assert stop not in cut.response and whole.response.startswith(cut.response), (whole, cut)


def check_generate(client):
    pieces = list(client.generate("demo", QUESTION[0]["content"], options=GREEDY, stream=True))
    chat = client.chat("demo", messages=QUESTION, options=GREEDY)
    assert "".join(piece.response for piece in pieces) == chat.message.content, pieces


def check_logprobs(client):
    options = {**GREEDY, "num_predict": 2}
    answer = client.generate("demo", "Once", raw=True, options=options, logprobs=True, top_logprobs=2)
    assert len(answer.logprobs) == 2, answer
    for token in answer.logprobs:
        assert token.logprob <= 0 and len(token.top_logprobs) == 2, token


def check_lists(client):
    rows = {model.model: model for model in client.list().models}
    assert set(rows) == {"demo:latest", "minilm:latest"}, rows
    demo = rows["demo:latest"]
    assert demo.size > 0 and len(demo.digest) == 64 and demo.modified_at.year > 2000, demo
    assert demo.details.format == "gguf" and demo.details.parameter_size, demo
    shown = client.show("demo")
    length = shown.modelinfo[shown.modelinfo["general.architecture"] + ".context_length"]
    assert length > 0 and "completion" in shown.capabilities and shown.template, shown
    assert client.show("minilm").capabilities == ["embedding"]
    client.generate("demo", keep_alive="1h")
    loaded = {model.model: model for model in client.ps().models}["demo:latest"]
    assert loaded.digest == demo.digest and loaded.size > 0, loaded
    assert loaded.context_length == length and loaded.expires_at is not None, loaded


def check_embeddings(client):
    texts = ["The cat sleeps.", "A kitten is napping.", "Interest rates rose."]
    answer = client.embed("minilm", texts)
    cat, kitten, rates = answer.embeddings
    cosine = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))
    assert len(cat) == 384 and abs(cosine(cat, cat) - 1) < 1e-4, answer
    assert cosine(cat, kitten) > cosine(cat, rates) + 0.2, answer
    assert answer.prompt_eval_count > 0 and answer.total_duration > 0, answer
    older = client.embeddings("minilm", texts[0]).embedding
    assert cosine(older, cat) > 0.999, older
    assert len(client.embed("minilm", texts[0], dimensions=64).embeddings[0]) == 64
    long = "cat " * 5000
    assert len(client.embed("minilm", long).embeddings[0]) == 384, "it is cut"
    try:
        client.embed("minilm", long, truncate=False)
    except ollama.ResponseError as error:
        assert error.status_code == 400 and "tokens" in error.error, error
    else:
        raise AssertionError("a long text was not refused")


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def check_person(text):
    person = json.loads(text)
    assert sorted(person) == ["age", "name"], person
    assert len(person["name"]) <= 20 and 0 <= person["age"] <= 150, person


def check_structured(client):
    options = {"temperature": 1.2, "num_predict": 1500}
    answer = client.chat("demo", messages=QUESTION, options=options, format=PERSON)
    assert answer.done_reason == "stop", answer
    check_person(answer.message.content)
    parts = client.generate("demo", "Who?", options=options, format=PERSON, stream=True)
    check_person("".join(part.response for part in parts))
    answer = client.chat("demo", messages=QUESTION, options=options, format="json")
    assert answer.message.content.startswith("{"), answer


def check_loading(client):
    assert client.generate("demo", keep_alive=60).done_reason == "load"
    assert client.chat("demo", messages=[], keep_alive=0).done_reason == "unload"
    assert client.embed("minilm", "", keep_alive=0).embeddings == []


def check_errors(client):
    for ask, status, word in [
        (lambda: client.chat("nobody", messages=QUESTION), 404, "model 'nobody' not found"),
        (lambda: client.chat("demo", messages=QUESTION, format={"not": {}}), 400, "format"),
        (lambda: client.chat("demo", messages=QUESTION, options={"top_p": 2.0}), 400, "options.top_p"),
        (lambda: list(client.generate("nobody", "x", stream=True)), 404, "not found"),
    ]:
        try:
            ask()
        except ollama.ResponseError as error:
            assert error.status_code == status and word in error.error, error
        else:
            raise AssertionError(f"{word} was not refused")


async def check_at_once(url, whole):
    client = ollama.AsyncClient(host=url, timeout=TIMEOUT_S)
    asks = [client.chat("demo", messages=QUESTION, options=GREEDY) for _ in range(4)]
    for answer in await asyncio.gather(*asks):
        assert answer.message.content == whole, answer


def main(url):
    client = ollama.Client(host=url, timeout=TIMEOUT_S)
    whole = check_chat(client)
    check_streaming(client, whole)
    check_options(client)
    check_generate(client)
    check_logprobs(client)
    check_structured(client)
    check_errors(client)
    check_lists(client)
    check_embeddings(client)
    asyncio.run(check_at_once(url, whole))
    check_loading(client)
    print("ollama", "content")


main(*sys.argv[1:])
