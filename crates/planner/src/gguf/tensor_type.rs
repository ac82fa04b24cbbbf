//! The tensor encodings of ggml: their numbers in a file, their names and their block sizes.
//!
//! How a block is laid out inside is not known here; only how many weights share how many bytes.

/// How a tensor's numbers are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorType {
    number: u32,
    name: &'static str,
    block_elements: u64,
    block_bytes: u64,
}

const fn row(number: u32, name: &'static str, block_elements: u64, block_bytes: u64) -> TensorType {
    TensorType { number, name, block_elements, block_bytes }
}

/// Every type that ggml can store in a file, by ascending number. Source: `enum ggml_type` and the
/// block structures in llama.cpp's `ggml.h` and `ggml-common.h`. The gaps are encodings that were
/// removed from the format.
const TYPES: [TensorType; 35] = [
    row(0, "F32", 1, 4),
    row(1, "F16", 1, 2),
    row(2, "Q4_0", 32, 18),
    row(3, "Q4_1", 32, 20),
    row(6, "Q5_0", 32, 22),
    row(7, "Q5_1", 32, 24),
    row(8, "Q8_0", 32, 34),
    row(9, "Q8_1", 32, 36),
    row(10, "Q2_K", 256, 84),
    row(11, "Q3_K", 256, 110),
    row(12, "Q4_K", 256, 144),
    row(13, "Q5_K", 256, 176),
    row(14, "Q6_K", 256, 210),
    row(15, "Q8_K", 256, 292),
    row(16, "IQ2_XXS", 256, 66),
    row(17, "IQ2_XS", 256, 74),
    row(18, "IQ3_XXS", 256, 98),
    row(19, "IQ1_S", 256, 50),
    row(20, "IQ4_NL", 32, 18),
    row(21, "IQ3_S", 256, 110),
    row(22, "IQ2_S", 256, 82),
    row(23, "IQ4_XS", 256, 136),
    row(24, "I8", 1, 1),
    row(25, "I16", 1, 2),
    row(26, "I32", 1, 4),
    row(27, "I64", 1, 8),
    row(28, "F64", 1, 8),
    row(29, "IQ1_M", 256, 56),
    row(30, "BF16", 1, 2),
    row(34, "TQ1_0", 256, 54),
    row(35, "TQ2_0", 256, 66),
    row(39, "MXFP4", 32, 17),
    row(40, "NVFP4", 64, 36),
    row(41, "Q1_0", 128, 18),
    row(42, "Q2_0", 64, 18),
];

impl TensorType {
    /// 32-bit floats.
    pub const F32: Self = TYPES[0];
    /// 16-bit floats.
    pub const F16: Self = TYPES[1];
    /// 4-bit blocks of 32 with one scale.
    pub const Q4_0: Self = TYPES[2];
    /// 8-bit blocks of 32 with one scale.
    pub const Q8_0: Self = TYPES[6];

    /// The type that a file calls `number`, or `None` when no version of llama.cpp known here can
    /// read it.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        TYPES.iter().copied().find(|kind| kind.number == number)
    }

    /// The number in the file.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// As people write it, for example `Q4_K`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// How many weights one block holds; a row is a whole number of blocks.
    #[must_use]
    pub fn block_elements(self) -> u64 {
        self.block_elements
    }

    /// Bytes of one block.
    #[must_use]
    pub fn block_bytes(self) -> u64 {
        self.block_bytes
    }

    /// Whether several weights share a scale, so that encoding them loses something.
    #[must_use]
    pub fn is_quantized(self) -> bool {
        self.block_elements > 1
    }

    /// Bytes of `elements` weights, or `None` when they are not whole blocks or do not fit in 64
    /// bits.
    #[must_use]
    pub fn bytes(self, elements: u64) -> Option<u64> {
        if !elements.is_multiple_of(self.block_elements) {
            return None;
        }
        (elements / self.block_elements).checked_mul(self.block_bytes)
    }
}

