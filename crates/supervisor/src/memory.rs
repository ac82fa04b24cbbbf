//! How much memory processes really hold. One file per kind of system, with one interface.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod other;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "macos")]
use macos as system;
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
use other as system;

use crate::process_tree;

/// Bytes that the process and all that descend from it hold now; `None` if it is gone or may not be
/// looked at. A descendant that ends meanwhile counts as nothing.
///
/// The kernel walks page tables for this, so it is not done on the runtime's own threads.
pub(crate) async fn tree_bytes(root: Option<u32>) -> Option<u64> {
    let root = root?;
    tokio::task::spawn_blocking(move || measured(root)).await.ok()?
}

fn measured(root: u32) -> Option<u64> {
    let own = system::process_bytes(root)?;
    let others = process_tree::descendants(root).into_iter().filter_map(system::process_bytes);
    Some(others.fold(own, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_tree_holds_more_than_its_root() {
        let this = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let alone = system::process_bytes(this);
        let both = measured(this);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(both > alone, "{both:?} and {alone:?}");
        assert_eq!(measured(u32::MAX), None);
    }
}
