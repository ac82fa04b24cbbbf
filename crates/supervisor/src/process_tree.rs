//! Who descends from a process. One file per kind of system, with one interface.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
use linux::parents;
#[cfg(not(target_os = "linux"))]
use other::parents;

/// All that descend from `root`, without itself, in no order. A process that is started while this
/// looks may be missed; look again after those that were found are gone.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    below(root, &parents(root))
}

/// `parents` holds pairs of a process and its parent.
fn below(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = Vec::new();
    let mut look_at = vec![root];
    while let Some(parent) = look_at.pop() {
        for (child, _) in parents.iter().filter(|(_, its)| *its == parent) {
            // A table that changes while it is read may hold a circle.
            if *child != root && !found.contains(child) {
                found.push(*child);
                look_at.push(*child);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_generations_are_found_and_nobody_else() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 6), (1, 0)];
        let mut found = below(2, &parents);
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
        assert_eq!(below(7, &parents), [0; 0]);
    }

    #[test]
    fn a_circle_has_an_end() {
        let mut found = below(1, &[(2, 1), (3, 2), (2, 3), (1, 3), (1, 1)]);
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
    }

    #[cfg(unix)]
    #[test]
    fn a_child_of_this_process_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(std::process::id()).contains(&child.id()));
    }
}
