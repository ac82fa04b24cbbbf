"""Searches vector stores with the official OpenAI client, for knowledge_clients.rs.

Arguments: the base URL of a hub that wants a key and has the collections `mail` and `notes`, that key, and a file of
`notes`. The first check that fails ends the program.
"""

import sys

import openai

URL, KEY, SHIPS = sys.argv[1:4]
FOLDER = SHIPS.rsplit("/", 1)[0]
QUESTION = "When did the Vasa sink?"


def check_stores(client):
    names = [store.id for store in client.vector_stores.list()]
    assert names == ["mail", "notes"], names
    # The client turns pages by itself.
    assert [store.id for store in client.vector_stores.list(limit=1)] == names
    assert [store.id for store in client.vector_stores.list(order="desc", limit=1)] == names[::-1]
    store = client.vector_stores.retrieve("notes")
    assert store.name == "notes" and store.status == "completed", store
    counts = store.file_counts
    assert (counts.completed, counts.failed, counts.in_progress, counts.total) == (3, 1, 0, 4), counts
    assert store.usage_bytes > 100 and store.metadata["state"] == "done", store


def search(client, query, **fields):
    return client.vector_stores.search("notes", query=query, **fields)


def check_search(client):
    page = search(client, QUESTION)
    best = page.data[0]
    assert best.filename == "ships.md" and best.file_id.startswith("file-"), best
    assert best.content[0].type == "text" and "1628" in best.content[0].text, best
    assert best.attributes["path"] == SHIPS and best.attributes["kind"] == "md", best
    assert best.attributes["modified"] > 1_600_000_000 and best.attributes["passage"] > 0, best
    assert page.object == "vector_store.search_results.page" and page.search_query == [QUESTION], page
    assert len(search(client, QUESTION, max_num_results=1).data) == 1
    scores = [one.score for one in page.data]
    assert scores == sorted(scores, reverse=True), scores

    both = search(client, ["Vasa", "图书馆什么时候关门？"], rewrite_query=False)
    names = {one.filename for one in both.data}
    assert {"ships.md", "library.txt"} <= names, names
    passages = [one.attributes["passage"] for one in both.data]
    assert len(passages) == len(set(passages)), passages


def compare(kind, key, value):
    return {"type": kind, "key": key, "value": value}


def check_filters(client):
    def names(filters, query="the Vasa, the library 图书馆, chips"):
        return {one.filename for one in search(client, query, filters=filters).data}

    everything = {"ships.md", "library.txt", "page.html"}
    assert names(compare("eq", "path", FOLDER)) == everything
    assert names(compare("eq", "path", SHIPS)) == {"ships.md"}
    assert names(compare("eq", "path", FOLDER + "/nowhere")) == set()
    assert names(compare("in", "kind", ["md", "html"])) == {"ships.md", "page.html"}
    either = [compare("eq", "kind", "md"), compare("eq", "kind", "html")]
    assert names({"type": "or", "filters": either}) == {"ships.md", "page.html"}
    modified = int(search(client, "Vasa").data[0].attributes["modified"])
    for kind, moment, there in [
        ("gte", modified, True), ("gt", modified, False), ("lte", modified, True), ("lt", modified, False),
        ("eq", modified, True), ("eq", modified + 1, False),
    ]:
        both = [compare("eq", "path", SHIPS), compare(kind, "modified", moment)]
        assert (names({"type": "and", "filters": both}) == {"ships.md"}) == there, (kind, moment)


def refused(ask, status, *words):
    try:
        ask()
    except openai.APIStatusError as error:
        assert error.status_code == status, error
        assert all(word in str(error) for word in words), error
        return error
    raise AssertionError("it should be refused")


def check_refusals(client):
    error = refused(
        lambda: search(client, QUESTION, filters=compare("eq", "author", "me")), 400, "author", "path, kind and modified"
    )
    assert error.param == "filters.key", error
    refused(lambda: search(client, QUESTION, filters=compare("ne", "kind", "md")), 400, "filters.type")
    refused(lambda: search(client, QUESTION, rewrite_query=True), 400, "rewrite_query")
    refused(lambda: search(client, QUESTION, ranking_options={"score_threshold": 0.5}), 400, "score_threshold")
    refused(lambda: search(client, " "), 400, "query")
    refused(lambda: client.vector_stores.retrieve("nowhere"), 404, "nowhere", "resident kb add")
    refused(lambda: client.vector_stores.search("nowhere", query="x"), 404, "nowhere", "mail, notes")
    way_out = "resident kb add"
    refused(lambda: client.vector_stores.create(name="new"), 404, way_out)
    refused(lambda: client.vector_stores.update("notes", name="new"), 404, way_out)
    refused(lambda: client.vector_stores.delete("notes"), 404, way_out)
    refused(lambda: client.vector_stores.files.list("notes"), 404, way_out)
    refused(lambda: client.vector_stores.files.create("notes", file_id="file-1"), 404, way_out)
    assert [store.id for store in client.vector_stores.list()] == ["mail", "notes"], "nothing was deleted"
    stranger = openai.OpenAI(base_url=URL, api_key="wrong", max_retries=0)
    refused(lambda: stranger.vector_stores.search("notes", query="x"), 401)
    refused(lambda: stranger.vector_stores.list(), 401)


def main():
    client = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0, timeout=60)
    check_stores(client)
    check_search(client)
    check_filters(client)
    check_refusals(client)


main()
