//! What people write to name a model that lies elsewhere, as Resident's and Ollama's users write it.
//!
//! Not here: asking anybody whether there is such a model (`sources`).

mod image;
#[cfg(test)]
mod tests;

use std::fmt;

use reqwest::Url;

pub use image::Image;

use crate::{
    outside::{is_loopback, shown},
    sources::Error,
};

/// What Ollama's users write before a repository of Hugging Face.
const HUGGING_FACE_HOSTS: [&str; 2] = ["hf.co", "huggingface.co"];
/// What stands before the name of a model of Ollama's registry, written with its host.
const OLLAMA_HOST_STEP: &str = "registry.ollama.ai/";
/// The tag that means no other.
const LATEST: &str = "latest";

/// A model that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A model in a repository of Hugging Face or ModelScope, or of a server that speaks like one of them.
    Repository {
        /// The repository.
        repository: Repository,
        /// A file in it, or a quantization; without it, whatever there is.
        pick: Option<String>,
    },
    /// A model of Ollama's registry, or of any that speaks as container registries do.
    Registry(Image),
    /// One file on any web server. Of a split model, any part.
    Address(Address),
}

/// Who speaks to us about a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hub {
    /// `hf:`
    HuggingFace,
    /// `ms:`
    ModelScope,
}

/// A hub's repository: its owner and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    hub: Hub,
    owner: String,
    name: String,
}

/// The address of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub(crate) Url);

impl Source {
    /// What `text` means: `hf:OWNER/REPO`, with `:Q4_K_M` or `:file.gguf` behind it or without, the same with `ms:`;
    /// `hf.co/OWNER/REPO` and `huggingface.co/OWNER/REPO`; `ollama:NAME:TAG`, `ollama:NAMESPACE/NAME:TAG` and
    /// `ollama:HOST/NAMESPACE/NAME:TAG`; the web address of a file. `None` when it is none of these, but a name
    /// or a path.
    ///
    /// # Errors
    /// [`Error::Source`] when it begins like one of them and then makes no sense.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, Error>> {
        if let Some(rest) = text.strip_prefix(Hub::HuggingFace.prefix()) {
            return Some(repository(text, Hub::HuggingFace, rest));
        }
        if let Some(rest) = text.strip_prefix(Hub::ModelScope.prefix()) {
            return Some(repository(text, Hub::ModelScope, rest));
        }
        if let Some(rest) = text.strip_prefix(image::PREFIX) {
            // Ollama's users name repositories of Hugging Face so.
            return Some(of_hugging_face(text, rest).unwrap_or_else(|| image(text, rest)));
        }
        if text.starts_with(OLLAMA_HOST_STEP) {
            return Some(image(text, text));
        }
        if let Some(source) = of_hugging_face(text, text) {
            return Some(source);
        }
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        let is_web = lower.starts_with("http://") || lower.starts_with("https://");
        is_web.then(|| address(text))
    }

    /// The repository and what is picked of it, if it is one.
    #[must_use]
    pub fn as_repository(&self) -> Option<(&Repository, Option<&str>)> {
        match self {
            Self::Repository { repository, pick } => Some((repository, pick.as_deref())),
            Self::Registry(_) | Self::Address(_) => None,
        }
    }
}

/// As it can be written again, but for what is secret in an address.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { repository, pick: Some(pick) } => write!(f, "{repository}:{pick}"),
            Self::Repository { repository, pick: None } => repository.fmt(f),
            Self::Registry(image) => image.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Hub {
    /// What stands before the repository.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::HuggingFace => "hf:",
            Self::ModelScope => "ms:",
        }
    }

    /// The branch that a repository is read at, unless a commit of it is known.
    pub(crate) fn branch(self) -> &'static str {
        match self {
            Self::HuggingFace => "main",
            Self::ModelScope => "master",
        }
    }
}

/// A repository of Hugging Face as Ollama's users write it: `hf.co/OWNER/REPO:Q4_K_M`.
fn of_hugging_face(text: &str, rest: &str) -> Option<Result<Source, Error>> {
    let (host, rest) = rest.split_once('/')?;
    let is_meant = HUGGING_FACE_HOSTS.iter().any(|known| known.eq_ignore_ascii_case(host));
    // Every name has a tag to Ollama, and its clients write this one where the user wrote none.
    let rest = rest.strip_suffix(&format!(":{LATEST}")).unwrap_or(rest);
    is_meant.then(|| repository(text, Hub::HuggingFace, rest))
}

fn repository(text: &str, hub: Hub, rest: &str) -> Result<Source, Error> {
    let (place, pick) = match rest.split_once(':') {
        Some((place, pick)) => (place, Some(pick.to_owned())),
        None => (rest, None),
    };
    let is_pick = |pick: &str| !pick.is_empty() && !pick.contains(char::is_control);
    let repository = place
        .split_once('/')
        .filter(|(owner, name)| is_name(owner) && is_name(name))
        .filter(|_| pick.as_deref().is_none_or(is_pick))
        .map(|(owner, name)| Repository { hub, owner: owner.to_owned(), name: name.to_owned() });
    match repository {
        Some(repository) => Ok(Source::Repository { repository, pick }),
        None => {
            let prefix = hub.prefix();
            Err(Error::Source {
                text: text.to_owned(),
                why: format!(
                    "does not name a repository; write {prefix}OWNER/REPO, {prefix}OWNER/REPO:Q4_K_M or \
                     {prefix}OWNER/REPO:file.gguf"
                ),
            })
        }
    }
}

fn image(text: &str, rest: &str) -> Result<Source, Error> {
    let image = Image::parse(rest);
    image
        .map(Source::Registry)
        .map_err(|why| Error::Source { text: text.to_owned(), why: why.to_owned() })
}

fn address(text: &str) -> Result<Source, Error> {
    let wrong = |why: String| Error::Source { text: text.to_owned(), why };
    let url = Url::parse(text).map_err(|error| wrong(format!("is no web address: {error}")))?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(wrong(
            "is not encrypted, so that anybody on the way could change the model; write https:// \
             (http:// is for servers on this machine)"
                .to_owned(),
        ));
    }
    Ok(Source::Address(Address(url)))
}

/// What hubs allow in names. It also keeps them from being anything but one step of a path.
fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(is_allowed) && !text.starts_with('.')
}

impl Repository {
    /// Whose it is.
    #[must_use]
    pub fn hub(&self) -> Hub {
        self.hub
    }

    /// Its name, without its owner.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The steps of its path on a server.
    pub(crate) fn steps(&self) -> [&str; 2] {
        [&self.owner, &self.name]
    }
}

/// As people write it: `hf:OWNER/REPO`.
impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", self.hub.prefix(), self.owner, self.name)
    }
}

/// Without password and query, which may hold secrets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}
