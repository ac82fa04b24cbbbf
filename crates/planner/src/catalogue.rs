//! The models that people run, known without asking anybody: shapes, quantizations, file sizes.
//!
//! `catalogue/catalogue.toml` holds the figures and where they come from. From them and from
//! [`crate::tensors`] and [`crate::recipe`] follow the headers of files that nobody has downloaded
//! yet. Finding files on the internet is `library`'s business.

mod entry;
mod mix;
mod raw;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

pub use entry::{Entry, Kind, Quantization};

/// How many near names an error offers.
const SUGGESTIONS_MAX: usize = 3;
/// Names less alike than this (Jaro-Winkler, 0 to 1) are no suggestions.
const LIKENESS_MIN: f64 = 0.75;

static BUILTIN: LazyLock<Catalogue> = LazyLock::new(|| {
    let text = include_str!("catalogue/catalogue.toml");
    Catalogue::parse(text).expect("the built-in catalogue is read by the tests")
});

/// The catalogue that comes with the program.
#[must_use]
pub fn builtin() -> &'static Catalogue {
    &BUILTIN
}

/// Models by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

/// Why the catalogue has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// No model of that name.
    #[error("no model `{name}` in the catalogue; {nearest}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What is there instead.
        nearest: String,
    },
    /// The model is there, but not in that quantization.
    #[error("`{model}` has no quantization `{name}`; there are: {available}")]
    Quantization {
        /// The model.
        model: String,
        /// What was asked for.
        name: String,
        /// Those there are.
        available: String,
    },
    /// The model is no GGUF file that llama.cpp could load.
    #[error("`{model}` is not a GGUF model: {note}")]
    NoHeader {
        /// The model.
        model: String,
        /// What it is.
        note: String,
    },
    /// The figures of an entry do not give tensors.
    #[error("the catalogue's entry `{model}` is wrong")]
    Tensors {
        /// The model.
        model: String,
        /// What is wrong.
        #[source]
        source: crate::tensors::Error,
    },
    /// The text is not a catalogue.
    #[error("the catalogue cannot be read: {why}")]
    Unreadable {
        /// Where and why.
        why: String,
    },
}

impl Catalogue {
    /// Reads a catalogue in the form of `catalogue.toml`.
    ///
    /// # Errors
    /// A key or value that the form does not have, with its place; a name that appears twice; an
    /// entry that refers to none before it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { entries: raw::entries(text)? })
    }

    /// All models, in the order of the file: families together, small before large.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The model that `name` means, in any case; `:` may stand for the last `-` of sizes, as in
    /// `qwen3:8b`.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the nearest names.
    pub fn find(&self, name: &str) -> Result<&Entry, Error> {
        let wanted = name.to_ascii_lowercase().replace(':', "-");
        let found = self.entries.iter().find(|entry| entry.name == wanted);
        found
            .ok_or_else(|| Error::Unknown { name: name.to_owned(), nearest: self.nearest(&wanted) })
    }

    fn nearest(&self, wanted: &str) -> String {
        let likeness = |entry: &Entry| strsim::jaro_winkler(&entry.name, wanted);
        let mut near: Vec<(f64, &str)> = self
            .entries
            .iter()
            .map(|entry| (likeness(entry), entry.name.as_str()))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .collect();
        near.sort_by(|left, right| right.0.total_cmp(&left.0));
        near.truncate(SUGGESTIONS_MAX);
        if near.is_empty() {
            return "`resident plan` without a model lists all there are".to_owned();
        }
        let names: Vec<String> = near.iter().map(|(_, name)| format!("`{name}`")).collect();
        format!("did you mean {}?", names.join(", "))
    }
}
