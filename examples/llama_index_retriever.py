"""Your own files as a retriever of LlamaIndex, found by a Resident hub on this machine.

    pip install llama-index-core
    python examples/llama_index_retriever.py "When did the Vasa sink?"

Each node is a passage. Its metadata says where it stands, so that an answer can cite it: `path`, `place` for a person,
`page` or the bytes where the format has them, and `passage`, the number to read around it.
"""

import json
import sys
import urllib.error
import urllib.request

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode


class ResidentRetriever(BaseRetriever):
    """Finds passages in collections of a hub; in all of them where none is named."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:11434",
        key: str | None = None,
        collections: list[str] | None = None,
        limit: int = 8,
        kinds: list[str] | None = None,
        folders: list[str] | None = None,
        timeout_s: float = 60,
    ) -> None:
        super().__init__()
        self.url = url
        self.key = key
        self.asked = {
            "collections": collections or [],
            "limit": limit,
            "kinds": kinds or [],
            "folders": folders or [],
        }
        self.timeout_s = timeout_s

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self.ask({"query": query_bundle.query_str, **self.asked})
        return [node(passage) for passage in found["passages"]]

    def ask(self, asked: dict) -> dict:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            f"{self.url}/api/knowledge/search", json.dumps(asked).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # The hub says what is wrong, and the way out.
            raise ValueError(json.load(error)["error"]["message"]) from error


# What a program cites by, and no model needs to read.
FOR_PROGRAMS = ["passage", "collection", "first_byte", "end_byte"]


def node(passage: dict) -> NodeWithScore:
    place = dict(passage["place"])
    metadata = {
        "path": passage["path"],
        "place": place.pop("said"),
        "passage": passage["id"],
        "collection": passage["collection"],
        "headings": " > ".join(passage["headings"]),
        **place,
    }
    text = TextNode(
        id_=str(passage["id"]),
        text=passage["text"],
        metadata=metadata,
        excluded_llm_metadata_keys=FOR_PROGRAMS,
        excluded_embed_metadata_keys=FOR_PROGRAMS,
    )
    return NodeWithScore(node=text, score=passage["score"])


if __name__ == "__main__":
    for found in ResidentRetriever().retrieve(" ".join(sys.argv[1:])):
        print(f"{found.node.metadata['path']}, {found.node.metadata['place']}\n{found.node.text}\n")
