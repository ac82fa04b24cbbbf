//! Ports of this machine for programs that the hub starts: one that is free, and whether it is really
//! the program that listens there.
//!
//! Between the choice of a port and the program's own `bind` anybody may take it, by accident or to be
//! taken for the engine. The kernel knows who listens; one file per kind of system asks it.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

use std::{io, net::TcpListener};

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

/// Who listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody yet, or it is just changing.
    Nobody,
    /// The program that was started.
    Program,
    /// Somebody else.
    Other,
    /// The system does not say.
    Unknown,
}

/// A port that nobody has now.
///
/// # Errors
/// Why there is none, with the way out.
pub(super) fn free() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|error| format!("no port is free for it: {error}; close some other program"))
}

/// Whether somebody listens there, which after the end of the program is somebody else.
pub(super) fn is_taken(port: u16) -> bool {
    let bound = TcpListener::bind(("127.0.0.1", port));
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Who listens on a port of this machine, of the program whose processes descend from `root` and all
/// others. Walks all processes, so it is not done on the runtime's own threads.
pub(super) async fn owner(port: u16, root: Option<u32>) -> Owner {
    let Some(root) = root else { return Owner::Unknown };
    let looked = tokio::task::spawn_blocking(move || system::owner(port, root));
    looked.await.unwrap_or(Owner::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_taken_once_somebody_listens() {
        let port = free().unwrap();
        assert!(!is_taken(port));
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(is_taken(port));
    }
}
