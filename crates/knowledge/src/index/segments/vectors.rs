//! Vectors with a byte for each number, which are compared four times as fast as exact ones.

use std::ops::Range;

use half::f16;

use super::super::{Error, Hit, best::Best};
use super::segment::Segment;

/// The most that a byte stands for.
const MOST: f32 = 127.0;

/// What a row's product of bytes is to be multiplied by where it has no vector.
pub(super) const NONE: f32 = f32::NAN;

/// A question's vector as it is compared with all.
#[derive(Debug)]
pub(super) struct Rough(Vec<i8>);

impl Rough {
    pub(super) fn of(vector: &[f32]) -> Self {
        let mut bytes = Vec::with_capacity(vector.len());
        quantize(vector, &mut bytes);
        Self(bytes)
    }

    /// Adds rows of a segment. Their scores are cosines but for a factor that is the same for all.
    pub(super) fn scan(
        &self,
        segment: &Segment,
        rows: Range<usize>,
        admits: &impl Fn(usize) -> bool,
        best: &mut Best,
    ) -> Result<(), Error> {
        segment.each_rough(rows, |row, factor, bytes| {
            if !factor.is_nan() && admits(row) {
                let score = product(&self.0, bytes) as f32 * factor;
                best.push(Hit { id: segment.id(row), score });
            }
        })
    }
}

/// Adds a vector's numbers as bytes, and gives what a product of them is to be multiplied by to be one of the unit
/// vector.
pub(super) fn quantize(vector: &[f32], bytes: &mut Vec<i8>) -> f32 {
    let most = vector.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    let step = most / MOST;
    if !(step > 0.0 && length > 0.0) {
        bytes.extend(std::iter::repeat_n(0, vector.len()));
        return 0.0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "none is beyond what was most")]
    bytes.extend(vector.iter().map(|value| (value / step).round() as i8));
    step / length
}

/// The scalar product.
fn product(one: &[i8], other: &[u8]) -> i32 {
    let both = one.iter().zip(other);
    both.map(|(one, other)| i32::from(*one) * i32::from(other.cast_signed())).sum()
}

/// Numbers of 16 bits as they are in a file.
pub(super) fn widened(bytes: &[u8]) -> Vec<f32> {
    let halves = bytes.chunks_exact(2).map(|two| f16::from_le_bytes([two[0], two[1]]));
    halves.map(f16::to_f32).collect()
}
