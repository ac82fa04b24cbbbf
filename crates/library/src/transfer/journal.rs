//! What of a half pulled file is there: a file of lines, each with its own checksum, that only grows.
//!
//! Bytes are written before the line that says so, and the line has a checksum of them. A process that is killed
//! loses nothing of either, since the system has both. After a loss of power either may be missing: a torn line ends
//! the journal, and bytes that are not what their checksum says are fetched again, once the hash of the file comes
//! to them. So nothing is forced to disk before the end. Not here: the bytes themselves (`keep`).

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{digest::Hasher, limits, wanted::hashed};

/// What the first line says. Another version's journal is none.
const VERSION: u32 = 1;

/// What makes a file the same file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its length, once a server said it.
    pub(super) bytes: Option<u64>,
    /// What the first address is known by ([`hashed`]), since it may hold a password. By it validators are compared:
    /// others have their own.
    pub(super) address: String,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

impl Identity {
    /// Whether there is anything by which another file at the same address would be known.
    pub(super) fn has_mark(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    #[serde(flatten)]
    identity: Identity,
}

/// A part of the file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) end: u64,
    /// XXH3 of its bytes.
    pub(super) sum: u128,
}

/// The pieces that are there, by where they begin. None overlaps another.
pub(super) type Pieces = BTreeMap<u64, Piece>;

/// An open journal.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    identity: Identity,
    pieces: Pieces,
    lines: usize,
}

impl Journal {
    /// The journal at `path`, or a new one if there is none, or none that makes sense.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (identity, pieces) = parse(&text(path)?);
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let mut journal = Self { path: path.to_owned(), file, identity, pieces, lines: 0 };
        if !journal.pieces.is_empty() {
            // Without what is torn, and without what later lines made void.
            journal.write_anew()?;
        }
        Ok(journal)
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    /// Forgets everything: from now on it is about the file that `identity` means.
    pub(super) fn begin(&mut self, identity: Identity) -> io::Result<()> {
        self.identity = identity;
        self.pieces.clear();
        self.lines = 0;
        if self.file.metadata()?.len() > 0 {
            self.file.set_len(0)?;
        }
        self.append(&head(&self.identity))
    }

    /// The bytes of `range` are written. A piece that began there and ended earlier has grown.
    pub(super) fn add(&mut self, range: Range<u64>, sum: u128) -> io::Result<()> {
        self.append(&added(range.start, range.end, sum))?;
        self.pieces.insert(range.start, Piece { end: range.end, sum });
        if self.lines > 2 * self.pieces.len() + limits::JOURNAL_LINES_SPARE {
            self.write_anew()?;
        }
        Ok(())
    }

    /// What began at `start` is not there after all.
    pub(super) fn remove(&mut self, start: u64) -> io::Result<()> {
        self.append(&format!("x {start}"))?;
        self.pieces.remove(&start);
        Ok(())
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        self.lines += 1;
        self.file.write_all(sealed(line).as_bytes())
    }

    /// Writes all that holds to a new file, which then takes the place of this one.
    fn write_anew(&mut self) -> io::Result<()> {
        let mut text = sealed(&head(&self.identity));
        for (start, piece) in &self.pieces {
            text += &sealed(&added(*start, piece.end, piece.sum));
        }
        let new = self.path.with_extension("new");
        drop(std::fs::remove_file(&new));
        let mut file = OpenOptions::new().append(true).create_new(true).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)?;
        self.file = file;
        self.lines = self.pieces.len();
        Ok(())
    }
}

/// How many bytes the journal at `path` says are there. It may be somebody's who works on it.
pub(super) fn bytes(path: &Path) -> u64 {
    let pieces = text(path).map(|text| parse(&text).1).unwrap_or_default();
    pieces.iter().map(|(start, piece)| piece.end - start).sum()
}

/// What the journal at `path` says of the file.
pub(super) fn identity(path: &Path) -> Identity {
    text(path).map(|text| parse(&text).0).unwrap_or_default()
}

fn text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(limits::JOURNAL_BYTES_MAX).read_to_end(&mut text).map(|_| text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(text),
        Err(error) => Err(error),
    }
}

fn head(identity: &Identity) -> String {
    let head = Head { version: VERSION, identity: identity.clone() };
    // Texts and numbers always have a JSON form.
    format!("h {}", serde_json::to_string(&head).unwrap_or_default())
}

fn added(start: u64, end: u64, sum: u128) -> String {
    format!("w {start} {end} {sum:032x}")
}

/// A line with its own checksum before it.
fn sealed(line: &str) -> String {
    format!("{} {line}\n", seal(line))
}

fn seal(line: &str) -> String {
    let mut hasher = Hasher::new();
    hasher.update(line.as_bytes());
    hasher.finish().short()
}

