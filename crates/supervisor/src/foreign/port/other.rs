//! macOS, Windows and the rest: not asked. There the key alone keeps others out.

use super::Owner;

pub(super) fn owner(_port: u16, _root: u32) -> Owner {
    Owner::Unknown
}
