//! Another configuration while the hub listens: who may ask and which tools there are change at
//! once, the address does not.
//!
//! Not here: reading it (`resident`), and what it says of models (`supervisor`).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::guard::Guard;
use crate::routes::Site;
use crate::{BindError, Config, bind};

/// Someone wants the configuration to be read again. Answered with what the person should know when
/// it was taken, or why it is refused whole.
pub type ChangeAsked = oneshot::Sender<Result<Vec<String>, String>>;

/// Why another configuration cannot be taken while the hub listens.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The hub stays where its clients look for it.
    #[error(
        "listen is {wanted} now, and this hub was started for {address}; an address does not change \
         while the hub runs: restart it, or take that back"
    )]
    Listen {
        /// What it was started with.
        address: SocketAddr,
        /// What it should be.
        wanted: SocketAddr,
    },
    /// What would not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// The way to change who may ask and which tools there are while a server runs; clones share it.
#[derive(Clone)]
pub struct Door {
    site: Arc<Site>,
    /// What the server was told to listen on.
    listen: SocketAddr,
    /// Where it listens.
    address: SocketAddr,
}

impl fmt::Debug for Door {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Door").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Door {
    pub(crate) fn new(site: Arc<Site>, listen: SocketAddr, address: SocketAddr) -> Self {
        Self { site, listen, address }
    }

    /// Whether the server could go on with this configuration.
    ///
    /// # Errors
    /// [`ChangeError`] says what is in the way.
    pub fn check(&self, config: &Config) -> Result<(), ChangeError> {
        if config.listen != self.listen {
            return Err(ChangeError::Listen { address: self.listen, wanted: config.listen });
        }
        Ok(bind::refuse_open_door(config)?)
    }

    /// Goes on with this configuration, which was found good. Requests that are under way go on as
    /// they began.
    pub fn change(&self, config: Config) {
        self.site.put_guard(Guard::new(&config, self.address));
        self.site.tools.replace(config.tools);
        self.site.put_library(config.library);
    }
}