/// What a journal says, up to the first line that is torn or makes no sense.
fn parse(text: &[u8]) -> (Identity, Pieces) {
    let (mut identity, mut pieces) = (None, Pieces::new());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let read = std::str::from_utf8(line).ok().and_then(unsealed).and_then(|line| {
            let (kind, rest) = line.split_once(' ')?;
            match (kind, &identity) {
                ("h", None) => identity = Some(identity_of(rest)?),
                ("w", Some(_)) => add(&mut pieces, rest)?,
                ("x", Some(_)) => drop(pieces.remove(&rest.parse().ok()?)),
                _ => return None,
            }
            Some(())
        });
        if read.is_none() {
            break;
        }
    }
    (identity.unwrap_or_default(), without_overlaps(pieces))
}

fn unsealed(line: &str) -> Option<&str> {
    let (said, line) = line.strip_suffix('\n')?.split_once(' ')?;
    (said == seal(line)).then_some(line)
}

fn identity_of(text: &str) -> Option<Identity> {
    let Head { version, mut identity } = serde_json::from_str(text).ok()?;
    // As earlier programs wrote it.
    if identity.address.contains("://") {
        identity.address = hashed(&identity.address);
    }
    (version == VERSION).then_some(identity)
}

fn add(pieces: &mut Pieces, text: &str) -> Option<()> {
    let mut words = text.split(' ');
    let start: u64 = words.next()?.parse().ok()?;
    let end = words.next()?.parse().ok()?;
    let sum = u128::from_str_radix(words.next()?, 16).ok()?;
    if start >= end {
        return None;
    }
    pieces.insert(start, Piece { end, sum });
    Some(())
}

/// No journal of ours has overlapping pieces; of one that does, the later are not believed.
fn without_overlaps(pieces: Pieces) -> Pieces {
    let mut reached = 0;
    let mut fits = |start: u64, piece: &Piece| {
        let fits = start >= reached;
        if fits {
            reached = piece.end;
        }
        fits
    };
    pieces.into_iter().filter(|(start, piece)| fits(*start, piece)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            bytes: Some(1000),
            address: hashed("https://h/a"),
            etag: Some("\"a b\n\"".to_owned()),
            last_modified: None,
        }
    }

    fn written(path: &Path) {
        let mut journal = Journal::open(path).unwrap();
        journal.begin(identity()).unwrap();
        journal.add(0..10, 1).unwrap();
        journal.add(500..510, 2).unwrap();
        journal.add(0..20, 3).unwrap();
        journal.add(20..30, 4).unwrap();
        journal.remove(500).unwrap();
    }

    #[test]
    fn what_was_added_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        written(&path);
        for _again in 0..2 {
            let journal = Journal::open(&path).unwrap();
            assert_eq!(journal.identity(), &identity());
            let expected = [(0, Piece { end: 20, sum: 3 }), (20, Piece { end: 30, sum: 4 })];
            assert_eq!(journal.pieces(), &Pieces::from(expected));
        }
    }

    #[test]
    fn a_journal_cut_anywhere_says_less_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        written(&path);
        let text = std::fs::read(&path).unwrap();
        let whole = [(0, 10, 1), (500, 510, 2), (0, 20, 3), (20, 30, 4)];
        for length in 0..text.len() {
            let (found, pieces) = parse(&text[..length]);
            assert!(found == identity() || found == Identity::default() && pieces.is_empty());
            for (start, piece) in pieces {
                assert!(whole.contains(&(start, piece.end, piece.sum)), "{start} {piece:?}");
            }
            let mut changed = text.clone();
            changed[length] ^= 1;
            for (start, piece) in parse(&changed).1 {
                assert!(whole.contains(&(start, piece.end, piece.sum)), "{start} {piece:?}");
            }
        }
    }

    #[test]
    fn an_address_that_an_earlier_program_wrote_is_written_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let old = Identity { address: "https://me:s3cret@h/a".to_owned(), ..identity() };
        std::fs::write(&path, sealed(&head(&old)) + &sealed(&added(0, 10, 1))).unwrap();
        let journal = Journal::open(&path).unwrap();
        let expected = hashed("https://me:s3cret@h/a");
        assert_eq!((journal.identity().address.as_str(), journal.pieces().len()), (&*expected, 1));
        assert!(!std::fs::read_to_string(&path).unwrap().contains("s3cret"));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.begin(identity()).unwrap();
        for end in 1..30_000 {
            journal.add(0..end, u128::from(end)).unwrap();
        }
        assert!(journal.lines < 2 * limits::JOURNAL_LINES_SPARE, "{}", journal.lines);
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.pieces().get(&0), Some(&Piece { end: 29_999, sum: 29_999 }));
    }

    #[test]
    fn foreign_files_say_nothing() {
        let foreign = sealed("h {\"version\":2,\"address\":\"\",\"bytes\":1}");
        for text in ["", "\n", "hello\n", foreign.as_str(), &sealed("w 0 5 0"), &"\0".repeat(99)] {
            assert_eq!(parse(text.as_bytes()), (Identity::default(), Pieces::new()), "{text}");
        }
        let mut text = sealed(&head(&identity()));
        text += &sealed(&added(0, 100, 1));
        text += &sealed(&added(50, 200, 1));
        assert_eq!(parse(text.as_bytes()).1.into_keys().collect::<Vec<_>>(), [0]);
    }
}
