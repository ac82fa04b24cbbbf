//! The lock of a folder, and the two numbers that its file holds for all who share the folder: how
//! often it was changed, and how many bytes were written today.
//!
//! The numbers lie in two slots that take turns, each with its checksum, so that a write that is cut
//! leaves the other one. They are written before what they announce is done: a process that dies in
//! between has announced too much, and never too little.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use twox_hash::XxHash3_128;

use crate::disk::{Disk, Locked};
use crate::limits::{LOCK_POLL, LOCK_WAIT};

/// Three numbers and a checksum.
const SLOT_BYTES: usize = 40;
const NUMBERS_BYTES: usize = 24;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the lock's file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ledger {
    /// One more with each change of the folder.
    pub(crate) generation: u64,
    /// The day that is counted, in days since 1970.
    pub(crate) day: u64,
    /// Bytes written on that day.
    pub(crate) written_bytes: u64,
}

impl Ledger {
    fn slot(self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        let numbers = [self.generation, self.day, self.written_bytes];
        for (place, number) in slot.chunks_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = XxHash3_128::oneshot(&slot[..NUMBERS_BYTES]);
        slot[NUMBERS_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        slot
    }

    /// The newest valid slot; a file without any is new.
    fn read(file: &[u8]) -> Self {
        let slots = file.chunks_exact(SLOT_BYTES).filter_map(|slot| {
            let number = |at: usize| -> Option<u64> {
                Some(u64::from_le_bytes(slot.get(at..at + 8)?.try_into().ok()?))
            };
            let ledger =
                Self { generation: number(0)?, day: number(8)?, written_bytes: number(16)? };
            (ledger.slot() == slot).then_some(ledger)
        });
        slots.max_by_key(|ledger| ledger.generation).unwrap_or_default()
    }
}

/// The folder's lock, held until this is dropped.
pub(crate) struct Hold {
    lock: Box<dyn Locked>,
    pub(crate) ledger: Ledger,
}

impl Hold {
    /// Waits for the lock, but not for ever, and only while `goes_on` says so.
    pub(crate) fn take(
        disk: &dyn Disk,
        path: &Path,
        goes_on: &dyn Fn() -> bool,
    ) -> io::Result<Self> {
        let mut waited = Duration::ZERO;
        let mut lock = loop {
            if let Some(lock) = disk.try_lock(path)? {
                break lock;
            }
            if waited >= LOCK_WAIT || !goes_on() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{} is held by another process", path.display()),
                ));
            }
            std::thread::sleep(LOCK_POLL);
            waited += LOCK_POLL;
        };
        let mut ledger = Ledger::read(&lock.read(2 * SLOT_BYTES as u64)?);
        let today = disk.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let today = today.as_secs() / DAY.as_secs();
        // A clock that was set back does not give a day twice.
        if today > ledger.day {
            (ledger.day, ledger.written_bytes) = (today, 0);
        }
        Ok(Self { lock, ledger })
    }

    /// Announces a change of the folder, of which so many bytes are written.
    pub(crate) fn announce(&mut self, bytes: u64) -> io::Result<()> {
        let mut next = self.ledger;
        next.generation += 1;
        next.written_bytes = next.written_bytes.saturating_add(bytes);
        let at = next.generation % 2 * SLOT_BYTES as u64;
        self.lock.write(at, &next.slot())?;
        self.ledger = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_announcement_leaves_the_one_before() {
        let before = Ledger { generation: 7, day: 20_000, written_bytes: 5 };
        let after = Ledger { generation: 8, day: 20_000, written_bytes: 900 };
        let older = Ledger { generation: 6, ..before };
        for written in 0..SLOT_BYTES {
            let mut file = [older.slot(), before.slot()].concat();
            file[..written].copy_from_slice(&after.slot()[..written]);
            assert_eq!(Ledger::read(&file), before, "torn at byte {written}");
        }
        assert_eq!(Ledger::read(&[after.slot(), before.slot()].concat()), after);
        assert_eq!(Ledger::read(&[]), Ledger::default());
        assert_eq!(Ledger::read(&[0; 2 * SLOT_BYTES]), Ledger::default());
    }
}
