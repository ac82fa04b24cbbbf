//! What each kind of computing unit makes of its memory and its arithmetic: measured constants.
//!
//! Each was fitted to published runs, one value for a kind of unit and never one for a machine or a
//! file. `tests.rs` prints how far they are off.

use crate::gguf::TensorType;
use crate::machine::Unit;

/// The constants of one kind of unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    /// The share of the maker's bandwidth that writing tokens reaches.
    pub(super) bandwidth_share: f64,
    /// Time that each layer takes whatever its size: starting kernels, waiting between them.
    pub(super) layer_s: f64,
    /// The share of its usual speed at which K-quants are read.
    pub(super) k_quant_share: f64,
}

const fn new(bandwidth_share: f64, layer_us: f64, k_quant_share: f64) -> Pace {
    Pace { bandwidth_share, layer_s: layer_us * 1e-6, k_quant_share }
}

/// The constants of `unit`.
pub(super) fn pace(unit: Unit) -> Pace {
    match unit {
        // Source of the five Apple rows: ggml-org/llama.cpp discussion 4167, Llama 2 7B in F16,
        // Q8_0 and Q4_0. K-quants on an M1 Max: brand-o/normiebench issue 40, 46.2 tokens/s where
        // the same model in Q4_0 would give 54.
        Unit::AppleM1 => new(0.90, 134.0, 0.85),
        Unit::AppleM1Ultra => new(0.75, 134.0, 0.85),
        Unit::Apple => new(0.90, 134.0, 1.0),
        Unit::AppleUltra => new(0.80, 134.0, 1.0),
        // Its rows were measured with builds that run independent operations side by side.
        Unit::AppleM5 => new(0.90, 40.0, 1.0),
        // Strix Halo: 46.4 tokens/s with Llama-2-7B and 41.5 with Qwen3-8B, both Q4_K_M
        // (AMD-Ecosystem/llama.cpp pull request 59).
        Unit::SharedGpu => new(0.80, 30.0, 1.0),
        // Ryzen 7950X with DDR5-5200, 7.56 tokens/s with Llama-3.1-8B Q8_0 and 11.25 with Q4_0
        // (llama.cpp's columns in ikawrakow/ik_llama.cpp pull request 54).
        Unit::Processor => new(0.68, 50.0, 1.0),
        // RTX 4090: 102.8 tokens/s with Llama-3-8B Q4_0 and 32,768 tokens before
        // (ggml-org/llama.cpp pull request 17505); RTX 5090: 652 with a BF16 model of 1B (24216);
        // RX 9070 XT: 114.9 with Qwen3-8B Q4_K_M (maeddesg/vulkanforge, wiki page Benchmarks).
        Unit::GraphicsCard => new(0.92, 20.0, 1.0),
        // H100 PCIe: 144.5 tokens/s with Llama 3 8B Q4_K_M and 67.8 in F16
        // (XiongjieDai/GPU-Benchmarks-on-LLM-Inference, builds of 2024).
        Unit::Accelerator => new(0.65, 80.0, 1.0),
    }
}

/// Operations, as matrix products count them, that it takes to unpack one weight when a token is
/// written. Units that read memory faster than they unpack gain nothing from fewer bits.
///
/// Source: an M1 Max with 24 cores against one with 32 at Q4_0 (discussion 4167), and the run of
/// Llama-3.1-8B through all types in llama.cpp's `tools/quantize/README.md`, where 2 and 3 bits are
/// no faster than 4.
pub(super) fn unpack_operations(kind: TensorType) -> f64 {
    let bits = kind.block_bytes() as f64 * 8.0 / kind.block_elements() as f64;
    if kind.block_elements() == 1 {
        0.0
    } else if bits > 8.0 {
        2.0
    } else if bits >= 4.0 {
        6.0
    } else {
        11.0
    }
}

/// The share of half precision's speed at which long steps multiply packed weights: 0.89 on M1 and
/// M2, 0.97 on M3 and M4 (discussion 4167).
pub(super) const PACKED_PREFILL_SHARE: f64 = 0.92;

/// The share of a dense model's speed at which long steps go through experts, whose matrices are
/// small and get unequal parts of the step: an M2 Ultra reads 2,412 tokens/s with gpt-oss-20b
/// (ggml-org/llama.cpp pull request 19390), where its active weights alone would allow 3,050.
pub(super) const EXPERTS_PREFILL_SHARE: f64 = 0.75;

/// What a processor computes, as a share of the GPU that shares its RAM. A Ryzen 7950X reaches a
/// tenth of what Strix Halo's GPU does; see the sources of both in `machine/rows.rs`.
pub(super) const PROCESSOR_OF_SHARED_GPU: f64 = 0.1;
