//! What a file says, as the store keeps it: around a passage, or from a passage of a file on.
//!
//! Nothing here opens a file. Whoever asks gets what was read into a collection, and never anything else that a path
//! may lead to.

use std::path::{Path, PathBuf};

use super::{Base, Error};
use crate::{
    chunk::Piece,
    document::Role,
    limits::READ_BYTES_MAX,
    store::{File, Found, State},
};

/// What is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// A passage, with so many before and after it.
    Around {
        /// Its number.
        passage: u64,
        /// How many on either side.
        neighbours: u32,
    },
    /// Passages of a file.
    File {
        /// The collection; the first that has the file where none is named.
        collection: Option<&'a str>,
        /// Where the file is.
        path: &'a Path,
        /// Which passage is the first, from 0.
        first: u32,
        /// How many.
        limit: u32,
    },
}

/// Passages of a file that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The passages, in the order of the file; at least one.
    pub passages: Vec<Found>,
    /// What they say together. Where one repeats the end of the one before, that is here once.
    pub text: String,
    /// How many passages the file has.
    pub of: u32,
}

impl Base {
    /// Reads of a file what the store has, as many passages as are wanted and fit into
    /// [`READ_BYTES_MAX`], at least one.
    ///
    /// # Errors
    /// [`Error::Gone`] and [`Error::NoFile`] where there is nothing of it, [`Error::NotRead`] where the file could not
    /// be read, [`Error::Behind`] where it has fewer passages; and when the store cannot be read.
    pub fn read(&self, which: Which<'_>) -> Result<Reading, Error> {
        let (passages, of, wanted) = match which {
            Which::Around { passage, neighbours } => {
                let around = self.store.neighbours(passage, neighbours, neighbours)?;
                let wanted = around.iter().position(|found| found.id == passage);
                let wanted = wanted.ok_or(Error::Gone { passage })?;
                (around, None, wanted)
            }
            Which::File { collection, path, first, limit } => {
                let file = self.file(collection, path)?;
                let of = file.passages;
                let passages = self.store.passages_in(file.id, first, limit)?;
                if passages.is_empty() {
                    return Err(match file.state {
                        State::Skipped(why) => Error::NotRead { path: file.path, why },
                        State::Stored | State::Indexed => {
                            Error::Behind { path: file.path, first, of }
                        }
                    });
                }
                (passages, Some(of), 0)
            }
        };
        let passages = bounded(passages, wanted);
        let of = match (of, passages.first()) {
            (Some(of), _) => of,
            (None, first) => first.map_or(Ok(0), |found| self.store.passages_count(found.file))?,
        };
        let text = joined(&passages);
        Ok(Reading { passages, text, of })
    }

    /// The file at a path, as one of the collections has it.
    fn file(&self, collection: Option<&str>, path: &Path) -> Result<File, Error> {
        let collections = match collection {
            Some(name) => vec![self.store.collection(name)?],
            None => self.store.collections()?,
        };
        let mut unread = None;
        for collection in &collections {
            match self.store.file_at(collection.id, path)? {
                Some(file) if file.passages > 0 => return Ok(file),
                Some(file) => unread = unread.or(Some(file)),
                None => {}
            }
        }
        unread.ok_or_else(|| Error::NoFile {
            path: PathBuf::from(path),
            collection: collection.map(str::to_owned),
        })
    }
}

/// As many of the passages as may be read at once, the one that is `wanted` among them.
fn bounded(mut passages: Vec<Found>, mut wanted: usize) -> Vec<Found> {
    let mut bytes: usize = passages.iter().map(|found| found.text.len()).sum();
    while bytes > READ_BYTES_MAX && passages.len() > 1 {
        // What is farther away is missed less.
        let behind = passages.len() - 1 - wanted;
        let left_out = if wanted > behind {
            wanted -= 1;
            passages.remove(0)
        } else {
            passages.remove(passages.len() - 1)
        };
        bytes -= left_out.text.len();
    }
    passages
}

