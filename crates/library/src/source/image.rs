//! The name of a model in a registry: where it is, what it is called, and its tag.

use std::fmt;

use reqwest::Url;

use super::LATEST;
use crate::{
    limits::{IMAGE_NAME_CHARACTERS_MAX, IMAGE_STEPS_MAX},
    outside::is_loopback,
};

/// What stands before such a name.
pub(super) const PREFIX: &str = "ollama:";
/// Where models are whose server nobody names.
const OLLAMA_HOST: &str = "registry.ollama.ai";
/// The namespace of Ollama's own models.
const LIBRARY: &str = "library";

const WRONG: &str = "does not name a model of a registry; write ollama:NAME:TAG, ollama:NAMESPACE/NAME:TAG or \
     ollama:HOST/NAMESPACE/NAME:TAG";
const PLAIN: &str = "names a server that is reached without encryption, so that anybody on the way could change \
     the model; http:// is for servers on this machine";

/// A model in a registry, as container registries name images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The registry; without it, Ollama's, wherever that is configured to be.
    server: Option<Url>,
    /// What it is called there: `library/qwen3`.
    repository: String,
    tag: String,
}

impl Image {
    /// Reads `[http[s]://][HOST[:PORT]/][NAMESPACE/]NAME[:TAG]`. As with container tools, the first part is a host
    /// when there is a dot or a port in it.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some(_) => return Err(WRONG),
            None => (None, text),
        };
        let (host, path) = match rest.split_once('/') {
            Some((first, path)) if scheme.is_some() || is_host(first) => (Some(first), path),
            Some(_) | None => (None, rest),
        };
        if scheme.is_some() && host.is_none() {
            return Err(WRONG);
        }
        let server = host
            .filter(|host| scheme.is_some() || !host.eq_ignore_ascii_case(OLLAMA_HOST))
            .map(|host| server(scheme, host))
            .transpose()?;
        let (name, tag) = path.rsplit_once(':').unwrap_or((path, LATEST));
        let steps: Vec<&str> = name.split('/').collect();
        let is_named = steps.len() <= IMAGE_STEPS_MAX && steps.iter().all(|step| is_step(step));
        // Without a host, three parts would begin with one that has no dot.
        if !is_named || !is_step(tag) || host.is_none() && steps.len() > 2 {
            return Err(WRONG);
        }
        let is_library = server.is_none() && steps.len() == 1;
        let repository = if is_library { format!("{LIBRARY}/{name}") } else { name.to_owned() };
        Ok(Self { server, repository, tag: tag.to_owned() })
    }

    /// The registry, if one is named that is not Ollama's.
    pub(crate) fn server(&self) -> Option<&Url> {
        self.server.as_ref()
    }

    /// The steps of its path on the server.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &str> {
        self.repository.split('/')
    }

    /// What it is called in its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }

    /// Its tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Its tag, unless that goes without saying.
    #[must_use]
    pub fn own_tag(&self) -> Option<&str> {
        (self.tag != LATEST).then_some(&*self.tag)
    }

    /// It as Ollama's users write it, without what goes without saying: `qwen3:8b`, `me/mine`,
    /// `registry.example/me/mine:q4`.
    #[must_use]
    pub fn short(&self) -> String {
        let own = self.repository.strip_prefix(LIBRARY).and_then(|rest| rest.strip_prefix('/'));
        let tag = self.own_tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        match &self.server {
            None => format!("{}{tag}", own.unwrap_or(&self.repository)),
            Some(server) => format!("{}/{}{tag}", authority(server), self.repository),
        }
    }
}

/// As it can be written again.
impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match &self.server {
            // What a host alone would not say.
            Some(url) if (url.scheme() == "http") != is_loopback(url) => {
                format!("{}://", url.scheme())
            }
            Some(_) | None => String::new(),
        };
        write!(f, "{PREFIX}{scheme}{}", self.short())
    }
}

/// Host and port.
fn authority(server: &Url) -> String {
    let host = server.host_str().unwrap_or_default();
    server.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_host(text: &str) -> bool {
    let is_begun = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    is_begun && (text.contains(['.', ':']) || text.eq_ignore_ascii_case("localhost"))
}

/// The address of a registry. One on this machine is reached without encryption, unless said otherwise.
fn server(scheme: Option<&str>, host: &str) -> Result<Url, &'static str> {
    let is_written_well = |url: &Url| {
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        is_bare && url.username().is_empty() && url.password().is_none() && url.has_host()
    };
    let url = |scheme: &str| {
        let url = Url::parse(&format!("{scheme}://{host}")).ok();
        url.filter(is_written_well).ok_or(WRONG)
    };
    let is_here = is_loopback(&url("http")?);
    match scheme {
        Some("http") if !is_here => Err(PLAIN),
        Some(scheme) => url(scheme),
        None => url(if is_here { "http" } else { "https" }),
    }
}

/// A part of a name or a tag. It is never anything but one step of a path.
fn is_step(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() <= IMAGE_NAME_CHARACTERS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(is_allowed)
}
