//! Numbers that look random and are the same on every machine (splitmix64, by its published constants).

use std::ops::Range;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The stream of this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of these.
    pub(super) fn within(&mut self, range: Range<usize>) -> usize {
        let width = range.len() as u64;
        assert!(width > 0, "nothing to choose from in {range:?}");
        range.start + usize::try_from(self.next() % width).unwrap()
    }

    /// Yes in one of so many cases.
    pub(super) fn one_in(&mut self, cases: usize) -> bool {
        self.within(0..cases) == 0
    }

    /// So many tokens.
    pub(super) fn tokens(&mut self, count: usize, vocabulary: u32) -> Vec<u32> {
        let token = |random: &mut Self| random.within(0..vocabulary as usize);
        (0..count).map(|_| u32::try_from(token(self)).unwrap()).collect()
    }
}
