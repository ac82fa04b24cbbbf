//! A file that comes in pieces, for whoever reads it as one.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

/// Pieces as one file. Reading waits for the next, so it is done where blocking is allowed.
pub(super) struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Pieces {
    /// Reads these until no more come.
    pub(super) fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { pieces, current: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(into.len());
        self.current.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_as_one_file() {
        let (sender, pieces) = mpsc::channel(8);
        for piece in ["", "ab", "", "cde", "f"] {
            sender.try_send(Bytes::from(piece)).unwrap();
        }
        drop(sender);
        let mut read = String::new();
        Pieces::new(pieces).read_to_string(&mut read).unwrap();
        assert_eq!(read, "abcdef");
    }
}
