"""Pulls, makes, copies and deletes models with the official Ollama client, for library.rs.

Arguments: the base URL of a hub that pulls the model `brief` from a registry, the digest of its weights, and the path of
a GGUF file. Every check is a function; the first that fails ends the program.
"""

import sys

import ollama

TIMEOUT_S = 120

QUESTION = [{"role": "user", "content": "What is Resident?"}]


def check_pull(client, digest):
    steps = list(client.pull("brief", stream=True))
    said = [step.status for step in steps]
    assert said[0] == "pulling manifest" and said[-1] == "success", said
    layers = [step for step in steps if step.digest == digest]
    assert layers and layers[-1].completed == layers[-1].total > 0, steps
    assert layers[0].status == "pulling " + digest.removeprefix("sha256:")[:12], layers[0]
    assert client.pull("brief").status == "success", "what is here is here"


def check_unknown(client):
    assert refused(lambda: client.pull("nobody/nothing")).error
    for ask in (
        lambda: client.show("nobody/nothing"),
        lambda: client.delete("nobody/nothing"),
        lambda: client.copy("nobody/nothing", "x"),
    ):
        error = refused(ask)
        assert error.status_code == 404 and "model 'nobody/nothing' not found" in error.error, error


def refused(ask):
    try:
        ask()
    except ollama.ResponseError as error:
        return error
    raise AssertionError("nothing is there")


def check_list(client, digest):
    model = next(model for model in client.list().models if model.model == "brief:latest")
    assert model.digest == digest.removeprefix("sha256:"), model
    assert model.size > 0 and model.details.format == "gguf", model


def check_show(client):
    shown = client.show("brief")
    assert shown.license == "A licence.", shown.license
    assert "num_predict" in shown.parameters and "SYSTEM" in shown.modelfile, shown


def check_create(client):
    steps = [
        step.status
        for step in client.create(
            model="tiny",
            from_="brief",
            system="You say little.",
            parameters={"num_predict": 2, "temperature": 0},
            stream=True,
        )
    ]
    assert steps[-1] == "success", steps
    answer = client.chat("tiny", messages=QUESTION)
    assert answer.done_reason == "length" and answer.eval_count == 2, answer
    longer = client.chat("tiny", messages=QUESTION, options={"num_predict": 5})
    assert longer.eval_count == 5, longer
    first = longer.message.content.split()[0]
    client.create(model="mute", from_="tiny", parameters={"stop": [first], "num_predict": 5})
    assert client.chat("mute", messages=QUESTION).message.content.strip() == "", first


def check_blobs(client, path):
    digest = client.create_blob(path)
    assert client.create(model="sent", files={"sent.gguf": digest}).status == "success"
    assert client.chat("sent", messages=QUESTION, options={"num_predict": 3}).eval_count == 3


def check_copy_and_delete(client):
    assert client.copy("tiny", "me/tiny:copy").status == "success"
    assert client.chat("me/tiny:copy", messages=QUESTION).eval_count == 2
    for name in ("tiny", "me/tiny:copy", "mute", "sent"):
        assert client.delete(name).status == "success", name
    names = [model.model for model in client.list().models]
    assert names == ["brief:latest"], names


def main():
    client = ollama.Client(host=sys.argv[1], timeout=TIMEOUT_S)
    digest, path = sys.argv[2], sys.argv[3]
    check_pull(client, digest)
    check_unknown(client)
    check_list(client, digest)
    check_show(client)
    check_create(client)
    check_blobs(client, path)
    check_copy_and_delete(client)


main()
