//! How a segment is written: in one go from its first byte to its last, then synchronised, then given its name.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use half::f16;
use twox_hash::XxHash3_64;

use super::super::{Error, Labels, Point, files, held::Held};
use super::joining::{Joined, ShowTerm};
use super::manifest::file_name;
use super::postings::Weights;
use super::segment::{MARK, Outline, Table, Term};
use super::vectors;
use crate::limits::TERMS_STEP;

/// Where a segment's passages come from.
pub(super) enum Rows<'a> {
    /// Memory.
    Held(Vec<&'a Point>),
    /// Other segments.
    Joined(&'a Joined<'a>),
}

impl<'a> From<&'a Joined<'a>> for Rows<'a> {
    fn from(joined: &'a Joined<'a>) -> Self {
        Rows::Joined(joined)
    }
}

impl<'a> Rows<'a> {
    pub(super) fn of_held(held: &'a Held) -> Self {
        Rows::Held(held.points().collect())
    }

    fn len(&self) -> usize {
        match self {
            Rows::Held(points) => points.len(),
            Rows::Joined(joined) => joined.len(),
        }
    }

    fn id(&self, row: usize) -> u64 {
        match self {
            Rows::Held(points) => points[row].id,
            Rows::Joined(joined) => joined.id(row),
        }
    }

    fn labels(&self, row: usize) -> &Labels {
        match self {
            Rows::Held(points) => &points[row].labels,
            Rows::Joined(joined) => joined.labels(row),
        }
    }

    fn vector(&self, row: usize) -> Result<Option<Vec<f32>>, Error> {
        match self {
            Rows::Held(points) => Ok(points[row].dense.clone()),
            Rows::Joined(joined) => joined.vector(row),
        }
    }

    fn greatest_weight(&self) -> f32 {
        match self {
            Rows::Held(points) => {
                let weights = points.iter().flat_map(|point| &point.sparse.terms);
                weights.fold(0.0, |most, (_, weight)| most.max(*weight))
            }
            Rows::Joined(joined) => joined.greatest_weight(),
        }
    }

    /// Shows each term once, by ascending number, with the rows that have it.
    fn each_term(&self, show: ShowTerm<'_>) -> Result<(), Error> {
        match self {
            Rows::Held(points) => {
                let mut lists: BTreeMap<u32, Vec<(u32, f32)>> = BTreeMap::new();
                for (row, point) in (0..).zip(points) {
                    for &(term, weight) in &point.sparse.terms {
                        lists.entry(term).or_default().push((row, weight));
                    }
                }
                lists.iter().try_for_each(|(term, list)| show(*term, list))
            }
            Rows::Joined(joined) => joined.each_term(show),
        }
    }
}

/// Writes the segment with a number.
pub(super) fn write(
    folder: &Path,
    number: u64,
    dimension: usize,
    rows: Rows<'_>,
) -> Result<(), Error> {
    let path = folder.join(file_name(number));
    let beside = path.with_extension("new");
    let mut writer = Writer::create(&beside)?;
    let mut outline = Outline { rows: rows.len(), dimension, ..Outline::default() };
    let mut table = Table::default();
    number_labels(&rows, &mut table);
    writer.vectors(&rows, &mut outline, &mut table)?;
    writer.terms(&rows, &mut outline, &mut table)?;
    writer.table(&mut outline, &table)?;
    writer.end(&outline)?;
    files::take_place(&beside, &path)
}

fn number_labels(rows: &Rows<'_>, table: &mut Table) {
    let mut known: HashMap<&Labels, u32> = HashMap::new();
    for row in 0..rows.len() {
        let labels = rows.labels(row);
        let new = u32::try_from(known.len()).unwrap_or(u32::MAX);
        let label = *known.entry(labels).or_insert_with(|| {
            table.labels.push(labels.clone());
            new
        });
        table.ids.push(rows.id(row));
        table.label_of.push(label);
    }
}

/// A file that is written, and how far it is.
struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    at: u64,
}

