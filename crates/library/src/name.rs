//! What a model is called on this machine. A name is never a path: it is looked for among names.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::NAME_CHARACTERS_MAX;

/// What Ollama's clients add to a name that has no tag; it means the same model.
const LATEST: &str = ":latest";

/// A model's name: parts of `A-Z a-z 0-9 . _ - : + @`, a letter or digit first in each, with slashes
/// between, as in `qwen3-8b`, `qwen3:8b` or `hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M`.
///
/// Names that differ in capitals alone are one, because some file systems think so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text that cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' cannot be a model's name: use 1 to {NAME_CHARACTERS_MAX} of A-Z a-z 0-9 . _ - : + @, \
     a letter or digit first, with slashes between parts"
)]
pub struct NoName {
    /// What was given, its beginning if it is long.
    pub text: String,
}

impl Name {
    /// The name that `text` is, without a `:latest` behind it.
    ///
    /// # Errors
    /// [`NoName`] when it cannot be one.
    pub fn new(text: &str) -> Result<Self, NoName> {
        let name = text.strip_suffix(LATEST).unwrap_or(text);
        let is_part = |part: &str| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-:+@".contains(c);
            part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(is_allowed)
        };
        if name.len() <= NAME_CHARACTERS_MAX && name.split('/').all(is_part) {
            Ok(Self(name.to_owned()))
        } else {
            Err(NoName { text: text.chars().take(NAME_CHARACTERS_MAX).collect() })
        }
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both mean the same model.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// It as the name of a file without an ending: `/` and `:`, which are no part of one on some
    /// system, become `%2F` and `%3A`.
    #[must_use]
    pub fn file_stem(&self) -> String {
        self.0.replace('/', "%2F").replace(':', "%3A")
    }

    /// The name whose [`Name::file_stem`] is `stem`.
    #[must_use]
    pub fn of_file_stem(stem: &str) -> Option<Self> {
        let name = Self::new(&stem.replace("%2F", "/").replace("%3A", ":")).ok()?;
        (name.file_stem() == stem).then_some(name)
    }
}

impl TryFrom<String> for Name {
    type Error = NoName;

    fn try_from(text: String) -> Result<Self, NoName> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, name, stem) in [
            ("qwen3-8b", "qwen3-8b", "qwen3-8b"),
            ("qwen3:8b", "qwen3:8b", "qwen3%3A8b"),
            ("llama3.2:latest", "llama3.2", "llama3.2"),
            ("hf.co/Q/R-GGUF:Q4_K_M", "hf.co/Q/R-GGUF:Q4_K_M", "hf.co%2FQ%2FR-GGUF%3AQ4_K_M"),
        ] {
            let found = Name::new(text).unwrap();
            assert_eq!((found.as_str(), found.file_stem().as_str()), (name, stem));
            assert_eq!(Name::of_file_stem(stem), Some(found));
        }
        assert!(Name::new("A:b").unwrap().is_same(&Name::new("a:B").unwrap()));
    }

    #[test]
    fn what_no_name_is_written_as_is_no_stem() {
        for stem in ["", "a%2f", "a%2Fb%3Alatest", "a:b", "a/b", "..", "%2Fa", "a%25"] {
            assert_eq!(Name::of_file_stem(stem), None, "{stem}");
        }
    }

    #[test]
    fn nothing_that_could_be_a_path_is_a_name() {
        for text in [
            "", "/", "a/", "/a", "a//b", "..", "../a", "a/../b", "a/.b", ".a", "-a", "a\\b", "a b",
            "a\0", "é", "a%2Fb", "C:/a/..", ":latest", "a\n",
        ] {
            assert!(Name::new(text).is_err(), "{text:?}");
        }
        assert!(Name::new(&"a".repeat(NAME_CHARACTERS_MAX + 1)).is_err());
    }
}
