//! ModelScope: lists of files with their digests.
//!
//! Source: the API that ModelScope's own client uses.

use reqwest::Url;
use serde::Deserialize;

use super::{Access, Budget, Error, File, Listing, below, bounded::at_most, repository};
use crate::{
    digest::Sha256,
    limits::{LIST_BYTES_MAX, LISTED_FILES_MAX},
    outside::shown,
    source::{Hub, Repository},
};

/// What its answers are wrapped in.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    message: Option<String>,
    data: Option<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    #[serde(deserialize_with = "at_most::<_, _, LISTED_FILES_MAX>")]
    files: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    path: String,
    /// `blob` for a file, `tree` for a folder.
    r#type: String,
    #[serde(default)]
    size: u64,
    /// SHA-256 of the content; empty for what has none.
    #[serde(default)]
    sha256: String,
}

/// What `repository` has.
pub(super) async fn listing(
    access: &Access,
    repository: &Repository,
    budget: &mut Budget,
) -> Result<Listing, Error> {
    let endpoint = &access.places.model_scope;
    let steps = ["api", "v1", "models"].into_iter().chain(repository.steps());
    let mut url = below(endpoint, steps.chain(["repo", "files"]));
    let branch = Hub::ModelScope.branch();
    url.query_pairs_mut().append_pair("Revision", branch).append_pair("Recursive", "true");
    let (body, _) = access.whole(&url, &[], LIST_BYTES_MAX, budget).await?;
    let files = read(&body).map_err(|why| Error::List { url: shown(&url), why })?;
    Ok(Listing {
        repository: repository.clone(),
        models: repository::models(files),
        // Its lists say of each file when it changed last, and nothing of the whole.
        revision: None,
        endpoints: vec![endpoint.clone()],
    })
}

/// The files in a list.
pub(super) fn read(body: &[u8]) -> Result<Vec<File>, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Some(content) = answer.data else {
        let message = answer.message.filter(|message| !message.is_empty());
        return Err(message.unwrap_or_else(|| "it has no files and does not say why".to_owned()));
    };
    let files = content.files.into_iter().filter(|entry| entry.r#type == "blob").map(|entry| {
        let digest = match entry.sha256.as_str() {
            "" => None,
            text => Some(text.parse::<Sha256>().map_err(|error| error.to_string())?),
        };
        Ok(File { path: entry.path, bytes: entry.size, digest })
    });
    files.collect()
}

/// Where a file is had. The server leads on to one that has it.
pub(super) fn file(endpoint: &Url, repository: &Repository, path: &str) -> Url {
    let steps = ["models"].into_iter().chain(repository.steps());
    below(endpoint, steps.chain(["resolve", Hub::ModelScope.branch()]).chain(path.split('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_what_comes_instead() {
        let digest = "0".repeat(64);
        let list = format!(
            r#"{{"Code":200,"Data":{{"Files":[
                {{"Name":"x","Path":"x","Type":"tree","Size":0,"Sha256":""}},
                {{"Name":"m.gguf","Path":"x/m.gguf","Type":"blob","Size":7,"Sha256":"{digest}","IsLFS":true}},
                {{"Path":"README.md","Type":"blob","Size":1}}]}},"Success":true}}"#
        );
        let files = read(list.as_bytes()).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!((files[0].path.as_str(), files[0].bytes), ("x/m.gguf", 7));
        assert!(files[0].digest.is_some() && files[1].digest.is_none());
        for (body, expected) in [
            (r#"{"Code":10010205001,"Message":"no such model","Success":false}"#, "no such model"),
            (r#"{"Code":200,"Data":null}"#, "does not say why"),
            (r#"{"Data":{"Files":[{"Path":"a","Type":"blob","Sha256":"../x"}]}}"#, "is no digest"),
            (r#"{"Data":{"Files":{}}}"#, "a list of at most"),
            ("<html>", "expected value"),
        ] {
            let message = read(body.as_bytes()).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
