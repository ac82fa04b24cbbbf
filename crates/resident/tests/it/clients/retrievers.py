"""Asks the retrievers of `examples`, for knowledge_clients.rs.

Arguments: the folder of the examples, the base URL of a hub that wants a key, that key, and a file with the words that
are looked for, of the collection `notes`. The first check that fails ends the program.
"""

import sys

EXAMPLES, URL, KEY, SHIPS = sys.argv[1:5]
sys.path.insert(0, EXAMPLES)

import langchain_retriever
import llama_index_retriever

QUESTION = "When did the Vasa sink?"


def check_place(metadata, text):
    """The bytes that it cites are what the file says there."""
    assert metadata["path"] == SHIPS and metadata["collection"] == "notes", metadata
    assert metadata["place"].startswith("bytes "), metadata
    with open(SHIPS, "rb") as file:
        said = file.read()[metadata["first_byte"] : metadata["end_byte"]].decode()
    assert said and text.startswith(said), (said, text)


def refused(ask, word):
    try:
        ask()
    except ValueError as error:
        assert word in str(error), error
        return
    raise AssertionError("it should be refused")


def check_langchain():
    retriever = langchain_retriever.ResidentRetriever(url=URL, key=KEY, collections=["notes"], limit=3)
    found = retriever.invoke(QUESTION)
    assert "1628" in found[0].page_content, found
    assert found[0].metadata["passage"] > 0 and found[0].metadata["score"] > 0, found
    check_place(found[0].metadata, found[0].page_content)
    kinds = langchain_retriever.ResidentRetriever(url=URL, key=KEY, kinds=["html"])
    assert all(one.metadata["path"].endswith(".html") for one in kinds.invoke("chips")), kinds
    assert kinds.invoke("chips"), "the page is found"
    nowhere = langchain_retriever.ResidentRetriever(url=URL, key=KEY, collections=["nowhere"])
    refused(lambda: nowhere.invoke(QUESTION), "notes")
    refused(lambda: langchain_retriever.ResidentRetriever(url=URL).invoke(QUESTION), "key")

    # As a link of a chain, which is what it is for.
    cited = retriever | (lambda documents: [one.metadata["path"] for one in documents])
    assert cited.invoke(QUESTION)[0] == SHIPS


def check_llama_index():
    retriever = llama_index_retriever.ResidentRetriever(url=URL, key=KEY, collections=["notes"], limit=3)
    found = retriever.retrieve(QUESTION)
    assert "1628" in found[0].node.text and found[0].score > 0, found
    check_place(found[0].node.metadata, found[0].node.text)
    shown = found[0].node.get_content("llm")
    assert SHIPS in shown and "first_byte" not in shown, shown
    nowhere = llama_index_retriever.ResidentRetriever(url=URL, key=KEY, collections=["nowhere"])
    refused(lambda: nowhere.retrieve(QUESTION), "notes")


check_langchain()
check_llama_index()
