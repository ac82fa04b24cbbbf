//! What embedding models want to be told of a text: many were trained with some words before questions, some with words
//! before passages too, and find less without them.
//!
//! What a person says of a model in the configuration file wins over the table here.

use std::collections::BTreeMap;

use knowledge::search::Purpose;
use supervisor::ModelSummary;

use crate::config::Prefixes as Own;

/// What the configuration file says, by names of models.
pub(super) type Said = BTreeMap<String, Own>;

/// What stands before texts of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prefixes {
    query: String,
    passage: String,
}

/// What is known of a family of models.
struct Family {
    /// All of these are among the words of its name.
    words: &'static [&'static str],
    /// Or its file has one of these architectures, which no other family has.
    architectures: &'static [&'static str],
    query: &'static str,
    passage: &'static str,
}

const INSTRUCT: &str =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ";
/// Qwen's has no space at its end.
const INSTRUCT_QWEN: &str =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";
const REPRESENT: &str = "Represent this sentence for searching relevant passages: ";

/// The first that fits counts. Each is as the model's card on Hugging Face says it for retrieval: intfloat/e5-base-v2,
/// multilingual-e5-large-instruct and e5-mistral-7b-instruct; nomic-ai/nomic-embed-text-v1.5 and nomic-embed-code;
/// Qwen/Qwen3-Embedding-0.6B; BAAI/bge-large-en-v1.5 and bge-large-zh-v1.5 (bge-m3 wants nothing);
/// mixedbread-ai/mxbai-embed-large-v1; Snowflake/snowflake-arctic-embed-l and its v2.0; google/embeddinggemma-300m.
const FAMILIES: [Family; 14] = [
    family(&["e5", "instruct"], &[], INSTRUCT, ""),
    family(&["e5", "mistral"], &[], INSTRUCT, ""),
    family(&["e5"], &[], "query: ", "passage: "),
    family(
        &["nomic", "embed", "code"],
        &[],
        "Represent this query for searching relevant code: ",
        "",
    ),
    family(
        &["nomic", "embed"],
        &["nomic-bert", "nomic-bert-moe"],
        "search_query: ",
        "search_document: ",
    ),
    family(&["qwen3", "embedding"], &[], INSTRUCT_QWEN, ""),
    family(&["bge", "icl"], &[], "", ""),
    family(&["bge", "en"], &[], REPRESENT, ""),
    family(&["bge", "zh"], &[], "为这个句子生成表示以用于检索相关文章：", ""),
    family(&["mxbai", "embed"], &[], REPRESENT, ""),
    family(&["arctic", "embed", "v2"], &[], "query: ", ""),
    family(&["arctic", "embed2"], &[], "query: ", ""),
    family(&["arctic", "embed"], &[], REPRESENT, ""),
    family(
        &["embeddinggemma"],
        &["gemma-embedding"],
        "task: search result | query: ",
        "title: none | text: ",
    ),
];

const fn family(
    words: &'static [&'static str],
    architectures: &'static [&'static str],
    query: &'static str,
    passage: &'static str,
) -> Family {
    Family { words, architectures, query, passage }
}

impl Prefixes {
    /// What is said of this model, else what is known of it, else nothing.
    pub(super) fn of(model: &ModelSummary, said: &Said) -> Self {
        let header = model.facts.as_ref().ok().and_then(|facts| facts.header.as_ref());
        let (title, architecture) = header
            .map_or((None, ""), |header| (header.name.as_deref(), header.architecture.as_str()));
        let mut prefixes = Self::known(&[&model.name, title.unwrap_or_default()], architecture);
        if let Some(Own { query, passage }) = said.get(&model.name) {
            prefixes.query = query.clone().unwrap_or(prefixes.query);
            prefixes.passage = passage.clone().unwrap_or(prefixes.passage);
        }
        prefixes
    }

    fn known(names: &[&str], architecture: &str) -> Self {
        let names = names.join(" ").to_lowercase();
        let words: Vec<&str> = names.split(|c: char| !c.is_alphanumeric()).collect();
        let fits = |family: &&Family| {
            family.words.iter().all(|word| words.contains(word))
                || family.architectures.contains(&architecture)
        };
        let found = FAMILIES.iter().find(fits);
        found.map_or_else(Self::default, |family| Self {
            query: family.query.to_owned(),
            passage: family.passage.to_owned(),
        })
    }

    /// What stands before a text of this purpose.
    pub(super) fn before(&self, purpose: Purpose) -> &str {
        match purpose {
            Purpose::Query => &self.query,
            Purpose::Passage => &self.passage,
        }
    }

    /// What a collection calls the model: what stands before passages makes other vectors, so that it is another
    /// embedder. What stands before questions is in no index.
    pub(super) fn named(&self, model: &str) -> String {
        match self.passage.as_str() {
            "" => model.to_owned(),
            passage => format!("{model} with {passage:?} before passages"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, architecture: &str, query: &str, passage: &str) {
        let prefixes = Prefixes::known(&[name, ""], architecture);
        let is = (prefixes.before(Purpose::Query), prefixes.before(Purpose::Passage));
        assert_eq!(is, (query, passage), "{name}");
    }

    #[test]
    fn families_are_known_by_words_of_their_names() {
        check("multilingual-e5-small-q8_0", "bert", "query: ", "passage: ");
        check("multilingual-e5-large-instruct", "bert", INSTRUCT, "");
        check("E5 Mistral 7B", "llama", INSTRUCT, "");
        check("nomic-embed-text:v1.5", "nomic-bert", "search_query: ", "search_document: ");
        check("embedder", "nomic-bert-moe", "search_query: ", "search_document: ");
        check("qwen3-embedding:0.6b", "qwen3", INSTRUCT_QWEN, "");
        check("bge-small-en-v1.5", "bert", REPRESENT, "");
        check("bge-large-zh-v1.5", "bert", "为这个句子生成表示以用于检索相关文章：", "");
        check("bge-m3", "bert", "", "");
        check("snowflake-arctic-embed-l-v2.0", "bert", "query: ", "");
        check("snowflake-arctic-embed-m", "bert", REPRESENT, "");
        check(
            "embeddinggemma-300m",
            "gemma-embedding",
            "task: search result | query: ",
            "title: none | text: ",
        );
    }

    #[test]
    fn other_models_get_nothing() {
        // A word within a word is none.
        for name in ["all-MiniLM-L6-v2", "gte-e50", "qwen3-8b", "bgenius-en", "e52"] {
            check(name, "bert", "", "");
        }
    }

    #[test]
    fn what_stands_before_passages_makes_another_embedder() {
        let named = |query: &str, passage: &str| {
            Prefixes { query: query.to_owned(), passage: passage.to_owned() }.named("e5")
        };
        assert_eq!(named("query: ", ""), "e5");
        assert_eq!(named("", "passage: "), "e5 with \"passage: \" before passages");
        assert_ne!(named("", "passage: "), named("", "passage:"));
    }
}