impl Writer {
    fn create(path: &Path) -> Result<Self, Error> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(path);
        let file = file.map_err(|error| Error::file("write", path, error))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), at: 0 })
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::file("write", &self.path, error)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| self.failed(error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The vectors with 16 bits a number, and then, as they are read back, with a byte.
    fn vectors(
        &mut self,
        rows: &Rows<'_>,
        outline: &mut Outline,
        table: &mut Table,
    ) -> Result<(), Error> {
        let mut has_vector = Vec::with_capacity(rows.len());
        let mut bytes = Vec::with_capacity(outline.dimension * 2);
        for row in 0..rows.len() {
            let vector = rows.vector(row)?;
            has_vector.push(vector.is_some());
            bytes.clear();
            let values = vector.unwrap_or_else(|| vec![0.0; outline.dimension]);
            bytes.extend(values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()));
            self.put(&bytes)?;
        }
        self.file.flush().map_err(|error| self.failed(error))?;
        outline.rough = self.at;
        let (mut halves, mut rough) = (vec![0; outline.dimension * 2], Vec::new());
        for (row, has_vector) in has_vector.into_iter().enumerate() {
            let at = (row * halves.len()) as u64;
            files::read_at(self.file.get_ref(), &mut halves, at)
                .map_err(|error| self.failed(error))?;
            rough.clear();
            let factor = vectors::quantize(&vectors::widened(&halves), &mut rough);
            table.factors.push(if has_vector { factor } else { vectors::NONE });
            let rough: Vec<u8> = rough.iter().map(|value| value.cast_unsigned()).collect();
            self.put(&rough)?;
        }
        Ok(())
    }

    /// The lists, and then the terms.
    fn terms(
        &mut self,
        rows: &Rows<'_>,
        outline: &mut Outline,
        table: &mut Table,
    ) -> Result<(), Error> {
        let weights = Weights::up_to(rows.greatest_weight());
        outline.weight_step = weights.step();
        // Beside, since the terms of millions of passages are too many for memory.
        let mut beside = BufWriter::new(self.beside()?);
        let mut bytes = Vec::new();
        rows.each_term(&mut |term, list| {
            bytes.clear();
            weights.encode(list, &mut bytes);
            let [count, length] =
                [list.len(), bytes.len()].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
            let entry = Term { term, count, bytes: length, at: self.at };
            beside.write_all(&entry.to_bytes()).map_err(|error| self.failed(error))?;
            if outline.terms_count.is_multiple_of(TERMS_STEP) {
                table.some_terms.push(term);
            }
            outline.terms_count += 1;
            self.put(&bytes)
        })?;
        outline.terms = self.at;
        let mut beside = beside.into_inner().map_err(|error| self.failed(error.into_error()))?;
        let copied = beside.rewind().and_then(|()| io::copy(&mut beside, &mut self.file));
        self.at += copied.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// A file without a name, in the same folder.
    fn beside(&self) -> Result<File, Error> {
        let folder = self.path.parent().unwrap_or(&self.path);
        tempfile::tempfile_in(folder).map_err(|error| self.failed(error))
    }

    fn table(&mut self, outline: &mut Outline, table: &Table) -> Result<(), Error> {
        let start = self.at;
        outline.table_sum = self.put_checked(table)?;
        outline.table = start..self.at;
        Ok(())
    }

    /// Adds a value and gives its checksum.
    fn put_checked<T: serde::Serialize>(&mut self, value: &T) -> Result<u64, Error> {
        let bytes = rmp_serde::to_vec(value)
            .map_err(|error| Error::Engine { what: "write itself", why: error.to_string() })?;
        self.put(&bytes)?;
        Ok(XxHash3_64::oneshot(&bytes))
    }

    fn end(mut self, outline: &Outline) -> Result<(), Error> {
        let start = self.at;
        let sum = self.put_checked(outline)?;
        let length = u32::try_from(self.at - start).unwrap_or(u32::MAX);
        self.put(&length.to_le_bytes())?;
        self.put(&sum.to_le_bytes())?;
        self.put(MARK)?;
        let synchronised = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synchronised.map_err(|error| self.failed(error))
    }
}
