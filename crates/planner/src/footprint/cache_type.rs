//! The encodings that llama.cpp can keep keys and values in, and what they take.
//!
//! Not here: which of them a context accepts (`refusal.rs`), how many numbers there are
//! (`cache.rs`).

/// How the numbers of a cache of keys or values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CacheType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats: what llama.cpp takes when nobody says otherwise.
    #[default]
    F16,
    /// 16-bit floats with the exponents of 32-bit ones.
    Bf16,
    /// 8 bits and a scale for each 32.
    Q8_0,
    /// 5 bits, a scale and a minimum for each 32.
    Q5_1,
    /// 5 bits and a scale for each 32.
    Q5_0,
    /// 4 bits, a scale and a minimum for each 32.
    Q4_1,
    /// 4 bits and a scale for each 32.
    Q4_0,
    /// 4 bits through a table, and a scale for each 32.
    Iq4Nl,
}

impl CacheType {
    /// All of them, widest first. Source: `kv_cache_types` in llama.cpp's `common/arg.cpp`.
    pub const ALL: [Self; 9] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q5_1,
        Self::Q5_0,
        Self::Q4_1,
        Self::Q4_0,
        Self::Iq4Nl,
    ];

    /// As people write it on llama.cpp's command line, for example `q8_0`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q5_1 => "q5_1",
            Self::Q5_0 => "q5_0",
            Self::Q4_1 => "q4_1",
            Self::Q4_0 => "q4_0",
            Self::Iq4Nl => "iq4_nl",
        }
    }

    /// The type of this name, in any case.
    ///
    /// # Errors
    /// A fragment that names what there is.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
        kind.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            format!("'{name}' is no type of cache; use {}", names.join(", "))
        })
    }

    /// Whether numbers share blocks with a scale, so that rows must be whole blocks.
    #[must_use]
    pub const fn is_quantized(self) -> bool {
        self.block_numbers() > 1
    }

    /// Numbers that share a block; one when each stands alone.
    #[must_use]
    pub const fn block_numbers(self) -> u64 {
        self.block().0
    }

    /// Bytes of `numbers` numbers, the last block counted whole. Saturates.
    #[must_use]
    pub const fn bytes(self, numbers: u64) -> u64 {
        let (block_numbers, block_bytes) = self.block();
        numbers.div_ceil(block_numbers).saturating_mul(block_bytes)
    }

    /// Bytes of one number, for people: exact, as all are multiples of 1/16.
    pub(super) fn bytes_a_number(self) -> f64 {
        const BLOCK: u64 = 32;
        self.bytes(BLOCK) as f64 / BLOCK as f64
    }

    /// Numbers and bytes of a block. Source: the block structures in ggml-common.h.
    const fn block(self) -> (u64, u64) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q5_1 => (32, 24),
            Self::Q5_0 => (32, 22),
            Self::Q4_1 => (32, 20),
            Self::Q4_0 | Self::Iq4Nl => (32, 18),
        }
    }
}
