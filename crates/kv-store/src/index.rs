//! Which entries of one model there are, and what of them serves a run of tokens. Pure.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::format::Cut;
use crate::key::{Key, Kind, common, link};
use crate::limits::BLOCK_TOKENS;
use crate::settings::Need;

/// Where an entry belongs. In this order, those with the longest beginning in common are beside
/// each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) parent: Key,
    pub(crate) kind: Kind,
    pub(crate) tokens: Arc<[u32]>,
}

/// One entry, wherever its bytes are.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    /// See `census::Counted::rank`.
    pub(crate) rank: u32,
    /// Bytes of the state itself.
    pub(crate) bytes: u64,
    /// Where they may be taken apart; not known of what is only in a file, which says it itself.
    pub(crate) cuts: Arc<[Cut]>,
    /// Whether there is a file.
    pub(crate) on_ssd: bool,
    /// Whether it was ever restored.
    pub(crate) reused: bool,
}

impl Entry {
    pub(crate) fn blocks_before(&self) -> u32 {
        self.rank / 2
    }
}

/// The rank of an entry.
pub(crate) fn rank(kind: Kind, blocks_before: u32) -> u32 {
    match kind {
        Kind::Cells => blocks_before * 2,
        Kind::State => blocks_before * 2 + 1,
    }
}

/// What serves some tokens: entries in order, and how many tokens of each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) tokens: usize,
    pub(crate) entries: Vec<(Key, usize)>,
}

/// All entries of a model.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: HashMap<Key, Entry>,
    places: BTreeMap<Place, Key>,
    /// Full blocks by the link of the chain that they make.
    links: HashMap<Key, Key>,
}

impl Index {
    pub(crate) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    pub(crate) fn insert(&mut self, key: Key, entry: Entry) {
        if let Some(made) = made_link(&entry) {
            self.links.insert(made, key);
        }
        self.places.insert(entry.place.clone(), key);
        self.entries.insert(key, entry);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        let Some(entry) = self.entries.remove(&key) else { return };
        if let Some(made) = made_link(&entry) {
            self.links.remove(&made);
        }
        self.places.remove(&entry.place);
    }

    /// The full block that makes this link.
    pub(crate) fn block(&self, link: Key) -> Option<Key> {
        self.links.get(&link).copied()
    }

    /// The full blocks that an entry comes after, the first one first; none when one is missing.
    pub(crate) fn before(&self, entry: &Entry) -> Option<Vec<Key>> {
        let mut before = Vec::new();
        let mut link = entry.place.parent;
        for _ in 0..entry.blocks_before() {
            let block = self.block(link)?;
            before.push(block);
            link = self.entries.get(&block)?.place.parent;
        }
        before.reverse();
        Some(before)
    }

    /// The longest prefix of these tokens that can be restored; `chain[i]` is the link after `i`
    /// full blocks of them.
    pub(crate) fn serving(&self, need: Need, tokens: &[u32], chain: &[Key]) -> Serving {
        match need {
            Need::Cells => self.cells(tokens, chain),
            Need::CellsAndState => {
                let cells = self.cells(tokens, chain);
                let Some(state) = self.state(&tokens[..cells.tokens], chain) else {
                    return Serving::default();
                };
                let mut serving = Serving { tokens: state.0, entries: Vec::new() };
                for (block, (key, usable)) in cells.entries.into_iter().enumerate() {
                    let left = state.0.saturating_sub(block * BLOCK_TOKENS).min(usable);
                    if left > 0 {
                        serving.entries.push((key, left));
                    }
                }
                serving.entries.push((state.1, state.0 % BLOCK_TOKENS));
                serving
            }
            Need::State => self.state(tokens, chain).map_or_else(Serving::default, |(end, key)| {
                Serving { tokens: end, entries: vec![(key, end % BLOCK_TOKENS)] }
            }),
        }
    }

    /// The cells of the longest prefix that has them: full blocks, then the one that shares most.
    fn cells(&self, tokens: &[u32], chain: &[Key]) -> Serving {
        let mut serving = Serving::default();
        for link in &chain[1..] {
            let Some(key) = self.block(*link) else { break };
            serving.tokens += BLOCK_TOKENS;
            serving.entries.push((key, BLOCK_TOKENS));
        }
        let rest = &tokens[serving.tokens..];
        let rest = &rest[..rest.len().min(BLOCK_TOKENS)];
        let parent = chain[serving.tokens / BLOCK_TOKENS];
        if let Some((key, usable)) = self.nearest(parent, Kind::Cells, rest) {
            serving.tokens += usable;
            serving.entries.push((key, usable));
        }
        serving
    }

