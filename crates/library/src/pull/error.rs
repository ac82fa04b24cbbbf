//! Why a model does not come, each with the way out.

use crate::{
    name::Name,
    sources, store,
    transfer::{self, MayPass as _},
};

/// Why a model did not come. What came of it is kept, and the next pull goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source does not have it, or cannot be asked.
    #[error(transparent)]
    Source(#[from] sources::Error),
    /// A file did not come, or there is no room for it.
    #[error(transparent)]
    Transfer(#[from] transfer::Error),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Somebody removes its files as fast as they come.
    #[error(
        "model '{name}': its files were removed {times} times while it was pulled; see what else works in the library, and pull it again"
    )]
    Vanishing {
        /// The model.
        name: Name,
        /// How often.
        times: u32,
    },
}

impl Error {
    /// Whether the same pull may go well later without anybody's doing: servers or the network could not be reached,
    /// or nothing is to be asked of them now.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Source(sources::Error::Outside(error))
            | Self::Transfer(transfer::Error::Outside(error)) => {
                error.may_pass() || error.is_offline()
            }
            Self::Source(error) => error.may_pass(),
            Self::Transfer(_) | Self::Store(_) | Self::Vanishing { .. } => false,
        }
    }
}
