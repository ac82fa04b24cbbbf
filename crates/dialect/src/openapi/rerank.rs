//! Ranking, in the forms of Jina, Cohere and Text Embeddings Inference (TEI).

use super::shape::{
    Shape, count, either, fields, integer, list, list_of, number, text, text_of, truth, word,
};
use super::{Operation, Words, shared};
use crate::limits::{RANK_DOCUMENTS_MAX, RANK_QUERY_BYTES_MAX, SHORT_VALUE_BYTES_MAX};

const TAG: &str = "Ranking";

pub(super) fn operations() -> Vec<Operation> {
    let [v1, plain, long, plain_long] = [
        ("/v1/rerank", "rerank"),
        ("/rerank", "rerank_plain"),
        ("/v1/reranking", "reranking"),
        ("/reranking", "reranking_plain"),
    ]
    .map(|(path, id)| {
        Operation::post(path, Words::OpenAi, id, "Says how well documents answer a query")
            .tag(TAG)
            .about("In Jina's form, or where the documents are called `texts`, in that of TEI.")
            .takes(either([request(), texts_request()]))
            .answers(either([answer(), list(scored())]))
            .asks_a_model()
    });
    let cohere = Operation::post(
        "/v2/rerank",
        Words::Cohere,
        "rerank_cohere",
        "Says how well documents answer a query, for Cohere's clients",
    );
    let cohere = cohere.tag(TAG).takes(request()).answers(cohere_answer()).asks_a_model();
    vec![v1, plain, long, plain_long, cohere]
}

fn request() -> Shape {
    fields("Documents that are to be ranked. What is not named here is ignored.")
        .may(
            "model",
            "Name of a model that ranks, or of a role.",
            text_of(1..=SHORT_VALUE_BYTES_MAX),
        )
        .has("query", "What the documents should answer.", query())
        .has("documents", "What is ranked.", list_of(document(), 1..=RANK_DOCUMENTS_MAX))
        .may("top_n", "Documents that are told of, the best ones.", integer(1..=u32::MAX.into()))
        .may("return_documents", "Whether documents are told with their scores.", truth())
        .may("truncate", "Whether what is too long is cut; else it is refused.", truth())
        .may("truncation", "The same, as Jina calls it.", truth())
        .may("max_tokens_per_doc", "Where each document is cut.", integer(1..=u32::MAX.into()))
        .with(shared::wish)
        .named("RankRequest")
}

fn texts_request() -> Shape {
    fields("The same in the form of TEI.")
        .has("query", "What the texts should answer.", query())
        .has("texts", "What is ranked.", list_of(document(), 1..=RANK_DOCUMENTS_MAX))
        .may("return_text", "Whether texts are told with their scores.", truth())
        .may("truncate", "Whether what is too long is cut; else it is refused.", truth())
        .with(shared::wish)
        .named("RankTextsRequest")
}

fn query() -> Shape {
    let inside = fields("A text.").has("text", "What it says.", text_of(1..=RANK_QUERY_BYTES_MAX));
    either([text_of(1..=RANK_QUERY_BYTES_MAX), inside.shape()])
}

fn document() -> Shape {
    let inside = fields("A document.").has("text", "What it says.", text());
    either([text(), inside.shape()])
}

fn answer() -> Shape {
    let usage = fields("What it took.")
        .has("prompt_tokens", "Tokens of query and documents.", count())
        .has("total_tokens", "The same.", count());
    let meta = fields("The same in Cohere's words.").has("tokens", "What it took.", tokens());
    fields("Documents, the best first.")
        .has("id", "Its name.", text())
        .has("object", "What kind of object this is.", word(&["list"]))
        .has("model", "Who ranked.", text())
        .has("results", "The best first.", list(relevant()))
        .has("usage", "What it took.", usage.shape())
        .has("meta", "What it took.", meta.shape())
        .named("RankAnswer")
}

fn cohere_answer() -> Shape {
    let version = fields("Of the form.").has("version", "Which.", word(&["2"]));
    let meta = fields("What it took.")
        .has("api_version", "Whose form this is.", version.shape())
        .has("tokens", "What it took.", tokens());
    fields("Documents, the best first, in Cohere's form.")
        .has("id", "Its name.", text())
        .has("results", "The best first.", list(relevant()))
        .has("meta", "What it took.", meta.shape())
        .named("CohereRankAnswer")
}

fn tokens() -> Shape {
    fields("Tokens.")
        .has("input_tokens", "Of query and documents.", count())
        .has("output_tokens", "None.", count())
        .shape()
}

fn relevant() -> Shape {
    let document = fields("A document.").has("text", "What it says.", text());
    fields("A document's place.")
        .has("index", "Which document.", count())
        .has("relevance_score", "How well it answers, as the model says it.", number())
        .at_times("document", "With `return_documents`.", document.shape())
        .shape()
}

fn scored() -> Shape {
    fields("A text's place.")
        .has("index", "Which text.", count())
        .has("score", "How well it answers, as the model says it.", number())
        .at_times("text", "With `return_text`.", text())
        .named("RankedText")
}
