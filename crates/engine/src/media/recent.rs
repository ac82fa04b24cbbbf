//! What was used last, up to a number of bytes.

use std::collections::VecDeque;

/// What a thing is known by: the digest of a file, and a part of it.
pub(super) type Key = ([u8; 32], usize);

/// Things by what they are of. There are few, so that looking through them is quicker than an index.
pub(super) struct Recent<V> {
    /// The one used last is at the end.
    entries: VecDeque<(Key, V, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl<V: Clone> Recent<V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<V> {
        let place = self.entries.iter().position(|(known, _, _)| known == key)?;
        let entry = self.entries.remove(place)?;
        let value = entry.1.clone();
        self.entries.push_back(entry);
        Some(value)
    }

    /// Adds what is not there yet, and lets go of what was not used longest. The last one stays whatever
    /// its size, since it is about to be used.
    pub(super) fn put(&mut self, key: Key, value: V, bytes: usize) {
        self.bytes += bytes;
        self.entries.push_back((key, value, bytes));
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            let Some((_, _, bytes)) = self.entries.pop_front() else { return };
            self.bytes -= bytes;
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_within_the_bytes_there_may_be() {
        let key = |name: u8| ([name; 32], 0);
        let mut recent = Recent::new(100);
        for name in 0..3 {
            recent.put(key(name), name, 33);
        }
        assert_eq!(recent.get(&key(0)), Some(0));
        recent.put(key(3), 3, 40);
        let left = [0, 1, 2, 3].map(|name| recent.get(&key(name)));
        assert_eq!(left, [Some(0), None, None, Some(3)]);
        recent.put(key(4), 4, 1000);
        assert_eq!([3, 4].map(|name| recent.get(&key(name))), [None, Some(4)], "the last one");
        recent.put(key(5), 5, 100);
        assert_eq!([4, 5].map(|name| recent.get(&key(name))), [None, Some(5)]);
        recent.clear();
        assert_eq!(recent.get(&key(5)), None);
    }
}
