"""What schemathesis is told of the hub that it looks at.

Names of models are nothing that a document could say, so most requests get one that is here; the others keep what was
drawn. Texts are kept short where they were not drawn to be wrong, since each token takes its time.
"""

import json
import zlib

import schemathesis

# Which model or tool answers an operation.
EMBEDS = {"/v1/embeddings", "/api/embed", "/api/embeddings"}
TOOLS = {"/v1/audio/speech": "parrot", "/v1/audio/transcriptions": "ear", "/v1/images/generations": "hand"}

# Where the length of an answer is said.
TOKENS_MAX = 4
LENGTHS = {
    "/v1/chat/completions": "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/messages": "max_tokens",
    "/infill": "n_predict",
}

# Refused always, or by these models: they have no tokens for it, and no conversation of more than a few words fits.
NEVER_ANSWERED = {"POST /v1/moderations", "POST /infill"}


def known(path):
    """The name of who answers an operation of this path."""
    if path in TOOLS:
        return TOOLS[path]
    return "minilm" if path in EMBEDS else "stories"


def is_kept(case):
    """Whether a request keeps the names that were drawn for it: one of four does, always the same ones."""
    drawn = repr((case.method, case.path, case.body, case.query, case.path_parameters))
    return zlib.crc32(drawn.encode("utf-8", "backslashreplace")) % 4 == 0


@schemathesis.hook
def before_call(ctx, case, kwargs):
    path = case.operation.path
    if path == "/resident/v1/reload" and case.method == "POST":
        case.headers["Content-Type"] = "application/json"
    if is_kept(case):
        return
    if path == "/v1/models/{id}":
        case.path_parameters["id"] = "stories"
    if path == "/api/tools/{name}":
        case.path_parameters["name"] = "copy"
        case.query = {}
    if path == "/resident/v1/explain" and case.query and "model" in case.query:
        case.query["model"] = "stories"
    if isinstance(case.body, dict):
        shorten(path, case.body)


def shorten(path, body):
    for key in ("model", "name"):
        if isinstance(body.get(key), str):
            body[key] = known(path)
    if path in LENGTHS and isinstance(body.get(LENGTHS[path], 0), int):
        body[LENGTHS[path]] = TOKENS_MAX
    if path in ("/api/chat", "/api/generate") and isinstance(body.get("options", {}), dict):
        body["options"] = {**body.get("options", {}), "num_predict": TOKENS_MAX}


@schemathesis.check
class EverythingIsAnswered:
    """What is never answered well says nothing about answers."""

    def __init__(self):
        self.asked = set()
        self.answered = set()

    def after_response(self, ctx, response, case):
        self.asked.add(case.operation.label)
        if response.status_code == 200:
            self.answered.add(case.operation.label)

    def after_run(self, ctx):
        never = self.asked - self.answered - NEVER_ANSWERED
        if never:
            raise AssertionError("never answered well: " + ", ".join(sorted(never)))
