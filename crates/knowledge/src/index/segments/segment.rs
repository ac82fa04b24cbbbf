//! A file with passages that never changes, as it is read. `writing` says how it is made.
//!
//! From its beginning: the vectors with 16 bits a number; the same with a byte a number; the lists of passages that have
//! a term; the terms, by number, each with where its list is; the table; the outline; the end, which says where the
//! outline is. The table is in memory, the rest is read when it is asked for.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::super::{Error, Filter, Labels, files};
use super::manifest::file_name;
use super::{postings::Weights, vectors};
use crate::limits::{SCAN_BYTES, TERMS_STEP};

/// What a segment ends with.
pub(super) const MARK: &[u8; 8] = b"resseg01";
/// The outline's length and checksum, and the mark.
pub(super) const END_BYTES: u64 = 4 + 8 + 8;
/// A term's number, how many have it, the length of its list in bytes, and where that begins.
pub(super) const TERM_BYTES: usize = 4 + 4 + 4 + 8;

/// Where everything is in a segment's file, as offsets in bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Outline {
    pub(super) rows: usize,
    pub(super) dimension: usize,
    /// Where the vectors with a byte a number begin.
    pub(super) rough: u64,
    /// Where the terms begin.
    pub(super) terms: u64,
    pub(super) terms_count: usize,
    pub(super) weight_step: f32,
    pub(super) table: Range<u64>,
    pub(super) table_sum: u64,
}

/// What of a segment is in memory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Table {
    /// The passages' numbers, ascending: each is a row.
    pub(super) ids: Vec<u64>,
    /// Labels, each once.
    pub(super) labels: Vec<Labels>,
    /// Which of them a row has.
    pub(super) label_of: Vec<u32>,
    /// What a row's product of bytes is to be multiplied by (`vectors`).
    pub(super) factors: Vec<f32>,
    /// Each [`TERMS_STEP`]th term.
    pub(super) some_terms: Vec<u32>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
    outline: Outline,
    table: Table,
}

/// A term of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) term: u32,
    /// How many passages have it.
    pub(super) count: u32,
    pub(super) bytes: u32,
    pub(super) at: u64,
}

impl Term {
    pub(super) fn to_bytes(self) -> [u8; TERM_BYTES] {
        let mut bytes = [0; TERM_BYTES];
        bytes[..4].copy_from_slice(&self.term.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[12..].copy_from_slice(&self.at.to_le_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8; TERM_BYTES]) -> Self {
        let four = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let at = u64::from(four(12)) | u64::from(four(16)) << 32;
        Self { term: four(0), count: four(4), bytes: four(8), at }
    }
}

impl Segment {
    /// The segment with a number.
    pub(super) fn open(folder: &Path, number: u64, dimension: usize) -> Result<Self, Error> {
        let path = folder.join(file_name(number));
        let file = File::open(&path).map_err(|error| Error::file("open", &path, error))?;
        let bytes = file.metadata().map_err(|error| Error::file("look at", &path, error))?.len();
        let (outline, table) = (Outline::default(), Table::default());
        let mut segment = Self { number, path, file, outline, table };
        segment.outline = segment.read_outline(bytes)?;
        if segment.outline.dimension != dimension {
            return Err(segment.damaged("its vectors have another length"));
        }
        segment.table = segment.read_table()?;
        Ok(segment)
    }

    fn read_outline(&self, bytes: u64) -> Result<Outline, Error> {
        let cut_short = || self.damaged("it is cut short");
        let end = bytes.checked_sub(END_BYTES).ok_or_else(cut_short)?;
        let mut last = [0; END_BYTES as usize];
        self.read(&mut last, end)?;
        let (length, sum, mark) = (&last[..4], &last[4..12], &last[12..]);
        if mark != MARK {
            return Err(cut_short());
        }
        let length = length.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let sum = sum.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let at = end.checked_sub(length).ok_or_else(cut_short)?;
        let outline: Outline = self.read_checked(at..end, sum)?;
        let vectors = (outline.rows * outline.dimension) as u64;
        let is_sound = outline.rough == 2 * vectors
            && outline.rough + vectors <= outline.terms
            && outline.terms + (outline.terms_count * TERM_BYTES) as u64 <= outline.table.start
            && outline.table.end <= at;
        if is_sound { Ok(outline) } else { Err(self.damaged("its outline makes no sense")) }
    }

    fn read_table(&self) -> Result<Table, Error> {
        let outline = &self.outline;
        let table: Table = self.read_checked(outline.table.clone(), outline.table_sum)?;
        let labels = table.labels.len();
        let is_sound = [table.ids.len(), table.label_of.len(), table.factors.len()]
            == [outline.rows; 3]
            && table.label_of.iter().all(|label| (*label as usize) < labels)
            && table.some_terms.len() == outline.terms_count.div_ceil(TERMS_STEP);
        if is_sound { Ok(table) } else { Err(self.damaged("its table makes no sense")) }
    }

