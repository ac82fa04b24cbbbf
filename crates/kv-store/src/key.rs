//! Keys: what an entry depends on, and nothing else.
//!
//! `chain(0)` is the root, made from everything that shapes the cells of a model (its weights first
//! of all); `chain(i + 1)` covers one more block of tokens. An entry's key covers the chain before
//! it, its kind and its tokens. So an equal key means an equal prefix computed by an equal model.

use std::fmt;

use crate::limits::BLOCK_TOKENS;

/// Contexts that keep hashes for different purposes apart. They are part of the format.
const ROOT: &str = "resident kv-store 2026-11 root";
const CHAIN: &str = "resident kv-store 2026-11 chain";
const ENTRY: &str = "resident kv-store 2026-11 entry";
const BRANCH: &str = "resident kv-store 2026-11 branch";

/// A BLAKE3 hash: a root, a link of a chain, or the key of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The key that was shown as 64 hexadecimal digits, in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 64 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        // A sign is not a digit, but would pass the conversion.
        (is_ours && !text.contains('+')).then_some(Self(bytes))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first digits tell keys apart for a person.
        let mut text = self.to_string();
        text.truncate(8);
        formatter.write_str(&text)
    }
}

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Attention cells of 1 to 256 tokens that follow a chain of full blocks.
    Cells,
    /// The partial state (recurrent, or a window) exactly after these 0 to 255 tokens, which follow
    /// a chain of full blocks.
    State,
}

impl Kind {
    /// Tokens an entry of this kind may hold.
    #[must_use]
    pub fn tokens(self) -> std::ops::Range<usize> {
        match self {
            Self::Cells => 1..BLOCK_TOKENS + 1,
            Self::State => 0..BLOCK_TOKENS,
        }
    }

    /// How many full blocks are before the entry of this kind that ends a prefix of so many tokens.
    /// The cells of a full last block are an entry of their own; the state after it has no tokens.
    #[must_use]
    pub fn blocks_before(self, prefix_tokens: usize) -> usize {
        match self {
            Self::Cells => prefix_tokens.saturating_sub(1) / BLOCK_TOKENS,
            Self::State => prefix_tokens / BLOCK_TOKENS,
        }
    }
}

/// Collects everything the cells of a model depend on, each with a name; the order does not matter.
#[derive(Debug, Default, Clone)]
pub struct Fingerprint(Vec<(String, Vec<u8>)>);

impl Fingerprint {
    /// Adds one thing: the digest of the file, the types of the cache, an adapter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The root of all chains of a model with this fingerprint.
    #[must_use]
    pub fn root(mut self) -> Key {
        self.0.sort();
        let mut hasher = blake3::Hasher::new_derive_key(ROOT);
        hasher.update(&crate::format::VERSION.to_le_bytes());
        for (name, value) in &self.0 {
            for part in [name.as_bytes(), value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        Key(hasher.finalize().into())
    }
}

/// Where the chains of cells begin that the same model computes in another way. `chain(0)` of a model's own
/// is its root.
pub(crate) fn branch(root: Key, way: &[u8]) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(BRANCH);
    hasher.update(&root.0);
    hasher.update(way);
    Key(hasher.finalize().into())
}

/// The next link of a chain.
pub(crate) fn link(chain: Key, block: &[u32]) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(CHAIN);
    hasher.update(&chain.0);
    hasher.update(&token_bytes(block));
    Key(hasher.finalize().into())
}

/// The key of an entry.
pub(crate) fn entry(parent: Key, kind: Kind, tokens: &[u32]) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(ENTRY);
    hasher.update(&parent.0);
    hasher.update(&[crate::format::kind_byte(kind)]);
    hasher.update(&token_bytes(tokens));
    Key(hasher.finalize().into())
}

/// Tokens as they are hashed and stored: four bytes each, the lowest first.
pub(crate) fn token_bytes(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

/// Chains of the tokens asked about last, since the next question is mostly about the same ones and
/// a few more.
#[derive(Debug)]
pub(crate) struct Chains {
    tokens: Vec<u32>,
    /// `links[i]` is the chain after `i` full blocks.
    links: Vec<Key>,
}

impl Chains {
    pub(crate) fn new(root: Key) -> Self {
        Self { tokens: Vec::new(), links: vec![root] }
    }

    /// The chain after 0, 1, 2, ... full blocks of these tokens.
    pub(crate) fn of(&mut self, tokens: &[u32]) -> Vec<Key> {
        let full = tokens.len() / BLOCK_TOKENS;
        let same = common(&self.tokens, tokens) / BLOCK_TOKENS;
        self.tokens.truncate(same * BLOCK_TOKENS);
        self.links.truncate(same + 1);
        for block in tokens[same * BLOCK_TOKENS..full * BLOCK_TOKENS].chunks(BLOCK_TOKENS) {
            self.links.push(link(self.links[self.links.len() - 1], block));
            self.tokens.extend_from_slice(block);
        }
        self.links.clone()
    }
}

/// How many tokens two runs begin with in common.
pub(crate) fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_and_read_again() {
        let key = Fingerprint::default().root();
        assert_eq!(Key::parse(&key.to_string()), Some(key));
        for text in ["", "0", &"0".repeat(63), &"A".repeat(64), &"+1".repeat(32), &"g".repeat(64)] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    /// A name that runs into its value, or a value into the next name, must not look the same.
    #[test]
    fn every_part_of_a_fingerprint_counts_and_their_order_does_not() {
        let root = |parts: &[(&str, &str)]| {
            let all = Fingerprint::default();
            parts.iter().fold(all, |all, (name, value)| all.with(name, value)).root()
        };
        let one = root(&[("file", "ab"), ("types", "f16")]);
        assert_eq!(one, root(&[("types", "f16"), ("file", "ab")]));
        for other in [
            root(&[("file", "ab"), ("types", "q8_0")]),
            root(&[("fil", "eab"), ("types", "f16")]),
            root(&[("file", "ab")]),
            root(&[("file", "ab"), ("types", "f16"), ("adapter", "")]),
            root(&[("file", "f16"), ("types", "ab")]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn chains_that_are_remembered_are_those_that_are_computed() {
        let root = Fingerprint::default().root();
        let mut chains = Chains::new(root);
        let runs = [700, 300, 1024, 0, 255, 256].map(|length| vec![7; length]);
        let other: Vec<u32> = (0..800).map(|index| if index < 300 { 7 } else { index }).collect();
        for tokens in runs.iter().chain([&other, &runs[2], &other]) {
            let mut expected = vec![root];
            for block in tokens.chunks_exact(BLOCK_TOKENS) {
                expected.push(link(expected[expected.len() - 1], block));
            }
            assert_eq!(chains.of(tokens), expected);
        }
    }

    #[test]
    fn branches_never_share_a_chain() {
        let root = Fingerprint::default().root();
        let keys = [root, branch(root, b""), branch(root, b"1"), branch(branch(root, b""), b"1")];
        let mut different = keys.to_vec();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn kinds_never_share_a_key() {
        let root = Fingerprint::default().root();
        assert_ne!(entry(root, Kind::Cells, &[1]), entry(root, Kind::State, &[1]));
        assert_ne!(entry(root, Kind::Cells, &[1]), entry(root, Kind::Cells, &[1, 0]));
        assert_eq!(Kind::Cells.blocks_before(256), 0);
        assert_eq!(Kind::State.blocks_before(256), 1);
    }
}
