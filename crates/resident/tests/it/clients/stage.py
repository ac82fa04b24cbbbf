"""What the checks of libraries share: the questions, what the engine itself says to them, and plays.

The libraries are asked the same as a plain request is, so that what they hand over can be held against what the
engine said. `play.rs` says what a play is. Not here: any library.
"""

import json
import urllib.request

# The model that does what its user says.
ACTOR = "stage/actor"

TIMEOUT_S = 120

QUESTION = "What is Resident?"

# Letters of two, three and four bytes, of which pieces of an answer must cut none.
MANY_LETTERS = "Grüße, 常驻 — 🦀!"

TEXTS = ["The cat sleeps.", "A kitten is napping.", "Interest rates rose."]

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}

PERSON = {
    "title": "Person",
    "description": "Somebody",
    "type": "object",
    "properties": {
        # Nothing that goes on for ever, since some libraries take bounds out of a schema.
        "name": {"type": "string", "enum": ["Ada", "Alan", "Grace"]},
        "known": {"type": "boolean"},
    },
    "required": ["name", "known"],
    "additionalProperties": False,
}


def play(*acts):
    """What a user says to have these acts played, one in each turn."""
    return "PLAY " + json.dumps(acts)


def call(*calls):
    """An act that calls tools; each call is (name, arguments)."""
    return {"call": calls}


def said(url, question):
    """What the demo model says to a question, asked without any library."""
    asked = {"model": "demo", "temperature": 0, "messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request(
        url + "/v1/chat/completions", json.dumps(asked).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        text = json.load(answer)["choices"][0]["message"]["content"]
    assert len(text) > 20, text
    return text


def check_person(person):
    assert sorted(person) == ["known", "name"], person
    assert person["name"] in PERSON["properties"]["name"]["enum"] and isinstance(person["known"], bool), person


def check_vectors(vectors):
    """Whether these are the vectors of `TEXTS`: the first two mean nearly the same."""
    cosine = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))
    cat, kitten, rates = vectors
    assert len(cat) == 384 and abs(cosine(cat, cat) - 1) < 1e-3, cat
    assert cosine(cat, kitten) > cosine(cat, rates) + 0.2, vectors


def refused(word, ask):
    """The error that `ask` raises, which must say `word`."""
    try:
        answer = ask()
    except Exception as error:
        assert word in str(error), (word, repr(error))
        return error
    raise AssertionError(f"nothing was refused: {answer}")
