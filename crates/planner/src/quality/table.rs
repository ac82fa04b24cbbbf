//! Published figures of quantizations.

use super::Basis;
use super::name::digits;

/// What is known of one quantization.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) bits_per_weight: f64,
    pub(super) divergence: f64,
    pub(super) basis: Basis,
    pub(super) source: &'static str,
    /// Whether sizes between such rows are interpolated.
    pub(super) on_line: bool,
}

impl Row {
    pub(super) fn bits_class(&self) -> u32 {
        digits(self.name).unwrap_or(0)
    }
}

/// How much better than another a quantization is.
pub(super) struct Improvement {
    pub(super) factor: f64,
    pub(super) source: &'static str,
}

/// Unsloth's table for Gemma 3 27B has both forms of seven quantizations. The dynamic form has 0.92
/// to 0.97 times the divergence, 0.96 in the median.
pub(super) const UNSLOTH_DYNAMIC: Improvement = Improvement {
    factor: 0.96,
    source: "the standard form's figure, less what Unsloth's Dynamic 2.0 page (unsloth.ai/docs) \
             gains for Gemma 3 27B",
};

/// Nothing is published; more bits in the embeddings do no harm.
pub(super) const LARGER_EMBEDDINGS: Improvement =
    Improvement { factor: 1.0, source: "the figure of the form with smaller embeddings" };

const SCOREBOARD: &str = "llama.cpp tools/perplexity/README.md, LLaMA 3 8b Scoreboard";
const BF16: &str = "llama.cpp tools/perplexity/README.md, LLaMA 3 BF16 vs. FP16 comparison";
const UNSLOTH: &str = "Unsloth Dynamic 2.0 (unsloth.ai/docs), KL divergence of Gemma 3 27B, times \
    1.23: the ratio of UD-IQ2_M there and on the llama.cpp scoreboard";
const LARGER: &str = "no figure of its own is published; it has more bits than the plain form, \
    whose figure on the llama.cpp scoreboard it gets (for UD-Q8_K_XL, localbench found the two \
    equal on Gemma 4 31B)";

const fn row(name: &'static str, bits_per_weight: f64, divergence: f64) -> Row {
    Row {
        name,
        bits_per_weight,
        divergence,
        basis: Basis::Measured,
        source: SCOREBOARD,
        on_line: false,
    }
}

const fn line(name: &'static str, bits_per_weight: f64, divergence: f64) -> Row {
    Row { on_line: true, ..row(name, bits_per_weight, divergence) }
}

const fn derived(
    name: &'static str,
    bits_per_weight: f64,
    divergence: f64,
    source: &'static str,
) -> Row {
    Row { basis: Basis::Derived, source, ..row(name, bits_per_weight, divergence) }
}

/// Divergences are with an importance matrix where the scoreboard has both (below six bits, the
/// files that people download are made with one). Bits a weight are those of Llama 3.1 8B in
/// llama.cpp's tools/quantize/README.md, or of the scoreboard's file sizes.
pub(super) const TABLE: &[Row] = &[
    Row { source: BF16, ..row("F32", 32.0, 0.000_001) },
    Row { source: BF16, ..row("BF16", 16.0, 0.000_025) },
    row("F16", 16.0005, 0.000_551),
    line("Q8_0", 8.5008, 0.001_355),
    line("Q6_K", 6.5633, 0.005_452),
    line("Q5_K_M", 5.7036, 0.010_762),
    row("Q5_K_S", 5.5704, 0.016_595),
    row("Q5_1", 6.04, 0.018_045),
    row("Q5_0", 5.57, 0.022_239),
    line("Q4_K_M", 4.8944, 0.028_152),
    row("Q4_K_S", 4.6672, 0.031_951),
    row("IQ4_NL", 4.6818, 0.035_742),
    row("IQ4_XS", 4.4597, 0.036_334),
    row("Q4_1", 5.11, 0.071_683),
    row("Q4_0", 4.64, 0.071_940),
    row("Q3_K_L", 4.2979, 0.073_077),
    line("Q3_K_M", 4.0, 0.084_358),
    row("IQ3_M", 3.7628, 0.102_534),
    row("IQ3_S", 3.6606, 0.111_278),
    row("IQ3_XS", 3.4977, 0.138_693),
    row("IQ3_XXS", 3.2548, 0.183_625),
    row("Q3_K_S", 3.6429, 0.199_821),
    row("IQ2_M", 2.9294, 0.325_989),
    line("Q2_K", 3.1593, 0.332_223),
    row("Q2_K_S", 2.9697, 0.403_360),
    row("IQ2_S", 2.7403, 0.439_197),
    row("IQ2_XS", 2.5882, 0.546_290),
    line("IQ2_XXS", 2.3824, 0.812_022),
    row("IQ1_M", 2.1460, 1.393_084),
    line("IQ1_S", 2.0042, 2.254_554),
    derived("UD-Q8_K_XL", 10.5, 0.001_355, LARGER),
    derived("UD-Q6_K_XL", 7.3, 0.005_452, LARGER),
    derived("UD-Q5_K_XL", 5.75, 0.010_762, LARGER),
    derived("UD-Q4_K_XL", 4.63, 0.029_2, UNSLOTH),
    derived("UD-Q3_K_XL", 3.78, 0.099_2, UNSLOTH),
    derived("UD-Q2_K_XL", 2.95, 0.271_8, UNSLOTH),
    derived("UD-IQ2_M", 2.65, 0.317_6, UNSLOTH),
];