/// What passages that follow each other say together.
fn joined(passages: &[Found]) -> String {
    let mut text = String::new();
    let mut before: Option<&Piece> = None;
    for found in passages {
        let (between, known) = match (before, found.pieces.first()) {
            (Some(last), Some(next)) => seam(last, next),
            (Some(_), None) => ("\n\n", 0),
            (None, _) => ("", 0),
        };
        text.push_str(between);
        // The words of one part are cut between characters, so this always is a place between two.
        text.push_str(found.text.get(known..).unwrap_or(&found.text));
        before = found.pieces.last().or(before);
    }
    text
}

/// What stands between two pieces that follow each other, and how many bytes of the second the first has said already.
fn seam(last: &Piece, next: &Piece) -> (&'static str, usize) {
    let length = |piece: &Piece| piece.text.end.saturating_sub(piece.text.start);
    if last.part == next.part {
        let end = last.at.saturating_add(length(last));
        let known = end.saturating_sub(next.at).min(length(next));
        // What a cut leaves out is the space between two words or sentences.
        return (if next.at > end { " " } else { "" }, known as usize);
    }
    let is_line = |piece: &Piece| matches!(piece.role, Role::Row | Role::Item);
    (if is_line(last) && is_line(next) { "\n" } else { "\n\n" }, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Inside, Place};

    /// A passage of one piece, which begins at a byte of a part.
    fn passage(id: u64, text: &str, part: u32, at: u32, role: Role) -> Found {
        let place = Place { inside: Inside::Whole, bytes: None };
        let piece = Piece { text: 0..text.len() as u32, part, at, role, place };
        Found {
            id,
            collection: "files".to_owned(),
            file: 1,
            path: "/a.md".into(),
            kind: "md".to_owned(),
            modified_ns: 0,
            title: None,
            ordinal: id as u32 - 1,
            text: text.to_owned(),
            context: String::new(),
            headings: Vec::new(),
            pieces: vec![piece],
            tokens: 1,
        }
    }

    #[test]
    fn what_two_passages_share_is_said_once() {
        let part = "One. 二二。Three. Four.";
        let second = part.find('二').unwrap();
        let passages = [
            passage(1, &part[..second + "二二。".len()], 0, 0, Role::Paragraph),
            passage(2, &part[second..], 0, second as u32, Role::Paragraph),
        ];
        assert_eq!(joined(&passages), part);
        // Also where the first that is read begins in the middle of its part.
        let three = part.find("Three").unwrap();
        let passages =
            [passages[1].clone(), passage(3, &part[three..], 0, three as u32, Role::Paragraph)];
        assert_eq!(joined(&passages), &part[second..]);
    }

    #[test]
    fn rows_are_lines_and_paragraphs_stand_apart() {
        let passages = [
            passage(1, "a: 1", 0, 0, Role::Row),
            passage(2, "a: 2", 1, 0, Role::Row),
            passage(3, "Below.", 2, 0, Role::Paragraph),
            passage(4, "Cut", 3, 0, Role::Paragraph),
            passage(5, "here.", 3, 4, Role::Paragraph),
        ];
        assert_eq!(joined(&passages), "a: 1\na: 2\n\nBelow.\n\nCut here.");
    }

    #[test]
    fn the_wanted_passage_stays_whatever_its_neighbours_weigh() {
        let heavy = "x".repeat(READ_BYTES_MAX / 2);
        let all: Vec<Found> =
            (1..=5).map(|id| passage(id, &heavy, id as u32, 0, Role::Paragraph)).collect();
        for wanted in 0..5 {
            let left = bounded(all.clone(), wanted);
            assert!(left.contains(&all[wanted]) && left.len() == 2, "{wanted}");
        }
        let one = passage(1, &"x".repeat(2 * READ_BYTES_MAX), 0, 0, Role::Paragraph);
        assert_eq!(bounded(vec![one.clone()], 0), [one]);
    }
}