#[expect(missing_docs, reason = "the names are ggml's, and the table says all there is to say")]
impl TensorType {
    pub const Q4_1: Self = TYPES[3];
    pub const Q5_0: Self = TYPES[4];
    pub const Q5_1: Self = TYPES[5];
    pub const Q2_K: Self = TYPES[8];
    pub const Q3_K: Self = TYPES[9];
    pub const Q4_K: Self = TYPES[10];
    pub const Q5_K: Self = TYPES[11];
    pub const Q6_K: Self = TYPES[12];
    pub const IQ2_XXS: Self = TYPES[14];
    pub const IQ2_XS: Self = TYPES[15];
    pub const IQ3_XXS: Self = TYPES[16];
    pub const IQ1_S: Self = TYPES[17];
    pub const IQ4_NL: Self = TYPES[18];
    pub const IQ3_S: Self = TYPES[19];
    pub const IQ2_S: Self = TYPES[20];
    pub const IQ4_XS: Self = TYPES[21];
    pub const IQ1_M: Self = TYPES[27];
    pub const BF16: Self = TYPES[28];
    pub const TQ1_0: Self = TYPES[29];
    pub const TQ2_0: Self = TYPES[30];
    pub const MXFP4: Self = TYPES[31];
}

/// What `general.file_type` calls the whole file. Source: `enum llama_ftype` in llama.cpp's
/// `llama.h`; the numbers that are missing were removed from the format.
pub(super) fn file_type_name(number: u64) -> Option<&'static str> {
    // llama.cpp marks a type that it guessed itself with this bit.
    const GUESSED: u64 = 1024;
    Some(match number & !GUESSED {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_constants_are_the_rows_they_say() {
        assert_eq!(TensorType::F32.name(), "F32");
        assert_eq!(TensorType::F16.name(), "F16");
        assert_eq!(TensorType::Q4_0.name(), "Q4_0");
        assert_eq!(TensorType::Q8_0.name(), "Q8_0");
        for (kind, name) in [
            (TensorType::Q4_1, "Q4_1"),
            (TensorType::Q5_0, "Q5_0"),
            (TensorType::Q5_1, "Q5_1"),
            (TensorType::Q2_K, "Q2_K"),
            (TensorType::Q3_K, "Q3_K"),
            (TensorType::Q4_K, "Q4_K"),
            (TensorType::Q5_K, "Q5_K"),
            (TensorType::Q6_K, "Q6_K"),
            (TensorType::IQ2_XXS, "IQ2_XXS"),
            (TensorType::IQ2_XS, "IQ2_XS"),
            (TensorType::IQ3_XXS, "IQ3_XXS"),
            (TensorType::IQ1_S, "IQ1_S"),
            (TensorType::IQ4_NL, "IQ4_NL"),
            (TensorType::IQ3_S, "IQ3_S"),
            (TensorType::IQ2_S, "IQ2_S"),
            (TensorType::IQ4_XS, "IQ4_XS"),
            (TensorType::IQ1_M, "IQ1_M"),
            (TensorType::BF16, "BF16"),
            (TensorType::TQ1_0, "TQ1_0"),
            (TensorType::TQ2_0, "TQ2_0"),
            (TensorType::MXFP4, "MXFP4"),
        ] {
            assert_eq!(kind.name(), name);
        }
    }

    #[test]
    fn bits_per_weight_are_the_published_ones() {
        for (name, bits) in [("Q8_0", 8.5), ("Q6_K", 6.5625), ("Q4_K", 4.5), ("IQ4_XS", 4.25)] {
            let kind = TYPES.iter().find(|kind| kind.name == name).unwrap();
            let bytes = kind.bytes(1024 * 256).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let found = bytes as f64 * 8.0 / (1024.0 * 256.0);
            assert!((found - bits).abs() < 1e-9, "{name}: {found}");
        }
    }

    #[test]
    fn removed_and_unknown_numbers_have_no_type() {
        for number in [4, 5, 31, 32, 33, 36, 37, 38, 43, u32::MAX] {
            assert!(TensorType::from_number(number).is_none(), "{number}");
        }
    }

    #[test]
    fn a_part_of_a_block_and_an_overflow_have_no_bytes() {
        assert_eq!(TensorType::Q8_0.bytes(33), None);
        assert_eq!(TensorType::F32.bytes(u64::MAX), None);
        assert_eq!(TensorType::Q8_0.bytes(64), Some(68));
    }
}