    /// The state after the longest prefix that has one, and how long that prefix is.
    fn state(&self, tokens: &[u32], chain: &[Key]) -> Option<(usize, Key)> {
        (0..=tokens.len() / BLOCK_TOKENS).rev().find_map(|blocks| {
            let begin = blocks * BLOCK_TOKENS;
            let rest = &tokens[begin..tokens.len().min(begin + BLOCK_TOKENS - 1)];
            let (key, length) = self.prefixes(chain[blocks], Kind::State, rest).next()?;
            // An empty prefix needs no restoring.
            (begin + length > 0).then_some((begin + length, key))
        })
    }

    /// The entry with this parent that shares most with these tokens, if any shares one.
    fn nearest(&self, parent: Key, kind: Kind, tokens: &[u32]) -> Option<(Key, usize)> {
        let at = Place { parent, kind, tokens: tokens.into() };
        let below = self.places.range(..=&at).next_back();
        let above = self.places.range(&at..).next();
        below
            .into_iter()
            .chain(above)
            .filter(|(place, _)| place.parent == parent && place.kind == kind)
            .map(|(place, key)| (*key, common(&place.tokens, tokens)))
            .filter(|(_, shared)| *shared > 0)
            .max_by_key(|(_, shared)| *shared)
    }

    /// All entries with this parent whose tokens these begin with, the longest first.
    pub(crate) fn prefixes<'a>(
        &'a self,
        parent: Key,
        kind: Kind,
        tokens: &'a [u32],
    ) -> impl Iterator<Item = (Key, usize)> + 'a {
        let mut bound = Some(Bound::Included(tokens.len()));
        std::iter::from_fn(move || {
            loop {
                // Whatever sorts below a run of tokens shares with it at most what the nearest does.
                let end = match bound.take()? {
                    Bound::Included(length) => {
                        Bound::Included(Place { parent, kind, tokens: tokens[..length].into() })
                    }
                    Bound::Excluded(length) => {
                        Bound::Excluded(Place { parent, kind, tokens: tokens[..length].into() })
                    }
                    Bound::Unbounded => return None,
                };
                let (place, key) = self.places.range((Bound::Unbounded, end)).next_back()?;
                if place.parent != parent || place.kind != kind {
                    return None;
                }
                let shared = common(&place.tokens, tokens);
                if shared == place.tokens.len() {
                    bound = Some(Bound::Excluded(shared));
                    return Some((*key, shared));
                }
                bound = Some(Bound::Included(shared));
            }
        })
    }

    /// The entry of cells with this parent that begins with these tokens; one that has a file if any has.
    pub(crate) fn covering(&self, parent: Key, tokens: &[u32]) -> Option<Key> {
        let at = Place { parent, kind: Kind::Cells, tokens: tokens.into() };
        let covers = |place: &Place| {
            place.parent == parent && place.kind == Kind::Cells && place.tokens.starts_with(tokens)
        };
        let mut covering =
            self.places.range(&at..).take_while(|(place, _)| covers(place)).map(|(_, key)| *key);
        let first = covering.next()?;
        let on_ssd = |key: &Key| self.get(*key).is_some_and(|entry| entry.on_ssd);
        Some(std::iter::once(first).chain(covering).find(on_ssd).unwrap_or(first))
    }
}

/// The link that a full block of cells makes.
fn made_link(entry: &Entry) -> Option<Key> {
    let place = &entry.place;
    let is_full = place.kind == Kind::Cells && place.tokens.len() == BLOCK_TOKENS;
    is_full.then(|| link(place.parent, &place.tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_covered_by_cells_that_have_a_file_if_any_have() {
        let parent = Key([0; 32]);
        let mut index = Index::default();
        let mut add = |number: u8, tokens: &[u32], on_ssd| {
            let place = Place { parent, kind: Kind::Cells, tokens: tokens.into() };
            let rank = rank(Kind::Cells, 0);
            let entry = Entry { place, rank, bytes: 1, cuts: [].into(), on_ssd, reused: false };
            index.insert(Key([number; 32]), entry);
        };
        add(1, &[1, 2], false);
        add(2, &[1, 2, 3], true);
        add(3, &[1, 3], true);
        let covering = |tokens: &[u32]| index.covering(parent, tokens);
        assert_eq!(covering(&[1, 2]), Some(Key([2; 32])));
        assert_eq!(covering(&[1]), Some(Key([2; 32])), "the first of those");
        assert_eq!(covering(&[1, 2, 3, 4]), None);
        index.get_mut(Key([2; 32])).unwrap().on_ssd = false;
        assert_eq!(
            index.covering(parent, &[1, 2]),
            Some(Key([1; 32])),
            "the nearest, without a file"
        );
    }
}
