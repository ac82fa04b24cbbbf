//! Random numbers and their encodings.
//!
//! The numbers depend on nothing but the seed, the tensor's name and the place in it: not on the
//! quantization, the order of writing or the number of threads. The same model in another
//! quantization is therefore the same model.

use half::f16;
use planner::gguf::TensorType;

use super::tensors::Content;

/// The odd number nearest to 2^64 divided by the golden ratio: the step of splitmix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Numbers of one tensor, from its beginning on.
pub(crate) struct Numbers {
    state: u64,
    content: Content,
    /// How many were made.
    count: usize,
}

impl Numbers {
    pub(crate) fn new(seed: u64, name: &str, content: Content) -> Self {
        // FNV-1a keeps tensors apart; it need not be strong.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { state: mix(seed.wrapping_mul(STEP) ^ hash), content, count: 0 }
    }

    /// Fills `out` with the next numbers. Its length is even, except for the last call of a tensor.
    pub(crate) fn fill(&mut self, out: &mut [f32]) {
        match self.content {
            Content::Constant(value) => out.fill(value),
            Content::Decay => {
                let rates = (0..8).map(|halved| -0.5_f32.powi(halved));
                let rates: Vec<f32> = rates.collect();
                let at = (self.count..).map(|at| rates[at % rates.len()]);
                out.iter_mut().zip(at).for_each(|(out, rate)| *out = rate);
            }
            Content::Passing(inputs) => {
                let inputs = usize::try_from(inputs).unwrap_or(usize::MAX);
                let passes = |at: usize| {
                    let (row, column) = (at / (2 * inputs), at % (2 * inputs));
                    f32::from(u8::from(row == column))
                };
                out.iter_mut().zip(self.count..).for_each(|(out, at)| *out = passes(at));
            }
            Content::Random(deviation) => {
                // The sum of four bytes has mean 510 and variance 4 * (256^2 - 1) / 12.
                let scale = deviation / 147.797_6;
                for pair in out.chunks_mut(2) {
                    self.state = self.state.wrapping_add(STEP);
                    let sums = sums_of_bytes(mix(self.state));
                    for (out, sum) in pair.iter_mut().zip(sums) {
                        *out = (f32::from(sum) - 510.0) * scale;
                    }
                }
            }
        }
        self.count += out.len();
    }
}

/// The finalizer of splitmix64: every input bit changes half of the output bits.
fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Two sums of four bytes each. Four uniform numbers added are close enough to normal for weights,
/// and this costs a few shifts.
fn sums_of_bytes(bits: u64) -> [u16; 2] {
    const EVEN_BYTES: u64 = 0x00ff_00ff_00ff_00ff;
    let pairs = (bits & EVEN_BYTES) + ((bits >> 8) & EVEN_BYTES);
    let low = (pairs & 0xffff) + ((pairs >> 16) & 0xffff);
    let high = ((pairs >> 32) & 0xffff) + (pairs >> 48);
    [low, high].map(|sum| u16::try_from(sum).unwrap_or(u16::MAX))
}

/// Appends `numbers`, whole blocks of `kind`, to `out`.
///
/// # Panics
/// For a type that is not written here; `Quantization` names those that are.
pub(crate) fn encode(kind: TensorType, numbers: &[f32], out: &mut Vec<u8>) {
    match kind.name() {
        "F32" => numbers.iter().for_each(|number| out.extend(number.to_le_bytes())),
        "F16" => numbers.iter().for_each(|number| out.extend(f16::from_f32(*number).to_le_bytes())),
        "Q8_0" => numbers.as_chunks::<32>().0.iter().for_each(|block| q8_0(block, out)),
        "Q4_0" => numbers.as_chunks::<32>().0.iter().for_each(|block| q4_0(block, out)),
        other => unreachable!("{other} is left to llama.cpp's quantizer"),
    }
}

/// One scale, then 32 signed bytes; the largest magnitude becomes 127.
fn q8_0(block: &[f32; 32], out: &mut Vec<u8>) {
    let largest = block.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    out.extend(f16::from_f32(scale).to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "the magnitude is at most 127")]
    out.extend(block.map(|number| ((number * inverse).round() as i8).cast_unsigned()));
}

