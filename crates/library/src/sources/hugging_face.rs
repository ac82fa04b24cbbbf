//! Hugging Face, and servers that speak like it: lists of files with their digests, and the commit that a
//! repository is at.
//!
//! Source: the API that Hugging Face's own client uses.

use reqwest::{Url, header::LINK};
use serde::Deserialize;

use super::{Access, Budget, Error, File, Listing, below, bounded::at_most, repository};
use crate::{
    digest::Sha256,
    limits::{LIST_BYTES_MAX, LIST_PAGES_MAX, LISTED_FILES_MAX},
    outside::{self, shown},
    source::{Hub, Repository},
};

/// One page of its list of files.
#[derive(Deserialize)]
struct Page(#[serde(deserialize_with = "at_most::<_, _, LISTED_FILES_MAX>")] Vec<Entry>);

/// One line of it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Large>,
}

/// What the list says of a file that git does not hold itself.
#[derive(Deserialize)]
struct Large {
    /// SHA-256 of the content.
    oid: Sha256,
    size: u64,
}

/// What it says of a repository as a whole.
#[derive(Deserialize)]
struct State {
    sha: String,
}

/// What `repository` has, by the first server that has it. With `pinned` its state now: what is had later is the
/// same, whatever its owner does meanwhile.
pub(super) async fn listing(
    access: &Access,
    repository: &Repository,
    pinned: bool,
    budget: &mut Budget,
) -> Result<Listing, Error> {
    let endpoints = &access.places.hugging_face;
    let mut first_error = None;
    for (at, endpoint) in endpoints.iter().enumerate() {
        match list_at(access, endpoint, repository, pinned, budget).await {
            Ok((files, revision)) => {
                // Who has answered will answer again.
                let others = endpoints.iter().enumerate().filter(|(other, _)| *other != at);
                let others = others.map(|(_, endpoint)| endpoint);
                return Ok(Listing {
                    repository: repository.clone(),
                    models: repository::models(files),
                    revision,
                    endpoints: std::iter::once(endpoint).chain(others).cloned().collect(),
                });
            }
            Err(error @ Error::Outside(outside::Error::Offline { .. })) => return Err(error),
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| Error::NoModel { repository: repository.to_string() }))
}

async fn list_at(
    access: &Access,
    endpoint: &Url,
    repository: &Repository,
    pinned: bool,
    budget: &mut Budget,
) -> Result<(Vec<File>, Option<String>), Error> {
    let revision =
        if pinned { revision(access, endpoint, repository, budget).await? } else { None };
    let branch = revision.as_deref().unwrap_or(Hub::HuggingFace.branch());
    let steps = ["api", "models"].into_iter().chain(repository.steps());
    let mut url = below(endpoint, steps.chain(["tree", branch]));
    url.set_query(Some("recursive=true"));
    let mut files = Vec::new();
    for _page in 0..LIST_PAGES_MAX {
        let (body, response) = access.whole(&url, &[], LIST_BYTES_MAX, budget).await?;
        let page = read(&body);
        files.extend(page.map_err(|why| Error::List { url: shown(&url), why })?);
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
        match link.and_then(next_link).and_then(|link| url.join(link).ok()) {
            // A credential would go along, and one server's list says nothing about another's files.
            Some(foreign) if foreign.origin() != url.origin() => {
                let why = format!("it goes on at another server, {}", shown(&foreign));
                return Err(Error::List { url: shown(&url), why });
            }
            Some(next) => url = next,
            None => return Ok((files, revision)),
        }
    }
    let why = format!("it goes on after {LIST_PAGES_MAX} pages");
    Err(Error::List { url: shown(&url), why })
}

/// The files in a page of the list.
pub(super) fn read(body: &[u8]) -> Result<Vec<File>, String> {
    let Page(entries) = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(entries.into_iter().filter(|entry| entry.kind == "file").map(file_of).collect())
}

fn file_of(entry: Entry) -> File {
    match entry.lfs {
        Some(large) => File { path: entry.path, bytes: large.size, digest: Some(large.oid) },
        None => File { path: entry.path, bytes: entry.size, digest: None },
    }
}

/// The commit that the repository is at. Not every server that speaks like Hugging Face says that.
async fn revision(
    access: &Access,
    endpoint: &Url,
    repository: &Repository,
    budget: &mut Budget,
) -> Result<Option<String>, Error> {
    let steps = ["api", "models"].into_iter().chain(repository.steps());
    let mut url = below(endpoint, steps.chain(["revision", Hub::HuggingFace.branch()]));
    url.query_pairs_mut().append_pair("expand[]", "sha");
    match access.whole(&url, &[], LIST_BYTES_MAX, budget).await {
        Ok((body, _)) => {
            let state: Option<State> = serde_json::from_slice(&body).ok();
            let is_commit = |sha: &String| {
                (40..=64).contains(&sha.len()) && sha.chars().all(|c| c.is_ascii_hexdigit())
            };
            Ok(state.map(|state| state.sha).filter(is_commit))
        }
        // What has no such page may still have the list.
        Err(Error::Outside(outside::Error::Refused { status: 400 | 404 | 405 | 501, .. })) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Where a file is had. The server leads on to one that has it, by an address that is good for some minutes.
pub(super) fn file(endpoint: &Url, repository: &Repository, revision: &str, path: &str) -> Url {
    let steps = repository.steps().into_iter().chain(["resolve", revision]);
    below(endpoint, steps.chain(path.split('/')))
}

/// The address behind `rel="next"` of a `Link` header. Source: RFC 8288.
fn next_link(text: &str) -> Option<&str> {
    let link = text.split(',').find(|link| link.contains("rel=\"next\""))?;
    link.split_once('<')?.1.split_once('>').map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let text = "<https://h/a?cursor=x>; rel=\"next\"";
        assert_eq!(next_link(text), Some("https://h/a?cursor=x"));
        assert_eq!(next_link("<https://h/a>; rel=\"first\""), None);
        assert_eq!(next_link("rel=\"next\""), None);
    }
}
