//! What a step takes by the number of its rows, as far as it was measured.

use super::limits::{TIME_OUTLIER, TIME_WEIGHT, TIME_WEIGHT_LESS};

/// Numbers of rows that are told apart; what lies between is interpolated.
const ROWS: [usize; 12] = [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48];

/// Estimates in microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    /// By the place in [`ROWS`].
    measured: [Option<f32>; ROWS.len()],
}

impl Times {
    /// A step of so many rows took so long.
    pub(super) fn learn(&mut self, rows: usize, took_us: f32) {
        let believed = match self.estimate(rows) {
            Some(expected) => took_us.min(expected * TIME_OUTLIER),
            None => took_us,
        };
        let place = nearest(rows);
        let before = self.measured[place].unwrap_or(believed);
        let weight = if believed < before { TIME_WEIGHT_LESS } else { TIME_WEIGHT };
        let after = before + weight * (believed - before);
        self.measured[place] = Some(after);
        // Fewer rows never take longer; what says so was measured when the machine was held up.
        for smaller in self.measured[..place].iter_mut().flatten() {
            *smaller = smaller.min(after);
        }
    }

    /// Whether steps of about this size were measured.
    pub(super) fn knows(&self, rows: usize) -> bool {
        self.measured[nearest(rows)].is_some()
    }

    /// What a step of so many rows is expected to take: between two measured sizes in proportion, and
    /// beyond the largest as the last two go on. With one size alone every row is expected to take as
    /// long as each of those. More rows never take less.
    pub(super) fn estimate(&self, rows: usize) -> Option<f32> {
        let mut below: Option<(f32, f32)> = None;
        let mut before: Option<(f32, f32)> = None;
        let wanted = count(rows);
        for (size, time) in ROWS.iter().zip(&self.measured) {
            let Some(time) = time else { continue };
            let size = count(*size);
            let time = below.map_or(*time, |(_, least)| time.max(least));
            if size >= wanted {
                let Some((smaller, least)) = below else { return Some(time * wanted / size) };
                let share = (wanted - smaller) / (size - smaller);
                return Some(least + share * (time - least));
            }
            (before, below) = (below, Some((size, time)));
        }
        let (size, time) = below?;
        let slope =
            before.map_or(time / size, |(smaller, least)| (time - least) / (size - smaller));
        Some(time + slope * (wanted - size))
    }
}

/// The place of the size that stands for so many rows.
fn nearest(rows: usize) -> usize {
    let above = ROWS.partition_point(|size| *size < rows).min(ROWS.len() - 1);
    let is_below = above > 0 && rows.abs_diff(ROWS[above - 1]) < rows.abs_diff(ROWS[above]);
    if is_below { above - 1 } else { above }
}

#[expect(clippy::cast_precision_loss, reason = "rows of a step, some hundred at most")]
fn count(rows: usize) -> f32 {
    rows as f32
}
