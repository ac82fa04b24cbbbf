//! What people write to name a model that lies elsewhere.

use std::fmt;

use reqwest::Url;

use super::Error;
use crate::outside::shown;

/// A model that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A model in a repository of Hugging Face, or of a server that speaks like it.
    Repository {
        /// The repository.
        repository: Repository,
        /// A file in it, or a quantization; without it, whatever there is.
        pick: Option<String>,
    },
    /// One file on any web server. Of a split model, any part.
    File(Address),
}

/// Owner and name of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
}

/// The address of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub(super) Url);

impl Source {
    /// What `text` means: `hf:OWNER/REPO`, `hf:OWNER/REPO:Q4_K_M`, `hf:OWNER/REPO:file.gguf`, or the
    /// web address of a file. `None` when it is none of these, but a name or a path.
    ///
    /// # Errors
    /// [`Error::Source`] when it begins like one of them and then makes no sense.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, Error>> {
        if let Some(rest) = text.strip_prefix("hf:") {
            return Some(repository(text, rest));
        }
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        let is_web = lower.starts_with("http://") || lower.starts_with("https://");
        is_web.then(|| {
            Url::parse(text).map(|url| Self::File(Address(url))).map_err(|error| Error::Source {
                text: text.to_owned(),
                why: format!("is no web address: {error}"),
            })
        })
    }
}

fn repository(text: &str, rest: &str) -> Result<Source, Error> {
    let (place, pick) = match rest.split_once(':') {
        Some((place, pick)) => (place, Some(pick.to_owned())),
        None => (rest, None),
    };
    let repository = place
        .split_once('/')
        .filter(|(owner, name)| is_name(owner) && is_name(name))
        .filter(|_| pick.as_deref() != Some(""))
        .map(|(owner, name)| Repository { owner: owner.to_owned(), name: name.to_owned() });
    match repository {
        Some(repository) => Ok(Source::Repository { repository, pick }),
        None => Err(Error::Source {
            text: text.to_owned(),
            why: "does not name a repository; write hf:OWNER/REPO, hf:OWNER/REPO:Q4_K_M or \
                  hf:OWNER/REPO:file.gguf"
                .to_owned(),
        }),
    }
}

/// What Hugging Face allows in names. It also keeps them from being anything but one step of a path.
fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(is_allowed) && !text.starts_with('.')
}

impl Repository {
    /// The steps of its path on a server.
    pub(super) fn steps(&self) -> [&str; 2] {
        [&self.owner, &self.name]
    }
}

/// Without password and query, which may hold secrets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, repository: &str, pick: Option<&str>) {
        let Some(Ok(Source::Repository { repository: found, pick: picked })) = Source::parse(text)
        else {
            panic!("{text} is a repository");
        };
        assert_eq!((found.to_string().as_str(), picked.as_deref()), (repository, pick));
    }

    #[test]
    fn repositories() {
        check("hf:Qwen/Qwen3-8B-GGUF", "Qwen/Qwen3-8B-GGUF", None);
        check("hf:a/b:Q4_K_M", "a/b", Some("Q4_K_M"));
        check(
            "hf:a_1/b.2:Q8_0/x-00001-of-00002.gguf",
            "a_1/b.2",
            Some("Q8_0/x-00001-of-00002.gguf"),
        );
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        let Some(Ok(Source::File(address))) = Source::parse("https://me:pw@h/a.gguf?key=s#x")
        else {
            panic!("an address");
        };
        assert_eq!(address.to_string(), "https://h/a.gguf");
    }

    #[test]
    fn names_and_paths_are_not_from_elsewhere() {
        for text in ["qwen3-8b", "a/b.gguf", "", "httpx://x", "https:", "常驻常驻常"] {
            assert!(Source::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_begins_right_and_goes_wrong_is_named() {
        for text in [
            "hf:",
            "hf:a",
            "hf:a/",
            "hf:/b",
            "hf:a/b/c",
            "hf:../b",
            "hf:a/b:",
            "hf:a /b",
            "hf:a/b?x",
            "https://",
            "http://[",
            "https://a b/c",
        ] {
            let message = Source::parse(text).unwrap().unwrap_err().to_string();
            assert!(message.starts_with(&format!("'{text}' ")), "{message}");
        }
    }
}
