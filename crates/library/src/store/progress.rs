//! How far something has come that takes long.

use std::ops::ControlFlow;

/// How far the work at one file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file, by the name that people know.
    pub what: &'a str,
    /// Bytes of it that are done.
    pub done_bytes: u64,
    /// Bytes that it has.
    pub whole_bytes: u64,
}

/// What is told how far it is, and says whether it shall go on.
pub type Watcher<'a> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + 'a;
