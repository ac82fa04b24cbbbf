//! `[library]` and `offline`: how models are pulled, and whether anybody is asked at all.

use super::super::raw;
use crate::{
    cli::Serving,
    limits::{MIRRORS_MAX, PULL_CONNECTIONS_MAX},
    pull::rate,
};

/// How models are pulled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Library {
    /// Nothing is asked of any server elsewhere.
    pub(crate) offline: bool,
    /// Where Hugging Face is, if not where the environment or the library says.
    pub(crate) hf_endpoint: Option<String>,
    /// Further servers that have what it has, best first.
    pub(crate) mirrors: Vec<String>,
    /// What all pulls together may take of the line, in bytes a second.
    pub(crate) rate_bytes_per_s: Option<u64>,
    /// Connections of one pull, if not as many as the library takes.
    pub(crate) connections: Option<usize>,
}

/// Reads the table.
///
/// # Errors
/// A sentence that begins with the table and the key.
pub(super) fn read(
    raw: raw::Library,
    offline: Option<bool>,
    serving: &Serving,
) -> Result<Library, String> {
    let hf_endpoint = raw.hf_endpoint.map(|address| web_address("hf_endpoint", address));
    let mirrors = raw.mirrors.unwrap_or_default();
    if mirrors.len() > MIRRORS_MAX {
        return Err(format!(
            "[library] mirrors are {}; the most are {MIRRORS_MAX}, so keep the nearest",
            mirrors.len()
        ));
    }
    let mirrors: Result<_, _> =
        mirrors.into_iter().map(|address| web_address("mirrors", address)).collect();
    let rate = raw.rate.as_deref().map(rate::parse).transpose();
    Ok(Library {
        offline: serving.offline || offline.unwrap_or(false),
        hf_endpoint: hf_endpoint.transpose()?,
        mirrors: mirrors?,
        rate_bytes_per_s: rate.map_err(|why| format!("[library] rate: {why}"))?,
        connections: raw.connections.map(connections).transpose()?,
    })
}

/// The address of a server. Whether anybody is there is seen when it is asked.
fn web_address(key: &str, text: String) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let host = ["https://", "http://"].iter().find_map(|scheme| lower.strip_prefix(scheme));
    if host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) {
        return Ok(text);
    }
    Err(format!(
        "[library] {key}: '{text}' is no address of a server; write for example https://hf-mirror.com"
    ))
}

fn connections(count: u32) -> Result<usize, String> {
    match usize::try_from(count) {
        Ok(count) if (1..=PULL_CONNECTIONS_MAX).contains(&count) => Ok(count),
        Ok(_) | Err(_) => {
            Err(format!("[library] connections is {count}; write 1 to {PULL_CONNECTIONS_MAX}"))
        }
    }
}