    fn read_checked<T: serde::de::DeserializeOwned>(
        &self,
        range: Range<u64>,
        sum: u64,
    ) -> Result<T, Error> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut bytes = vec![0; length];
        self.read(&mut bytes, range.start)?;
        if XxHash3_64::oneshot(&bytes) != sum {
            return Err(self.damaged("a checksum is another one"));
        }
        rmp_serde::from_slice(&bytes).map_err(|error| self.damaged(&error.to_string()))
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), Error> {
        files::read_at(&self.file, bytes, at)
            .map_err(|error| Error::file("read", &self.path, error))
    }

    pub(super) fn damaged(&self, why: &str) -> Error {
        let folder = self.path.parent().unwrap_or(&self.path).to_owned();
        Error::Damaged { path: folder, why: format!("{}: {why}", file_name(self.number)) }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn rows(&self) -> usize {
        self.outline.rows
    }

    pub(super) fn id(&self, row: usize) -> u64 {
        self.table.ids[row]
    }

    pub(super) fn row_of(&self, id: u64) -> Option<usize> {
        self.table.ids.binary_search(&id).ok()
    }

    /// Numbers above `after` of rows that are wanted, ascending.
    pub(super) fn ids_after(
        &self,
        after: Option<u64>,
        wanted: impl Fn(usize) -> bool,
    ) -> impl Iterator<Item = u64> {
        let from = after.map_or(0, |after| self.table.ids.partition_point(|id| *id <= after));
        (from..self.rows()).filter(move |row| wanted(*row)).map(|row| self.id(row))
    }

    pub(super) fn label_of(&self, row: usize) -> usize {
        self.table.label_of[row] as usize
    }

    pub(super) fn labels(&self, row: usize) -> &Labels {
        &self.table.labels[self.label_of(row)]
    }

    /// Of all labels, which are wanted.
    pub(super) fn labels_where(&self, wanted: impl Fn(&Labels) -> bool) -> Vec<bool> {
        self.table.labels.iter().map(wanted).collect()
    }

    /// Of all labels, which the filter lets through; nothing where it lets all through.
    pub(super) fn admitted(&self, filter: &Filter) -> Option<Vec<bool>> {
        let restricts = *filter != Filter::default();
        restricts.then(|| self.labels_where(|labels| filter.admits(labels)))
    }

    /// A row's vector, if it has one.
    pub(super) fn vector(&self, row: usize) -> Result<Option<Vec<f32>>, Error> {
        if self.table.factors[row].is_nan() {
            return Ok(None);
        }
        let length = self.outline.dimension * 2;
        let mut bytes = vec![0; length];
        self.read(&mut bytes, (row * length) as u64)?;
        Ok(Some(vectors::widened(&bytes)))
    }

    /// Shows rows with their vectors of a byte a number, and what products of these are to be multiplied by.
    pub(super) fn each_rough(
        &self,
        rows: Range<usize>,
        mut show: impl FnMut(usize, f32, &[u8]),
    ) -> Result<(), Error> {
        let dimension = self.outline.dimension;
        if dimension == 0 {
            return Ok(());
        }
        let at_once = (SCAN_BYTES / dimension).max(1);
        let mut bytes = vec![0; at_once.min(rows.len()) * dimension];
        for from in rows.clone().step_by(at_once) {
            let some = from..rows.end.min(from + at_once);
            let bytes = &mut bytes[..some.len() * dimension];
            self.read(bytes, self.outline.rough + (from * dimension) as u64)?;
            for (row, bytes) in some.zip(bytes.chunks_exact(dimension)) {
                show(row, self.table.factors[row], bytes);
            }
        }
        Ok(())
    }

    pub(super) fn weights(&self) -> Weights {
        Weights::with_step(self.outline.weight_step)
    }

    /// Rows that have a term, ascending, each with its weight.
    pub(super) fn postings(&self, term: u32) -> Result<Vec<(u32, f32)>, Error> {
        let blocks = self.table.some_terms.partition_point(|first| *first <= term);
        let Some(block) = blocks.checked_sub(1) else { return Ok(Vec::new()) };
        let from = block * TERMS_STEP;
        let terms = self.terms(from..self.outline.terms_count.min(from + TERMS_STEP))?;
        match terms.binary_search_by_key(&term, |entry| entry.term) {
            Ok(at) => self.list(terms[at]),
            Err(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn terms_count(&self) -> usize {
        self.outline.terms_count
    }

    /// Terms by their places.
    pub(super) fn terms(&self, places: Range<usize>) -> Result<Vec<Term>, Error> {
        let mut bytes = vec![0; places.len() * TERM_BYTES];
        self.read(&mut bytes, self.outline.terms + (places.start * TERM_BYTES) as u64)?;
        let (terms, _) = bytes.as_chunks::<TERM_BYTES>();
        Ok(terms.iter().map(Term::of_bytes).collect())
    }

    /// The list of a term.
    pub(super) fn list(&self, term: Term) -> Result<Vec<(u32, f32)>, Error> {
        let senseless = || self.damaged("the list of a term makes no sense");
        let is_within =
            term.at.checked_add(term.bytes.into()).is_some_and(|end| end <= self.outline.terms);
        if !is_within || term.count as usize > self.rows() {
            return Err(senseless());
        }
        let mut bytes = vec![0; term.bytes as usize];
        self.read(&mut bytes, term.at)?;
        self.weights().decode(&bytes, term.count as usize, self.rows()).ok_or_else(senseless)
    }
}
