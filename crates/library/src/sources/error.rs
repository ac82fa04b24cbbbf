//! What can go wrong with a model that lies elsewhere, each with the way out.

use std::time::Duration;

use planner::gguf::{self, split};

use crate::{
    digest::Sha256,
    limits::{NAMES_TOLD_MAX, TOLD_CHARACTERS_MAX},
    outside,
    transfer::MayPass,
};

/// Why a model that lies elsewhere could not be found, or its header not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be asked, or refused.
    #[error(transparent)]
    Outside(#[from] outside::Error),
    /// Text that names nothing that could be read.
    #[error("'{text}' {why}")]
    Source {
        /// What was written.
        text: String,
        /// What is wrong with it, and what to write.
        why: String,
    },
    /// Bytes that come too slowly to be waited for.
    #[error("what is known of the model did not arrive within {} s; try again over a faster line", wait.as_secs_f64())]
    Slow {
        /// How long it was waited for.
        wait: Duration,
    },
    /// Lengths that contradict each other.
    #[error("{url}: {what}; the server, or a proxy before it, cannot be relied on")]
    Lengths {
        /// What was asked for.
        url: String,
        /// Which lengths.
        what: String,
    },
    /// More than may be downloaded to plan a model.
    #[error(
        "{url} needs more than the {limit_bytes} bytes that planning may download; download the \
         file and plan it from there"
    )]
    Limit {
        /// What was asked for.
        url: String,
        /// The bound.
        limit_bytes: u64,
    },
    /// A list of files that cannot be understood.
    #[error("{url}: the list of files cannot be read: {why}")]
    List {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// An answer that cannot be what it should be.
    #[error("{url}: the answer cannot be used: {why}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// What a registry says of a model cannot be used.
    #[error("{image}: its manifest cannot be used: {why}")]
    Manifest {
        /// What was asked for, as people write it.
        image: String,
        /// What is wrong with it, and the way out if there is one.
        why: String,
    },
    /// Content that is not what it is called.
    #[error(
        "{url} has the digest {found} and should have {expected}; the server, or a proxy before it, cannot be relied on"
    )]
    Digest {
        /// What was asked for.
        url: String,
        /// What it should be.
        expected: Sha256,
        /// What it is.
        found: Sha256,
    },
    /// A file beside a model, named as if it were one.
    #[error("{repository}: {name} is {what}, and no model; name the model that it belongs to")]
    Companion {
        /// Owner and name of the repository.
        repository: String,
        /// The file's name.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// A repository without models.
    #[error(
        "{repository} has no GGUF files; look for a repository of the same model whose name ends \
         in -GGUF"
    )]
    NoModel {
        /// Its owner and name.
        repository: String,
    },
    /// Nothing there is called so.
    #[error("{repository} has no model '{}'; it has {}", brief(wanted), list(found))]
    NotThere {
        /// Its owner and name.
        repository: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// More than one model could be meant.
    #[error("{repository} has several models; name one, as in {repository}:{}; there are {}", found.first().map(|name| brief(name)).unwrap_or_default(), list(found))]
    Several {
        /// Its owner and name.
        repository: String,
        /// What to write for each.
        found: Vec<String>,
    },
    /// A header that cannot be used.
    #[error("{name}: {error}")]
    Header {
        /// Name of the file.
        name: String,
        /// What is wrong with it.
        error: gguf::Error,
    },
    /// Parts that do not make one model.
    #[error("{name}: {error}")]
    Split {
        /// Name of the file.
        name: String,
        /// What is wrong with them.
        error: split::Error,
    },
}

impl MayPass for Error {
    fn may_pass(&self) -> bool {
        match self {
            Self::Outside(error) => error.may_pass(),
            Self::Slow { .. } => true,
            Self::Source { .. }
            | Self::Lengths { .. }
            | Self::Limit { .. }
            | Self::List { .. }
            | Self::Answer { .. }
            | Self::Manifest { .. }
            | Self::Digest { .. }
            | Self::Companion { .. }
            | Self::NoModel { .. }
            | Self::NotThere { .. }
            | Self::Several { .. }
            | Self::Header { .. }
            | Self::Split { .. } => false,
        }
    }

    fn after(&self) -> Option<Duration> {
        match self {
            Self::Outside(error) => error.after(),
            Self::Slow { .. }
            | Self::Source { .. }
            | Self::Lengths { .. }
            | Self::Limit { .. }
            | Self::List { .. }
            | Self::Answer { .. }
            | Self::Manifest { .. }
            | Self::Digest { .. }
            | Self::Companion { .. }
            | Self::NoModel { .. }
            | Self::NotThere { .. }
            | Self::Several { .. }
            | Self::Header { .. }
            | Self::Split { .. } => None,
        }
    }
}

/// The first of these names, and how many more there are: a hub may have tens of thousands.
fn list(names: &[String]) -> String {
    let told: Vec<String> = names.iter().take(NAMES_TOLD_MAX).map(|name| brief(name)).collect();
    match names.len() - told.len() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

/// A name that somebody else gave, not longer than a person reads.
fn brief(name: &str) -> String {
    match name.char_indices().nth(TOLD_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_some_are_told() {
        let found = |names: usize| -> String {
            let found = (0..names).map(|at| format!("{at}-{}", "x".repeat(100_000))).collect();
            Error::Several { repository: "hf:o/r".to_owned(), found }.to_string()
        };
        assert!(!found(NAMES_TOLD_MAX).contains("more"));
        let message = found(NAMES_TOLD_MAX + 3);
        assert!(message.ends_with("… and 3 more") && message.len() < 10_000, "{message}");
        let found = vec!["Q8_0".to_owned(), "Q4_0".to_owned()];
        let (repository, wanted) = ("hf:o/r".to_owned(), "F16".repeat(100_000));
        let message = Error::NotThere { repository, wanted, found }.to_string();
        assert!(message.ends_with("…'; it has Q8_0, Q4_0") && message.len() < 1_000, "{message}");
    }
}
