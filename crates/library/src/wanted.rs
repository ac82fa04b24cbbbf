//! One file that lies elsewhere: where it can be had, and what is known of it before it is there.
//!
//! `sources` find them, `transfer` brings them here.

use reqwest::Url;

use crate::digest::Sha256;

/// A file that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it can be had, best first. They stay as they are; each may lead to one that is signed for a while.
    pub addresses: Vec<Url>,
    /// Its length, if its source says that.
    pub bytes: Option<u64>,
    /// What its content hashes to, if its source says that.
    pub digest: Option<Sha256>,
    /// What it is called in messages.
    pub name: String,
}
