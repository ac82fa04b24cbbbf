//! Lists of the passages that have a term: rows as distances from the one before, in as few bytes as they take, and
//! weights as 16-bit shares of the segment's greatest.

/// How a segment's weights are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    /// What one step of a written weight is worth.
    step: f32,
}

impl Weights {
    /// Those of a segment whose greatest is this.
    pub(super) fn up_to(greatest: f32) -> Self {
        Self { step: greatest.max(f32::MIN_POSITIVE * 65_536.0) / f32::from(u16::MAX) }
    }

    /// Those of a segment with this step.
    pub(super) fn with_step(step: f32) -> Self {
        Self { step }
    }

    pub(super) fn step(self) -> f32 {
        self.step
    }

    /// The greatest that can be written.
    pub(super) fn greatest(self) -> f32 {
        self.step * f32::from(u16::MAX)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is rounded, and from 1 to 65,535"
    )]
    fn written(self, weight: f32) -> u16 {
        // Whoever has the term at all is found by it.
        (weight / self.step).round().clamp(1.0, f32::from(u16::MAX)) as u16
    }

    /// Adds a list to `bytes`; its rows ascend.
    pub(super) fn encode(self, list: &[(u32, f32)], bytes: &mut Vec<u8>) {
        let mut before = 0;
        for &(row, weight) in list {
            let mut distance = row - before;
            before = row;
            while distance >= 0x80 {
                bytes.push((distance & 0x7F) as u8 | 0x80);
                distance >>= 7;
            }
            bytes.push(distance as u8);
            bytes.extend_from_slice(&self.written(weight).to_le_bytes());
        }
    }

    /// The list that these bytes are, of rows below `rows`; nothing where they are none.
    pub(super) fn decode(self, bytes: &[u8], count: usize, rows: usize) -> Option<Vec<(u32, f32)>> {
        let mut list = Vec::with_capacity(count);
        let (mut at, mut row) = (0, 0_u32);
        for _ in 0..count {
            let (mut distance, mut shift) = (0_u32, 0);
            loop {
                let byte = *bytes.get(at)?;
                at += 1;
                distance |= u32::from(byte & 0x7F).checked_shl(shift)?;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            row = row.checked_add(distance).filter(|row| (*row as usize) < rows)?;
            let weight = u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
            at += 2;
            list.push((row, f32::from(weight) * self.step));
        }
        (at == bytes.len()).then_some(list)
    }
}
