//! Looking for models by words, at Hugging Face or ModelScope.
//!
//! Sources: the API of Hugging Face's own client, and ModelScope's OpenAPI document.

use reqwest::Url;
use serde::Deserialize;

use super::{Access, Budget, Error, below, bounded::at_most};
use crate::{
    limits::{DOWNLOAD_BYTES_MAX, HITS_MAX, SEARCH_BYTES_MAX},
    outside::shown,
    source::{Hub, Source},
};

/// A model that was found by words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What to write to pull or plan it: `hf:OWNER/REPO`.
    pub source: String,
    /// How often it was downloaded of late.
    pub downloads: u64,
    /// How many like it.
    pub likes: u64,
    /// Whether its owner wants to be asked first.
    pub is_gated: bool,
}

/// One model in an answer of either.
#[derive(Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    downloads: Option<u64>,
    #[serde(default)]
    likes: Option<u64>,
    /// `false`, or how it is asked for.
    #[serde(default)]
    gated: Option<Gated>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Gated {
    Is(bool),
    How(String),
}

#[derive(Deserialize)]
struct Entries(#[serde(deserialize_with = "at_most::<_, _, HITS_MAX>")] Vec<Entry>);

#[derive(Deserialize)]
struct Answer {
    data: Content,
}

#[derive(Deserialize)]
struct Content {
    #[serde(deserialize_with = "at_most::<_, _, HITS_MAX>")]
    models: Vec<Entry>,
}

pub(super) async fn search(access: &Access, text: &str, limit: usize) -> Result<Vec<Hit>, Error> {
    let (hub, words) = match text.strip_prefix(Hub::ModelScope.prefix()) {
        Some(words) => (Hub::ModelScope, words),
        None => {
            let prefix = Hub::HuggingFace.prefix();
            (Hub::HuggingFace, text.strip_prefix(prefix).unwrap_or(text))
        }
    };
    let count = limit.clamp(1, HITS_MAX).to_string();
    let mut budget = Budget::new(DOWNLOAD_BYTES_MAX);
    let endpoints = match hub {
        Hub::HuggingFace => access.places.hugging_face.as_slice(),
        Hub::ModelScope => std::slice::from_ref(&access.places.model_scope),
    };
    let mut first_error = None;
    for endpoint in endpoints {
        let url = question(hub, endpoint, words.trim(), &count);
        match access.whole(&url, &[], SEARCH_BYTES_MAX, &mut budget).await {
            Ok((body, _)) => {
                let entries = read(hub, &body)
                    .map_err(|error| Error::Answer { url: shown(&url), why: error.to_string() })?;
                let hits = entries.into_iter().filter_map(|entry| hit(hub, entry));
                return Ok(hits.take(limit).collect());
            }
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    Err(first_error.unwrap_or(Error::NoModel { repository: text.to_owned() }))
}

fn question(hub: Hub, endpoint: &Url, words: &str, count: &str) -> Url {
    match hub {
        Hub::HuggingFace => {
            let mut url = below(endpoint, ["api", "models"]);
            url.query_pairs_mut()
                .append_pair("search", words)
                .append_pair("filter", "gguf")
                .append_pair("sort", "downloads")
                .append_pair("direction", "-1")
                .append_pair("limit", count);
            url
        }
        Hub::ModelScope => {
            let mut url = below(endpoint, ["openapi", "v1", "models"]);
            url.query_pairs_mut()
                .append_pair("search", words)
                .append_pair("filter.library", "gguf")
                .append_pair("sort", "downloads")
                .append_pair("page_number", "1")
                .append_pair("page_size", count);
            url
        }
    }
}

fn read(hub: Hub, body: &[u8]) -> Result<Vec<Entry>, serde_json::Error> {
    Ok(match hub {
        Hub::HuggingFace => serde_json::from_slice::<Entries>(body)?.0,
        Hub::ModelScope => serde_json::from_slice::<Answer>(body)?.data.models,
    })
}

/// A model that can be asked for again; what has another kind of name cannot.
fn hit(hub: Hub, entry: Entry) -> Option<Hit> {
    let source = Source::parse(&format!("{}{}", hub.prefix(), entry.id))?.ok()?;
    Some(Hit {
        source: source.to_string(),
        downloads: entry.downloads.unwrap_or(0),
        likes: entry.likes.unwrap_or(0),
        is_gated: match entry.gated {
            Some(Gated::Is(is)) => is,
            Some(Gated::How(how)) => !how.is_empty(),
            None => false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both() {
        let models = r#"[{"id":"a/b-GGUF","downloads":7,"likes":3,"gated":"manual","tags":["gguf"]},
            {"id":"../x"},{"id":"c/d","gated":false}]"#;
        let hits = |hub, body: &str| -> Vec<(String, u64, bool)> {
            let entries = read(hub, body.as_bytes()).unwrap();
            let hits = entries.into_iter().filter_map(|entry| hit(hub, entry));
            hits.map(|hit| (hit.source, hit.downloads, hit.is_gated)).collect()
        };
        assert_eq!(
            hits(Hub::HuggingFace, models),
            [("hf:a/b-GGUF".to_owned(), 7, true), ("hf:c/d".to_owned(), 0, false)]
        );
        let wrapped = format!(r#"{{"success":true,"data":{{"models":{models}}}}}"#);
        assert_eq!(hits(Hub::ModelScope, &wrapped)[0].0, "ms:a/b-GGUF");
        assert!(read(Hub::ModelScope, models.as_bytes()).is_err());
    }

    #[test]
    fn words_stay_within_their_place() {
        let endpoint = Url::parse("https://h").unwrap();
        let url = question(Hub::HuggingFace, &endpoint, "a&limit=9#b", "5");
        assert_eq!(url.query_pairs().filter(|(key, _)| key == "limit").count(), 1);
        assert_eq!(url.query_pairs().next().unwrap().1, "a&limit=9#b");
    }
}
