//! One file that lies elsewhere: where it can be had, and what is known of it before it is there.
//!
//! `sources` find them, `transfer` brings them here.

use std::fmt;

use reqwest::Url;

use crate::digest::{Hasher, Sha256};

/// What stands before the hash of an address.
const ADDRESS: &str = "address-";

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

/// What tells a file that is on its way from all others: its digest, or the hash of its first address. Files with the
/// same key come once. It says nothing of an address, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(String);

impl Wanted {
    /// What it is known by while it is on its way.
    #[must_use]
    pub fn key(&self) -> Key {
        let address = || hashed(self.addresses.first().map_or("", Url::as_str));
        Key(self.digest.map_or_else(|| format!("{ADDRESS}{}", address()), |digest| digest.hex()))
    }
}

impl Key {
    /// The key that `text` is, as [`Key::as_str`] gave it: never a path.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(ADDRESS).unwrap_or(text);
        let digest: Sha256 = digits.parse().ok()?;
        (digest.hex() == digits).then(|| Self(text.to_owned()))
    }

    /// It as text, which is plain enough for the name of a file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an address is known by where it must not be read again.
pub(crate) fn hashed(address: &str) -> String {
    let mut hasher = Hasher::new();
    hasher.update(address.as_bytes());
    hasher.finish().hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_again_and_nothing_else_is_one() {
        let address = Url::parse("https://me:s3cret@h/a?token=k3y").unwrap();
        let mut wanted =
            Wanted { addresses: vec![address], bytes: None, digest: None, name: "a".to_owned() };
        let by_address = wanted.key();
        wanted.digest = Some(Sha256::of([7; 32]));
        for key in [by_address, wanted.key()] {
            assert!(!key.as_str().contains("s3cret"), "{key}");
            assert_eq!(Key::of_text(key.as_str()), Some(key));
        }
        let hex = Sha256::of([0xab; 32]).hex();
        for text in
            ["", "..", "address-..", &hex.to_uppercase(), &format!("sha256:{hex}"), &hex[1..]]
        {
            assert_eq!(Key::of_text(text), None, "{text}");
        }
    }
}
