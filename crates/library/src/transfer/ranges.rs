//! Ranges of a file: what is there, what is missing.

use std::{collections::BTreeMap, ops::Range};

/// Bytes of a file, as ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// One range, or nothing if that is empty.
    pub(super) fn of(range: Range<u64>) -> Self {
        let mut ranges = Self::default();
        ranges.insert(range);
        ranges
    }

    /// Adds a range, whatever of it is there already.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        while let Some((&other, &other_end)) = self.0.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            (start, end) = (start.min(other), end.max(other_end));
            self.0.remove(&other);
        }
        self.0.insert(start, end);
    }

    /// Takes a range out, as much of it as is there.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        let Range { start, end } = range;
        if start >= end {
            return;
        }
        while let Some((&other, &other_end)) = self.0.range(..end).next_back() {
            if other_end <= start {
                break;
            }
            self.0.remove(&other);
            if other < start {
                self.0.insert(other, start);
            }
            if other_end > end {
                self.0.insert(end, other_end);
            }
        }
    }

    /// Takes the first bytes out, at most `bytes` and in one piece.
    pub(super) fn take_first(&mut self, bytes: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.0.first_key_value()?;
        let taken = start..end.min(start.saturating_add(bytes));
        self.remove(taken.clone());
        Some(taken)
    }

    /// How far the file is there from its beginning on.
    pub(super) fn prefix(&self) -> u64 {
        self.0.get(&0).copied().unwrap_or(0)
    }

    /// Where the last one ends.
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }

    /// How many bytes these are.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a file of `whole` bytes has besides these.
    pub(super) fn missing(&self, whole: u64) -> Self {
        let mut missing = Self::of(0..whole);
        for (&start, &end) in &self.0 {
            missing.remove(start..end);
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The same as a list of bits.
        #[test]
        fn as_if_each_byte_were_noted(
            steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..12), 0..60),
        ) {
            let (mut ranges, mut bits) = (Ranges::default(), [false; 64]);
            for (is_added, start, bytes) in steps {
                let range = start..start + bytes;
                bits[start as usize..(start + bytes) as usize].fill(is_added);
                if is_added { ranges.insert(range) } else { ranges.remove(range) }
                let of = |ranges: &Ranges| -> Vec<bool> {
                    (0..64).map(|at| ranges.0.iter().any(|(&from, &to)| (from..to).contains(&at))).collect()
                };
                prop_assert_eq!(of(&ranges), bits.to_vec());
                prop_assert_eq!(ranges.bytes(), bits.iter().filter(|bit| **bit).count() as u64);
                prop_assert_eq!(ranges.prefix(), bits.iter().take_while(|bit| **bit).count() as u64);
                let missing: Vec<bool> = bits.iter().map(|bit| !bit).collect();
                prop_assert_eq!(of(&ranges.missing(64)), missing);
                let ends: Vec<(u64, u64)> = ranges.0.clone().into_iter().collect();
                prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", ends);
            }
        }
    }

    #[test]
    fn the_first_bytes_are_taken_piece_by_piece() {
        let mut ranges = Ranges::of(5..20);
        ranges.insert(30..31);
        assert_eq!(ranges.take_first(10), Some(5..15));
        assert_eq!(ranges.take_first(10), Some(15..20));
        assert_eq!(ranges.take_first(10), Some(30..31));
        assert_eq!(ranges.take_first(10), None);
        assert!(ranges.is_empty());
    }
}
