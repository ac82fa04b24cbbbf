//! Vector stores: collections of files, and passages that answer a query.

use super::super::shape::{
    Shape, anything, count, either, fields, integer, list, list_of, map, number, number_in, text,
    text_of, truth, word,
};
use super::super::{Operation, Words};
use super::TAG;
use crate::limits::{
    FILTERS_MAX, FOUND_MAX, MOMENT_S_MAX, SEARCH_BYTES_MAX, SEARCHES_MAX, SOURCE_BYTES_MAX,
    STORES_PAGE_MAX,
};

pub(super) fn operations() -> Vec<Operation> {
    let [all, one] = [
        Operation::get(
            "/v1/vector_stores",
            Words::OpenAi,
            "vector_stores",
            "Lists collections of files",
        )
        .may_query("limit", "Collections of the page, 20 unless it is said.", {
            integer(1..=i64::try_from(STORES_PAGE_MAX).unwrap_or(i64::MAX))
        })
        .may_query("order", "By name; `asc` unless it is said.", word(&["asc", "desc"]))
        .may_query("after", "The collection behind which the page begins.", text())
        .may_query("before", "The collection before which the page ends.", text())
        .answers(stores())
        .fails(&[400, 500, 503]),
        named(Operation::get(
            "/v1/vector_stores/{id}",
            Words::OpenAi,
            "vector_store",
            "Says how a collection of files stands",
        ))
        .answers(store())
        .fails(&[404, 500, 503]),
    ];
    let search = named(Operation::post(
        "/v1/vector_stores/{id}/search",
        Words::OpenAi,
        "search_vector_store",
        "Finds passages of files, in OpenAI's form",
    ))
    .takes(request())
    .answers(answer())
    .fails(&[404, 500, 503]);
    let create = Operation::post(
        "/v1/vector_stores",
        Words::OpenAi,
        "create_vector_store",
        "Refused: collections are made of this machine's folders",
    )
    .about("Add folders with `resident kb add`, or with `POST /api/knowledge`.")
    .takes(fields("Whatever OpenAI takes.").at_times("name", "Left unread.", anything()).shape())
    .fails(&[404]);
    let delete = named(Operation::delete(
        "/v1/vector_stores/{id}",
        Words::OpenAi,
        "delete_vector_store",
        "Refused: collections are forgotten with the control token",
    ))
    .about("Forget one with `resident kb rm`, or with `DELETE /api/knowledge/{name}`.")
    .fails(&[404]);
    [all, one, search, create, delete].map(|operation| operation.tag(TAG)).into()
}

fn named(operation: Operation) -> Operation {
    operation.name_in_path("id", "The collection's name.", text())
}

fn request() -> Shape {
    let query = text_of(1..=SEARCH_BYTES_MAX);
    let ranking = fields("How passages are ranked, which is the hub's own.")
        .may("ranker", "Whichever.", {
            word(&["auto", "none", "default-2024-11-15", "default_2024_08_21"])
        })
        .may("score_threshold", "0.", number_in(0.0..=0.0));
    fields("What is searched for. What is not named here is ignored.")
        .has("query", "A question or words; a passage may answer any of several.", {
            either([query.clone(), list_of(query, 1..=SEARCHES_MAX)])
        })
        .may("max_num_results", "Passages at most, 10 unless it is said.", {
            integer(1..=FOUND_MAX.into())
        })
        .may("filters", "Which files they may be of: a comparison, or several.", filter())
        .may("ranking_options", "How they are ranked.", ranking.shape())
        .may("rewrite_query", "False.", truth())
        .named("VectorStoreSearch")
}

fn filter() -> Shape {
    let texts = || list_of(text_of(1..=SOURCE_BYTES_MAX), 1..=FILTERS_MAX);
    let of_file = fields("Of a file, or of files in a folder; or of a kind.")
        .has("type", "How they compare.", word(&["eq", "in"]))
        .has("key", "What is compared.", word(&["path", "kind"]))
        .has(
            "value",
            "With what; several with `in`.",
            either([text_of(1..=SOURCE_BYTES_MAX), texts()]),
        );
    let of_time = fields("Changed at, before or after a moment.")
        .has("type", "How they compare.", word(&["eq", "gt", "gte", "lt", "lte"]))
        .has("key", "What is compared.", word(&["modified"]))
        .has("value", "Seconds since 1970.", integer(-MOMENT_S_MAX..=MOMENT_S_MAX));
    let several = fields("Several filters: all of them, or any of several paths or kinds.")
        .has("type", "Whether all must hold, or any.", word(&["and", "or"]))
        .has("filters", "The filters.", list_of(anything(), 1..=FILTERS_MAX));
    either([of_file.shape(), of_time.shape(), several.shape()])
}

fn answer() -> Shape {
    let content = fields("What it says.")
        .has("type", "What kind of content this is.", word(&["text"]))
        .has("text", "The passage.", text());
    let passage = fields("A passage.")
        .has("file_id", "Its file.", text())
        .has("filename", "What its file is called.", text())
        .has("score", "How well it fits, to be compared within one answer only.", number())
        .has(
            "attributes",
            "Its `path`, `kind`, `modified` (seconds since 1970), `place`, `passage` (its number) and, as far as they are \
             known, `headings`, `page`, `first_byte` and `end_byte`.",
            map(either([text(), number(), truth()]), usize::MAX),
        )
        .has("content", "What it says.", list(content.shape()));
    fields("Passages, the best first.")
        .has("object", "What kind of object this is.", word(&["vector_store.search_results.page"]))
        .has("search_query", "What was searched for.", list(text()))
        .has("data", "The passages.", list(passage.shape()))
        .has("has_more", "Always false.", truth())
        .has("next_page", "Always null.", text().or_null())
        .at_times("notes", "What a person should know of how it was searched.", list(text()))
        .named("VectorStoreSearchAnswer")
}

fn stores() -> Shape {
    fields("Collections of files.")
        .has("object", "What kind of object this is.", word(&["list"]))
        .has("data", "The collections.", list(store()))
        .has("first_id", "The first one's name.", text().or_null())
        .has("last_id", "The last one's name.", text().or_null())
        .has("has_more", "Whether there are more.", truth())
        .named("VectorStores")
}

fn store() -> Shape {
    let counts = fields("Its files in numbers.")
        .has("in_progress", "Files that are yet to be read.", count())
        .has("completed", "Files that can be found.", count())
        .has("failed", "Files that could not be read.", count())
        .has("cancelled", "None.", count())
        .has("total", "All of them.", count());
    fields("A collection of files.")
        .has("id", "Its name.", text())
        .has("object", "What kind of object this is.", word(&["vector_store"]))
        .has("created_at", "Always 0: nobody notes it.", count())
        .has("name", "Its name.", text())
        .has("usage_bytes", "Bytes of its files.", count())
        .has("file_counts", "Its files in numbers.", counts.shape())
        .has("status", "`completed` where it is in step with the disk.", {
            word(&["completed", "in_progress"])
        })
        .has("expires_after", "Always null.", anything())
        .has("expires_at", "Always null.", count().or_null())
        .has("last_active_at", "Always null.", count().or_null())
        .has("metadata", "How it stands in the hub's words.", map(text(), usize::MAX))
        .named("VectorStore")
}
