"""What schemathesis is told of the hub that it looks at, and what it looks for beside its own checks.

Names of models are nothing that a document could say, so three of four requests get one that is here; the others keep
what was drawn. Answers are kept short, since each token takes its time.
"""

import json
import os
import zlib

import jsonschema
import schemathesis

# Who answers an operation; stories where nothing else is said.
ANSWERS = {
    "/v1/audio/speech": "parrot",
    "/v1/audio/transcriptions": "ear",
    "/v1/images/generations": "hand",
    "/v1/embeddings": "minilm",
    "/api/embed": "minilm",
    "/api/embeddings": "minilm",
    "/v1/chat/completions": "demo",
    "/v1/responses": "demo",
    "/v1/responses/input_tokens": "demo",
    "/infill": "code",
    "/v1/rerank": "ranks",
    "/rerank": "ranks",
    "/v1/reranking": "ranks",
    "/reranking": "ranks",
    "/v2/rerank": "ranks",
    "/v1/messages": "demo",
    "/v1/messages/count_tokens": "demo",
    "/api/chat": "demo",
}

# Where the length of an answer is said, and how long it may be.
LENGTHS = {
    "/v1/chat/completions": "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/messages": "max_tokens",
    "/v1/responses": "max_output_tokens",
    "/infill": "n_predict",
}
TOKENS_MAX = 4

# What streams only when it is asked to; one of three requests asks.
STREAMS = {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/infill"}

# What is streamed line by line.
LINES = "application/x-ndjson"

# What is refused always, or because no file or pull has the name that was drawn, or because this hub is offline.
NEVER_ANSWERED = {
    "POST /v1/moderations",
    "POST /v1/vector_stores",
    "DELETE /v1/vector_stores/{id}",
    "POST /api/pull",
    "POST /api/push",
    "DELETE /api/delete",
    "POST /api/blobs/{digest}",
    "POST /resident/v1/pulls",
    "GET /resident/v1/pulls/{id}",
    "POST /resident/v1/pulls/{id}/{change}",
}

# Answers that are kept: one to look at, and one to throw away, which is there once.
KEPT = os.environ["DESCRIBED_KEPT"]
THROWN_AWAY = os.environ["DESCRIBED_THROWN_AWAY"]

# A folder that the hub may read.
FILES = os.environ["DESCRIBED_FILES"]


@schemathesis.hook
def before_call(ctx, case, kwargs):
    path = case.operation.path
    if isinstance(case.body, dict):
        shorten(path, case.body)
    if path == "/resident/v1/reload" or path.startswith(("/resident/v1/pulls/", "/api/knowledge/{name}")):
        case.headers["Content-Type"] = "application/json"
    drawn = lot(case)
    if drawn % 4 != 0:
        name(path, case)
    if drawn % 3 == 0 and path in STREAMS and isinstance(case.body, dict):
        case.body["stream"] = True


def shorten(path, body):
    """Bounds an answer, unless its length was drawn to be wrong."""
    if path in ("/api/chat", "/api/generate"):
        if isinstance(body.setdefault("options", {}), dict):
            bound(body["options"], "num_predict")
    elif path in LENGTHS:
        bound(body, LENGTHS[path])
        body.pop("max_completion_tokens", None)


def bound(fields, key):
    length = fields.get(key, -1)
    if length is None or (isinstance(length, int) and (length == -1 or length > TOKENS_MAX)):
        fields[key] = TOKENS_MAX


def lot(case):
    """A number that is drawn for a request: always the same one for the same request."""
    drawn = repr((case.method, case.path, case.body, case.query, case.path_parameters))
    return zlib.crc32(drawn.encode("utf-8", "backslashreplace"))


def name(path, case):
    """Puts the name of who answers where names were drawn."""
    if path == "/v1/models/{id}":
        case.path_parameters["id"] = "stories"
    elif path == "/v1/responses" and lot(case) % 5 == 0:
        # Of its many fields some go ill together, and what was drawn may have none that go well.
        case.body = {"model": "demo", "input": "Hi", "max_output_tokens": TOKENS_MAX}
    elif path.startswith("/v1/responses/{id}"):
        case.path_parameters["id"] = THROWN_AWAY if case.method == "DELETE" else KEPT
    elif path == "/api/knowledge" and isinstance(case.body, dict):
        case.body = {"collection": "described", "paths": [FILES]}
    elif path == "/api/knowledge/search" and isinstance(case.body, dict):
        case.body["collections"] = ["described"]
    elif path == "/api/knowledge/read" and isinstance(case.body, dict):
        case.body = {"path": os.path.join(os.path.realpath(FILES), "a.md"), "collection": "described"}
    elif path == "/api/knowledge/{name}/forget" and isinstance(case.body, dict):
        case.path_parameters["name"] = "described"
        case.body = {"paths": []}
    elif path.startswith("/v1/vector_stores/{id}"):
        case.path_parameters["id"] = "described"
    elif path.startswith("/api/knowledge/{name}"):
        case.path_parameters["name"] = "thrown-away" if case.method == "DELETE" else "described"
    elif path == "/api/tools/{name}":
        case.path_parameters["name"] = "copy"
        case.query = {}
    elif path == "/resident/v1/explain" and case.query and "model" in case.query:
        case.query["model"] = "stories"
    elif path == "/api/copy" and isinstance(case.body, dict):
        case.body.update(source="stories", destination="copied")
    elif path == "/api/create" and isinstance(case.body, dict):
        # Files that were never sent are none.
        case.body = {**case.body, "model": "made", "from": "stories", "files": None, "adapters": None, "draft_files": None}
    elif isinstance(case.body, dict):
        # Nor is there a collection of a name that was drawn.
        case.body.pop("knowledge", None)
        for key in {"model", "name"} & case.body.keys():
            if isinstance(case.body[key], str):
                case.body[key] = ANSWERS.get(path, "stories")


@schemathesis.check
def lines_are_described(ctx, response, case):
    """Each line of a stream of them is what the document says; events are looked at by schemathesis itself."""
    kind = response.headers.get("content-type", [""])[0]
    if response.status_code != 200 or kind != LINES:
        return
    document = case.operation.schema.raw_schema
    operation = document["paths"][case.operation.path][case.method.lower()]
    schema = operation["responses"]["200"]["content"][LINES]["schema"]
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    lines = [json.loads(line) for line in response.content.decode().split("\n") if line]
    if not lines:
        raise AssertionError("a stream without a line")
    for line in lines:
        error = jsonschema.exceptions.best_match(validator.iter_errors(line))
        if error is not None:
            raise AssertionError(f"{json.dumps(line)} is no line of this stream: {error.message}")


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
