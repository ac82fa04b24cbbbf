"""Your own files as a retriever of LangChain, found by a Resident hub on this machine.

    pip install langchain-core
    python examples/langchain_retriever.py "When did the Vasa sink?"

Each document is a passage. Its metadata says where it stands, so that an answer can cite it: `path`, `place` for a person,
`page` or the bytes where the format has them, and `passage`, the number to read around it.
"""

import json
import sys
import urllib.error
import urllib.request

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever


class ResidentRetriever(BaseRetriever):
    """Finds passages in collections of a hub; in all of them where none is named."""

    url: str = "http://127.0.0.1:11434"
    key: str | None = None
    collections: list[str] = []
    limit: int = 8
    kinds: list[str] = []
    folders: list[str] = []
    timeout_s: float = 60

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        asked = {
            "query": query,
            "collections": self.collections,
            "limit": self.limit,
            "kinds": self.kinds,
            "folders": self.folders,
        }
        return [document(passage) for passage in self.ask(asked)["passages"]]

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


def document(passage: dict) -> Document:
    place = dict(passage["place"])
    metadata = {
        "source": passage["path"],
        "path": passage["path"],
        "place": place.pop("said"),
        "passage": passage["id"],
        "collection": passage["collection"],
        "headings": passage["headings"],
        "score": passage["score"],
        **place,
    }
    return Document(id=str(passage["id"]), page_content=passage["text"], metadata=metadata)


if __name__ == "__main__":
    for found in ResidentRetriever().invoke(" ".join(sys.argv[1:])):
        print(f"{found.metadata['path']}, {found.metadata['place']}\n{found.page_content}\n")
