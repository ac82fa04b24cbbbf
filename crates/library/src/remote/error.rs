//! What can go wrong with a model that lies elsewhere, each with the way out.

use std::time::Duration;

use planner::gguf::{self, split};

use crate::outside;
/// Why a model's header could not be read from elsewhere.
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
    #[error("the header did not arrive within {} s; try again over a faster line", wait.as_secs_f64())]
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
    #[error("{repository} has no model '{wanted}'; it has {}", found.join(", "))]
    NotThere {
        /// Its owner and name.
        repository: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// More than one model could be meant.
    #[error("{repository} has several models; name one, as in hf:{repository}:{}; there are {}", found.first().map_or("", String::as_str), found.join(", "))]
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
