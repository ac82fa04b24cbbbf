//! Which release of llama.cpp lays out a step: releases differ in what they reserve.
//!
//! Not here: the layout itself (`compute.rs`).

/// A release of llama.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Build {
    /// The one that Resident's worker is built from (`llama-cpp-sys-2` 0.1.161).
    #[default]
    Pinned,
    /// A build of 22 August 2026 (ggml-metal at 233fe1fc9), from which published measurements
    /// come. It reserves no vectors of images among tokens, and pads whole rows of quantized
    /// caches.
    August2026,
}

impl Build {
    /// Whether a step has room for vectors from outside among its tokens.
    pub(super) fn mixes_vectors(self) -> bool {
        self == Self::Pinned
    }

    /// Whether a GPU pads the rows of a quantized cache as they are, and not in half precision.
    pub(super) fn pads_quantized_rows(self) -> bool {
        self == Self::August2026
    }

    /// Whether scaled vectors of tokens need a factor for each.
    pub(super) fn scales_by_token(self) -> bool {
        self == Self::Pinned
    }

    /// What the product with experts needs on Apple's GPUs for its factors. Source:
    /// `ggml_metal_op_mul_mat_id_extra_amax` in `ggml-metal-ops.cpp`.
    pub(super) fn expert_factors_bytes(self) -> u64 {
        const WITH_PARTS_BYTES: u64 = 8 + 256 * 4;
        match self {
            Self::Pinned => WITH_PARTS_BYTES,
            Self::August2026 => 0,
        }
    }
}
