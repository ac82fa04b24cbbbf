//! A place in the prefix that moves forward and never past the prefix, the file or the limit.

use super::{
    Error,
    limits::{HEADER_BYTES_MAX, TEXT_KEPT_BYTES_MAX},
};

pub(super) struct Cursor<'a> {
    prefix: &'a [u8],
    file_bytes: u64,
    position: u64,
    text_kept_bytes: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(prefix: &'a [u8], file_bytes: u64) -> Self {
        // A prefix longer than its file would let the checks below disagree.
        let len = prefix.len().min(usize::try_from(file_bytes).unwrap_or(usize::MAX));
        Self { prefix: &prefix[..len], file_bytes, position: 0, text_kept_bytes: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Fails unless `bytes` more can be read, without moving. `what` names them in the error.
    pub(super) fn require(&self, bytes: u64, what: impl Fn() -> String) -> Result<(), Error> {
        let end = self.position.saturating_add(bytes);
        if end > self.file_bytes {
            return Err(Error::Truncated { what: what(), end, file_bytes: self.file_bytes });
        }
        if end > HEADER_BYTES_MAX {
            let what = format!("the length of the header up to {}", what());
            return Err(Error::OverLimit { what, found: end, max: HEADER_BYTES_MAX });
        }
        if end > self.prefix.len() as u64 {
            return Err(Error::Incomplete { needed_bytes: end });
        }
        Ok(())
    }

    /// The next `bytes` bytes.
    pub(super) fn take(
        &mut self,
        bytes: u64,
        what: impl Fn() -> String,
    ) -> Result<&'a [u8], Error> {
        self.require(bytes, what)?;
        let end = self.position + bytes;
        // Both fit: `require` compared them with the length of a slice.
        let taken = &self.prefix[index(self.position)..index(end)];
        self.position = end;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(
        &mut self,
        what: impl Fn() -> String,
    ) -> Result<[u8; N], Error> {
        let taken = self.take(N as u64, what)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(taken);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: impl Fn() -> String) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: impl Fn() -> String) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A length and as many bytes, at most `bytes_max`.
    pub(super) fn text(
        &mut self,
        bytes_max: u64,
        what: impl Fn() -> String,
    ) -> Result<&'a [u8], Error> {
        let bytes = self.u64(&what)?;
        if bytes > bytes_max {
            let what = format!("the length of {}", what());
            return Err(Error::OverLimit { what, found: bytes, max: bytes_max });
        }
        self.take(bytes, what)
    }

    /// Passes over `count` texts. Vocabularies are most of a header, so this loop is most of the
    /// time of reading one: what is whole in the prefix is passed over without further checks.
    pub(super) fn skip_texts(
        &mut self,
        count: u64,
        what: impl Fn() -> String,
    ) -> Result<(), Error> {
        let known = &self.prefix[..self.prefix.len().min(index(HEADER_BYTES_MAX))];
        let mut at = index(self.position);
        for _ in 0..count {
            let length = known.get(at..).and_then(|rest| rest.first_chunk());
            let end = length.and_then(|length| {
                let behind = (at as u64) + length.len() as u64;
                behind.checked_add(u64::from_le_bytes(*length))
            });
            match end {
                Some(end) if end <= known.len() as u64 => at = index(end),
                // One way to fail for all texts.
                Some(_) | None => {
                    self.position = at as u64;
                    self.text(u64::MAX, &what)?;
                    at = index(self.position);
                }
            }
        }
        self.position = at as u64;
        Ok(())
    }

    /// Counts text that is about to be kept. Fails when all of it together is too much.
    pub(super) fn count_kept(
        &mut self,
        bytes: u64,
        what: impl Fn() -> String,
    ) -> Result<(), Error> {
        self.text_kept_bytes = self.text_kept_bytes.saturating_add(bytes);
        if self.text_kept_bytes > TEXT_KEPT_BYTES_MAX {
            let what = format!("the length of all text up to {}", what());
            let found = self.text_kept_bytes;
            return Err(Error::OverLimit { what, found, max: TEXT_KEPT_BYTES_MAX });
        }
        Ok(())
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
