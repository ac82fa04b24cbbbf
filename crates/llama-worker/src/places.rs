//! Positions of rows where pictures have fewer positions than rows (M-RoPE): a picture of a hundred rows in
//! ten lines takes ten, and its rows share them, told apart by line and column.
//!
//! Everything outside counts rows. What a sequence holds is cut, shared and gone on with at positions, so
//! each picture in it is remembered. Not here: where the places come from (`llama::media`).

use std::collections::BTreeMap;

/// The place of a row: in time, from the top and from the left.
type Place = [u32; 3];

/// A row: its place and its vector.
type Placed<'a> = (Place, &'a [f32]);

/// Numbers behind the vector of a row: its place, and the positions that all rows of its run take.
const PLACE_NUMBERS: usize = 4;

/// Vectors of rows with their places, as numbers of which each row has as many.
pub(crate) fn pack(vectors: &[f32], places: &[Place], positions: u32) -> Vec<f32> {
    let width = vectors.len().checked_div(places.len()).unwrap_or(0);
    let mut packed = Vec::with_capacity(vectors.len() + places.len() * PLACE_NUMBERS);
    for (vector, [time, top, left]) in vectors.chunks_exact(width.max(1)).zip(places) {
        packed.extend_from_slice(vector);
        packed.extend([*time, *top, *left, positions].map(number));
    }
    packed
}

/// What [`pack`] made of so many rows: the place and the vector of each, and the positions of their run.
/// `None` where it was not made of these.
pub(crate) fn unpack(packed: &[f32], rows: usize) -> Option<(Vec<Placed<'_>>, u32)> {
    let width = packed.len().checked_div(rows)?;
    let mut positions = 0;
    let mut unpacked = Vec::with_capacity(rows);
    for packed in packed.chunks_exact(width.max(1)) {
        let (vector, place) = packed.split_last_chunk::<PLACE_NUMBERS>()?;
        let [time, top, left, all] = place.map(whole);
        positions = all;
        unpacked.push(([time, top, left], vector));
    }
    Some((unpacked, positions))
}

#[expect(clippy::cast_precision_loss, reason = "contexts are far shorter than 2^24")]
fn number(at: u32) -> f32 {
    at as f32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was a whole number before; `as` saturates"
)]
fn whole(number: f32) -> u32 {
    number as u32
}

/// The pictures that sequences hold, where their rows share positions.
#[derive(Debug, Default)]
pub(crate) struct Places {
    sequences: BTreeMap<u32, Vec<Shared>>,
}

/// Rows that share positions.
#[derive(Debug, Clone, Copy)]
struct Shared {
    start: u32,
    rows: u32,
    positions: u32,
}

impl Places {
    /// The position of a row of a sequence. Within a picture it is that of its first row.
    pub(crate) fn position(&self, sequence: u32, row: u32) -> u32 {
        let before = self.of(sequence).iter().filter(|shared| shared.start < row);
        before.fold(row, |position, shared| {
            let passed = (row - shared.start).min(shared.rows);
            let taken = if passed == shared.rows { shared.positions } else { 0 };
            position - passed + taken
        })
    }

    /// Whether each of the first `rows` rows of a sequence has a position of its own.
    pub(crate) fn is_plain(&self, sequence: u32, rows: u32) -> bool {
        self.of(sequence).iter().all(|shared| shared.start >= rows)
    }

    /// A sequence holds some or all of a picture's rows from `start` on.
    pub(crate) fn note(&mut self, sequence: u32, start: u32, rows: u32, positions: u32) {
        let is_known = self.of(sequence).iter().any(|shared| shared.start == start);
        if rows != positions && !is_known {
            self.sequences.entry(sequence).or_default().push(Shared { start, rows, positions });
        }
    }

    /// A sequence holds no more than its first `rows` rows.
    pub(crate) fn cut(&mut self, sequence: u32, rows: u32) {
        if let Some(held) = self.sequences.get_mut(&sequence) {
            held.retain(|shared| shared.start < rows);
        }
    }

    /// `to` holds the first `rows` rows of `from`.
    pub(crate) fn copy(&mut self, from: u32, to: u32, rows: u32) {
        let held = self.of(from).iter().filter(|shared| shared.start < rows).copied().collect();
        self.sequences.insert(to, held);
    }

    fn of(&self, sequence: u32) -> &[Shared] {
        self.sequences.get(&sequence).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_picture_share_positions_and_those_behind_go_on() {
        let mut places = Places::default();
        places.note(1, 10, 100, 10);
        places.note(1, 120, 6, 3);
        places.note(1, 10, 100, 10);
        let positions = [0, 10, 50, 109, 110, 115, 120, 125, 126, 130];
        let expected = [0, 10, 10, 10, 20, 25, 30, 30, 33, 37];
        assert_eq!(positions.map(|row| places.position(1, row)), expected);
        assert_eq!(positions.map(|row| places.position(2, row)), positions, "another sequence");
        places.copy(1, 2, 110);
        assert_eq!(places.position(2, 126), 36, "the second one is not in it");
        places.cut(1, 10);
        assert_eq!(places.position(1, 126), 126);
        assert_eq!([10, 11].map(|rows| places.is_plain(2, rows)), [true, false]);
    }

    #[test]
    fn rows_that_have_positions_of_their_own_are_not_remembered() {
        let mut places = Places::default();
        places.note(1, 10, 100, 100);
        assert_eq!(places.position(1, 50), 50);
        assert!(places.is_plain(1, 200));
    }

    #[test]
    fn what_is_packed_is_unpacked_from_any_row_on() {
        let vectors = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5];
        let places = [[0, 0, 0], [0, 0, 1], [0, 1, 16_000_000]];
        let packed = pack(&vectors, &places, 7);
        let (rows, positions) = unpack(&packed, 3).unwrap();
        assert_eq!(positions, 7);
        let expected = places.into_iter().zip(vectors.chunks(2)).collect::<Vec<_>>();
        assert_eq!(rows, expected);
        let (rows, _) = unpack(&packed[6..], 2).unwrap();
        assert_eq!(rows, expected[1..]);
        assert!(unpack(&[1.0; 3], 1).is_none(), "no place fits");
        assert!(unpack(&[], 0).is_none());
    }
}
