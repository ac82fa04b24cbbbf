//! The hash of a file that is still coming: it follows what is there from the beginning on.
//!
//! What an earlier run left is compared with its checksum before it goes into the hash, so that a damaged piece is
//! fetched again and spoils nothing. It runs on a thread of its own, and ends with whoever holds its other side.

use std::{
    ops::Range,
    sync::{Arc, mpsc},
};

use twox_hash::xxhash3_128;

use super::{Error, journal::Pieces, keep::Keep};
use crate::{
    digest::{Hasher, Sha256},
    limits,
};

/// What the hash tells.
pub(super) enum Followed {
    /// So many bytes are hashed.
    Hashed(u64),
    /// These are not what their checksum says. It goes on when told of a prefix again.
    Damaged(Range<u64>),
    /// The hash of the whole.
    Whole(Sha256),
    /// The disk does not give what it took.
    Failed(Error),
}

/// What it is told.
pub(super) enum Told {
    /// So many bytes are there from the beginning on.
    Prefix(u64),
    /// The same, by one who knows what is damaged.
    Again(u64),
    /// The file ends here.
    End(u64),
}

/// Hashes the file in `keep` as far as it is told, `doubtful` pieces with care.
pub(super) fn follow(
    keep: &Arc<Keep>,
    doubtful: Pieces,
    tell: impl Fn(Followed) + Send + 'static,
) -> mpsc::Sender<Told> {
    let (sender, told) = mpsc::channel();
    let keep = Arc::clone(keep);
    tokio::task::spawn_blocking(move || {
        let mut follower = Follower {
            keep,
            doubtful,
            told,
            reach: 0,
            is_waiting: false,
            end: None,
            at: 0,
            hasher: Hasher::new(),
            buffer: vec![0; limits::HASH_BYTES],
        };
        match follower.run(&tell) {
            Ok(Some(digest)) => tell(Followed::Whole(digest)),
            Ok(None) => {}
            Err(error) => tell(Followed::Failed(error)),
        }
    });
    sender
}

struct Follower {
    keep: Arc<Keep>,
    doubtful: Pieces,
    told: mpsc::Receiver<Told>,
    /// How far the file is there.
    reach: u64,
    /// What was told before the damage was known counts no more.
    is_waiting: bool,
    end: Option<u64>,
    at: u64,
    hasher: Hasher,
    buffer: Vec<u8>,
}

impl Follower {
    /// The digest, or nothing when nobody wants it any more.
    fn run(&mut self, tell: &impl Fn(Followed)) -> Result<Option<Sha256>, Error> {
        let mut told_at = 0;
        loop {
            if self.end == Some(self.at) {
                return Ok(Some(std::mem::take(&mut self.hasher).finish()));
            }
            if !self.listen() {
                return Ok(None);
            }
            if let Some(damaged) = self.step()? {
                self.keep.remove(damaged.start)?;
                (self.is_waiting, self.reach) = (true, self.at);
                tell(Followed::Damaged(damaged));
            }
            if self.at - told_at >= limits::HASH_TOLD_BYTES {
                told_at = self.at;
                tell(Followed::Hashed(self.at));
            }
        }
    }

    /// Hears what there is to hear, and waits for it as long as there is nothing to do. Whether anybody is there.
    fn listen(&mut self) -> bool {
        loop {
            let heard = if self.next().is_empty() && self.end != Some(self.at) {
                self.told.recv().map_err(|_| mpsc::TryRecvError::Disconnected)
            } else {
                self.told.try_recv()
            };
            match heard {
                Ok(Told::Prefix(reach)) if !self.is_waiting => self.reach = reach,
                Ok(Told::Prefix(_)) => {}
                Ok(Told::Again(reach)) => (self.is_waiting, self.reach) = (false, reach),
                Ok(Told::End(end)) => self.end = Some(end),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// What can be hashed next: a doubtful piece in one go, anything else bit by bit.
    fn next(&self) -> Range<u64> {
        if let Some(piece) = self.doubtful.get(&self.at) {
            return if piece.end <= self.reach { self.at..piece.end } else { self.at..self.at };
        }
        let doubtful = self.doubtful.range(self.at..).next().map_or(u64::MAX, |(at, _)| *at);
        let bit = self.at + self.buffer.len() as u64;
        self.at..self.reach.min(doubtful).min(bit).max(self.at)
    }

    /// Hashes what is next, or says that it is damaged.
    fn step(&mut self) -> Result<Option<Range<u64>>, Error> {
        let range = self.next();
        let piece = self.doubtful.remove(&range.start);
        // A copy, which counts only if the sum is right.
        let (mut hasher, mut sum) = (self.hasher.clone(), xxhash3_128::Hasher::new());
        let mut at = range.start;
        while at < range.end {
            let bytes =
                self.buffer.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
            self.keep.read(&mut self.buffer[..bytes], at)?;
            hasher.update(&self.buffer[..bytes]);
            if piece.is_some() {
                sum.write(&self.buffer[..bytes]);
            }
            at += bytes as u64;
        }
        if piece.is_some_and(|piece| piece.sum != sum.finish_128()) {
            return Ok(Some(range));
        }
        (self.hasher, self.at) = (hasher, range.end);
        Ok(None)
    }
}
