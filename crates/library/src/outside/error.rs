//! What can go wrong between here and a server, each with the way out.

use std::{error::Error as _, time::Duration};

use reqwest::{StatusCode, Url};

use crate::transfer::MayPass;

/// Why a server could not be asked, or what it refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The user wants nothing to leave this machine.
    #[error(
        "{url} is not asked for, because offline is set; take it out of the configuration (or RESIDENT_OFFLINE) to reach servers"
    )]
    Offline {
        /// What would have been asked for.
        url: String,
    },
    /// A setting that cannot be used.
    #[error("{name} is '{value}', which {why}")]
    Setting {
        /// The environment variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it, and what to write.
        why: &'static str,
    },
    /// The system gives no TLS, or no sockets.
    #[error("cannot prepare to connect: {why}")]
    Client {
        /// What it said.
        why: String,
    },
    /// No connection.
    #[error("cannot reach {url}: {why}; check the address and the network")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// A connection on which nothing more comes.
    #[error("{url}: the server sent nothing for {} s; try again later", wait.as_secs_f64())]
    Silent {
        /// What was asked for.
        url: String,
        /// How long it was waited for.
        wait: Duration,
    },
    /// Redirects that are not followed.
    #[error("{url}: {why}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Why not.
        why: String,
    },
    /// The connection broke.
    #[error("{url}: the answer broke off: {why}; try again")]
    Broken {
        /// What was asked for.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// The server said no.
    #[error("{url}: the server answered {status}: {way_out}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The status, for example 404.
        status: u16,
        /// How long the server wants to be left alone.
        after: Option<Duration>,
        /// What it means, and what to do.
        way_out: String,
    },
}

impl Error {
    /// Whether this is so because nothing is to be asked of anybody.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Offline { .. })
    }
}

impl MayPass for Error {
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Offline { .. }
            | Self::Setting { .. }
            | Self::Client { .. }
            | Self::Redirect { .. } => false,
        }
    }

    fn after(&self) -> Option<Duration> {
        match self {
            Self::Refused { after, .. } => *after,
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Broken { .. }
            | Self::Offline { .. }
            | Self::Setting { .. }
            | Self::Client { .. }
            | Self::Redirect { .. } => None,
        }
    }
}

/// How long a server wants to be left alone, as its `Retry-After` says: seconds, or until a date. Source: RFC 9110,
/// section 10.2.3.
pub(crate) fn after(said: &str) -> Option<Duration> {
    let said = said.trim();
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(said).ok()?;
    Some(until.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// An address for people: without password and query, which may hold secrets.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses without a host, which are never asked for.
    let _no_host = url.set_password(None);
    let _no_host = url.set_username("");
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// What a failed request, or a body that failed to come, means for a person.
pub(crate) fn of_request(url: &Url, error: &reqwest::Error, silence_max: Duration) -> Error {
    let url = shown(url);
    let why = root_cause(error);
    if error.is_redirect() {
        Error::Redirect { url, why }
    } else if error.is_connect() {
        let why = if error.is_timeout() { "it does not answer in time".to_owned() } else { why };
        Error::Unreachable { url, why }
    } else if error.is_timeout() {
        Error::Silent { url, wait: silence_max }
    } else {
        Error::Broken { url, why }
    }
}

/// The innermost message: the outer ones repeat the address.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    let mut inner = error.source();
    while let Some(next) = inner {
        cause = next;
        inner = next.source();
    }
    cause.to_string()
}

/// What an answer other than success means. `reason` is Hugging Face's own word for it, and
/// `retry_after` what the server says of waiting.
pub(crate) fn of_status(
    url: &Url,
    status: StatusCode,
    reason: Option<&str>,
    retry_after: Option<&str>,
) -> Error {
    let way_out = match (status.as_u16(), reason) {
        (300..=399, _) => "it is redirected to nowhere, or to what is no web address".to_owned(),
        (401 | 403, Some("GatedRepo")) => "its owner wants to be asked first; do that on its web \
            page, then set HF_TOKEN to a token of yours"
            .to_owned(),
        (401 | 403, _) if url.path().contains("/v2/") => {
            "it does not exist, or is private; check the \
            name (models that need an account at a registry cannot be pulled)"
                .to_owned()
        }
        (401, _) => {
            "it does not exist, or is private; check the name, or set HF_TOKEN (of ModelScope \
            MODELSCOPE_API_TOKEN) to a token that may read it"
                .to_owned()
        }
        (403, _) => {
            "it is not for everybody; set HF_TOKEN (of ModelScope MODELSCOPE_API_TOKEN) to a \
            token that may read it"
                .to_owned()
        }
        (404 | 410, _) => "it does not exist; check the name".to_owned(),
        (416, _) => "the file is shorter than a header; get it from another source".to_owned(),
        (429, _) => {
            let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok());
            let wait = seconds.map_or("later".to_owned(), |seconds| format!("in {seconds} s"));
            format!("it has too many requests; try again {wait}, or with a token in HF_TOKEN")
        }
        (500.., _) => "it has a problem of its own; try again later".to_owned(),
        _ => "this program does not know what to do with that".to_owned(),
    };
    let after = retry_after.and_then(after);
    Error::Refused { url: shown(url), status: status.as_u16(), after, way_out }
}
