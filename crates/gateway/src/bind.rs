//! Taking the port, or saying who has it.

use std::net::SocketAddr;

use supervisor::Handle;
use tokio::net::TcpListener;

use crate::{Config, Server};

/// Why the hub cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "port {} is taken{}; stop that program, or move with --listen {}:{}",
        .address.port(), by_whom(.by.as_deref()), .address.ip(), .address.port().wrapping_add(1)
    )]
    Taken {
        /// Where we wanted to listen.
        address: SocketAddr,
        /// Name and process id, if the system tells.
        by: Option<String>,
    },
    /// The address can be reached from outside, and that was not allowed.
    #[error(
        "{address} can be reached by other machines; to allow that, set a key (--key) and say \
         --allow-lan, or listen on 127.0.0.1"
    )]
    NotLoopback {
        /// Where we were told to listen.
        address: SocketAddr,
    },
    /// The system refuses.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Refused {
        /// Where we wanted to listen.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

fn by_whom(by: Option<&str>) -> String {
    by.map_or_else(String::new, |by| format!(" by {by}"))
}

/// Takes the port.
///
/// # Errors
/// [`BindError`] says who has it, or what else is in the way.
pub async fn bind(config: Config, hub: Handle) -> Result<Server, BindError> {
    let address = config.listen;
    refuse_open_door(&config)?;
    match TcpListener::bind(address).await {
        Ok(listener) => Server::new(config, hub, listener)
            .map_err(|source| BindError::Refused { address, source }),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let by = tokio::task::spawn_blocking(move || who_has(address)).await.ok().flatten();
            Err(BindError::Taken { address, by })
        }
        Err(source) => Err(BindError::Refused { address, source }),
    }
}

/// An address that others can reach needs a key, and the person's word.
pub(crate) fn refuse_open_door(config: &Config) -> Result<(), BindError> {
    let address = config.listen;
    let has_key = config.key.as_ref().is_some_and(|key| !key.is_empty());
    let may_be_reached = has_key && config.allow_lan;
    if address.ip().is_loopback() || may_be_reached {
        return Ok(());
    }
    Err(BindError::NotLoopback { address })
}

/// Name and process id of whoever listens on the port; other users' processes may be hidden.
fn who_has(address: SocketAddr) -> Option<String> {
    let listeners = listeners::get_all().ok()?;
    let listener = listeners.into_iter().find(|listener| {
        let theirs = listener.socket;
        theirs.port() == address.port()
            && (theirs.ip() == address.ip() || theirs.ip().is_unspecified())
    })?;
    Some(format!("{} (process {})", listener.process.name, listener.process.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let who = who_has(listener.local_addr().unwrap()).unwrap();
        assert!(who.contains(&format!("(process {})", std::process::id())), "{who}");
    }
}