/// One scale, then 16 bytes of two numbers each: the first half of the block in the low bits, the
/// second in the high ones. The number of largest magnitude becomes -8, whatever its sign.
fn q4_0(block: &[f32; 32], out: &mut Vec<u8>) {
    let largest =
        block.iter().fold(
            0.0_f32,
            |largest, number| {
                if number.abs() > largest.abs() { *number } else { largest }
            },
        );
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    out.extend(f16::from_f32(scale).to_le_bytes());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0.5 and 16.5"
    )]
    let nibble = |number: f32| ((number * inverse + 8.5) as u8).min(15);
    for index in 0..16 {
        out.push(nibble(block[index]) | nibble(block[index + 16]) << 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, name: &str, len: usize) -> Vec<f32> {
        let mut numbers = vec![0.0; len];
        Numbers::new(seed, name, Content::Random(0.5)).fill(&mut numbers);
        numbers
    }

    #[test]
    fn numbers_depend_on_seed_and_name_and_not_on_the_pieces_they_are_taken_in() {
        let whole = numbers(1, "a", 1024);
        assert_eq!(whole, numbers(1, "a", 1024));
        assert_ne!(whole, numbers(2, "a", 1024));
        assert_ne!(whole, numbers(1, "b", 1024));
        let mut pieces = vec![0.0; 1024];
        let mut source = Numbers::new(1, "a", Content::Random(0.5));
        let (first, second) = pieces.split_at_mut(256);
        source.fill(first);
        source.fill(second);
        assert_eq!(whole, pieces);
    }

    #[test]
    fn mean_and_deviation_are_as_asked() {
        let numbers = numbers(7, "x", 1 << 20);
        let count = f64::from(1 << 20);
        let mean = numbers.iter().map(|number| f64::from(*number)).sum::<f64>() / count;
        let square = numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 0.003, "{mean}");
        assert!((square.sqrt() - 0.5).abs() < 0.003, "{}", square.sqrt());
    }

    #[test]
    fn decays_are_negative_and_of_many_lengths_in_whatever_pieces_they_are_taken() {
        let mut source = Numbers::new(1, "blk.0.ssm_a", Content::Decay);
        let mut rates = [0.0; 24];
        let (first, second) = rates.split_at_mut(10);
        source.fill(first);
        source.fill(second);
        assert_eq!(rates[..3], [-1.0, -0.5, -0.25]);
        assert_eq!(rates[..8], rates[8..16]);
        assert_eq!(rates[8..16], rates[16..]);
        assert!((rates[7] + 1.0 / 128.0).abs() < 1e-9, "{}", rates[7]);
    }

    #[test]
    fn eight_bits_are_read_back_within_half_a_step() {
        let numbers = numbers(3, "x", 320);
        let mut bytes = Vec::new();
        encode(TensorType::Q8_0, &numbers, &mut bytes);
        assert_eq!(bytes.len() as u64, TensorType::Q8_0.bytes(320).unwrap());
        for (block, expected) in bytes.chunks(34).zip(numbers.chunks(32)) {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            for (byte, expected) in block[2..].iter().zip(expected) {
                let found = f32::from(byte.cast_signed()) * scale;
                // The scale itself is rounded to 11 bits.
                assert!((found - expected).abs() <= scale * 0.57, "{found} {expected}");
            }
        }
    }

    #[test]
    fn four_bits_are_read_back_within_a_step() {
        let numbers = numbers(3, "x", 320);
        let mut bytes = Vec::new();
        encode(TensorType::Q4_0, &numbers, &mut bytes);
        assert_eq!(bytes.len() as u64, TensorType::Q4_0.bytes(320).unwrap());
        for (block, expected) in bytes.chunks(18).zip(numbers.chunks(32)) {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            for index in 0..16 {
                let low = (f32::from(block[2 + index] & 15) - 8.0) * scale;
                let high = (f32::from(block[2 + index] >> 4) - 8.0) * scale;
                assert!((low - expected[index]).abs() <= scale.abs() * 1.01);
                assert!((high - expected[index + 16]).abs() <= scale.abs() * 1.01);
            }
        }
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        for kind in [TensorType::Q8_0, TensorType::Q4_0] {
            let mut bytes = Vec::new();
            encode(kind, &[0.0; 32], &mut bytes);
            assert_eq!(f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(), 0.0);
        }
    }
}
