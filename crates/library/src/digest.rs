//! SHA-256 of a file: what a blob is called by, and what tells that it arrived whole.
//!
//! Hashing itself is `ring`'s, which knows the instructions that processors have for it. Not here: reading files.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What stands before the digits, as container registries write it.
const ALGORITHM: &str = "sha256:";

/// A SHA-256, written `sha256:` and 64 small hexadecimal digits.
///
/// The only way from a text to one is [`FromStr`], so what is made into a file's name is never
/// anything but digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

/// A text that is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no digest; one is written sha256: and 64 hexadecimal digits")]
pub struct NoDigest {
    /// What was given, its beginning if it is long.
    pub text: String,
}

impl Sha256 {
    /// The digest with these bytes.
    #[must_use]
    pub fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 64 digits, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
    }

    /// Its first twelve digits, which people tell blobs apart by.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl FromStr for Sha256 {
    type Err = NoDigest;

    /// Reads `sha256:…` or the digits alone, small or capital.
    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let wrong = || NoDigest { text: text.chars().take(80).collect() };
        let digits = text.strip_prefix(ALGORITHM).unwrap_or(text).as_bytes();
        if digits.len() != 64 {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |of: u8| char::from(of).to_digit(16).ok_or_else(wrong);
            // Two digits make at most 255.
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Content that comes piece by piece.
#[derive(Clone)]
pub struct Hasher(ring::digest::Context);

impl Hasher {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        let mut bytes = [0; 32];
        // Both have 32 bytes; anything else would be another algorithm's.
        bytes.copy_from_slice(self.0.finish().as_ref());
        Sha256(bytes)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::new();
        // FIPS 180-2, appendix B.2.
        for piece in ["abcdbcdecdefdefgefgh", "", "fghighijhijkijkljklmklmnlmnomnopnopq"] {
            hasher.update(piece.as_bytes());
        }
        let expected = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
        assert_eq!(hasher.finish().hex(), expected);
    }

    #[test]
    fn written_and_read_again() {
        let digest = Sha256::of(std::array::from_fn(|at| u8::try_from(at * 8).unwrap()));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.hex().to_uppercase().parse(), Ok(digest));
        assert_eq!(digest.short(), "000810182028");
    }

    #[test]
    fn anything_else_is_none() {
        let digits = "a".repeat(64);
        for text in [
            "",
            "sha256:",
            &digits[1..],
            &format!("{digits}a"),
            &format!("sha512:{digits}"),
            &format!("sha256:../{}", &digits[3..]),
            &format!("sha256-{digits}"),
            &"é".repeat(32),
            &format!("{}+f", &digits[2..]),
        ] {
            assert!(text.parse::<Sha256>().is_err(), "{text}");
        }
    }
}
