//! Which segments become one, and how: their passages in one order, without what is gone.

use super::super::{Error, Labels};
use super::Part;
use super::segment::Term;
use crate::limits::{JOINED_TOGETHER, SEGMENT_SMALL_ROWS, TERMS_READ};

/// Parts that are to become one, and the others: those of which more than half is gone, all that are small, or those
/// of one size once there are many.
pub(super) fn choose(parts: Vec<Part>) -> (Vec<Part>, Vec<Part>) {
    let wasteful = |part: &Part| part.gone.count() > part.live();
    if parts.iter().any(wasteful) {
        return parts.into_iter().partition(|part| wasteful(part));
    }
    let sizes: Vec<u32> = parts.iter().map(|part| size(part.live())).collect();
    let of_size = |wanted: u32| sizes.iter().filter(|size| **size == wanted).count();
    let many = |size: &u32| of_size(*size) >= if *size == 0 { 2 } else { JOINED_TOGETHER };
    let Some(chosen) = sizes.iter().copied().filter(many).min() else { return (Vec::new(), parts) };
    parts.into_iter().partition(|part| size(part.live()) == chosen)
}

/// 0 for small ones; from there one more for each time that it is [`JOINED_TOGETHER`] times as large.
fn size(rows: usize) -> u32 {
    (rows / SEGMENT_SMALL_ROWS).checked_ilog(JOINED_TOGETHER).map_or(0, |size| size + 1)
}

/// Passages of several segments, by ascending number.
pub(super) struct Joined<'a> {
    parts: &'a [Part],
    /// The part and the row in it of each row.
    rows: Vec<(u32, u32)>,
    /// For each part the new row of each row; of those that are gone nothing.
    new_rows: Vec<Vec<u32>>,
}

/// Takes a term and its list: rows, ascending, each with the term's weight.
pub(super) type ShowTerm<'a> = &'a mut dyn FnMut(u32, &[(u32, f32)]) -> Result<(), Error>;

/// The new row of one that is gone.
const GONE: u32 = u32::MAX;

impl<'a> Joined<'a> {
    /// # Errors
    /// When they are too many for one segment.
    pub(super) fn new(parts: &'a [Part]) -> Result<Self, Error> {
        let mut all: Vec<(u64, u32, u32)> = Vec::new();
        for (number, part) in (0..).zip(parts) {
            let live = (0..part.segment.rows()).filter(|row| !part.gone.contains(*row));
            all.extend(live.zip(0..).map(|(row, _)| (part.segment.id(row), number, row as u32)));
        }
        if u32::try_from(all.len()).is_err() {
            let why = format!("{} passages are too many for one segment", all.len());
            return Err(Error::Engine { what: "tidy itself", why });
        }
        all.sort_unstable();
        let mut new_rows: Vec<Vec<u32>> =
            parts.iter().map(|part| vec![GONE; part.segment.rows()]).collect();
        for (new, (_, part, row)) in (0..).zip(&all) {
            new_rows[*part as usize][*row as usize] = new;
        }
        let rows = all.into_iter().map(|(_, part, row)| (part, row)).collect();
        Ok(Self { parts, rows, new_rows })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    fn at(&self, row: usize) -> (&Part, usize) {
        let (part, row) = self.rows[row];
        (&self.parts[part as usize], row as usize)
    }

    pub(super) fn id(&self, row: usize) -> u64 {
        let (part, row) = self.at(row);
        part.segment.id(row)
    }

    pub(super) fn labels(&self, row: usize) -> &Labels {
        let (part, row) = self.at(row);
        part.segment.labels(row)
    }

    pub(super) fn vector(&self, row: usize) -> Result<Option<Vec<f32>>, Error> {
        let (part, row) = self.at(row);
        part.segment.vector(row)
    }

    pub(super) fn greatest_weight(&self) -> f32 {
        let greatest = self.parts.iter().map(|part| part.segment.weights().greatest());
        greatest.fold(0.0, f32::max)
    }

    /// Shows each term that is left, by ascending number, with the rows that have it.
    pub(super) fn each_term(&self, show: ShowTerm<'_>) -> Result<(), Error> {
        let mut terms: Vec<Terms<'_>> = self.parts.iter().map(Terms::of).collect();
        let mut list = Vec::new();
        loop {
            let mut next = None;
            for terms in &mut terms {
                next = [next, terms.peek()?.map(|term| term.term)].into_iter().flatten().min();
            }
            let Some(term) = next else { return Ok(()) };
            list.clear();
            for (terms, new_rows) in terms.iter_mut().zip(&self.new_rows) {
                if let Some(found) = terms.take(term)? {
                    let rows = terms.part.segment.list(found)?.into_iter();
                    let renumbered = rows.map(|(row, weight)| (new_rows[row as usize], weight));
                    list.extend(renumbered.filter(|(row, _)| *row != GONE));
                }
            }
            list.sort_unstable_by_key(|(row, _)| *row);
            if !list.is_empty() {
                show(term, &list)?;
            }
        }
    }
}

/// The terms of a part in turn, some of them read ahead.
struct Terms<'a> {
    part: &'a Part,
    /// The place of the first that is not read yet.
    next: usize,
    read: std::vec::IntoIter<Term>,
}

impl<'a> Terms<'a> {
    fn of(part: &'a Part) -> Self {
        Self { part, next: 0, read: Vec::new().into_iter() }
    }

    fn peek(&mut self) -> Result<Option<Term>, Error> {
        let count = self.part.segment.terms_count();
        if self.read.as_slice().is_empty() && self.next < count {
            let places = self.next..count.min(self.next + TERMS_READ);
            self.next = places.end;
            self.read = self.part.segment.terms(places)?.into_iter();
        }
        Ok(self.read.as_slice().first().copied())
    }

    /// The next one, if it is this.
    fn take(&mut self, term: u32) -> Result<Option<Term>, Error> {
        let is_it = self.peek()?.is_some_and(|next| next.term == term);
        Ok(if is_it { self.read.next() } else { None })
    }
}
