//! The real shapes that a made model can have. Only figures; how they become tensors is
//! `tensors`' part.

use clap::ValueEnum;

/// The architectures that can be made, by their names in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    Llama,
    Qwen3,
    Qwen3vl,
    Qwen3moe,
    Gemma3,
    Qwen35,
    Qwen35moe,
    Lfm2,
    Granitehybrid,
    Mamba,
    Mamba2,
    Bert,
}

impl Architecture {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen3 => "qwen3",
            Self::Qwen3vl => "qwen3vl",
            Self::Qwen3moe => "qwen3moe",
            Self::Gemma3 => "gemma3",
            Self::Qwen35 => "qwen35",
            Self::Qwen35moe => "qwen35moe",
            Self::Lfm2 => "lfm2",
            Self::Granitehybrid => "granitehybrid",
            Self::Mamba => "mamba",
            Self::Mamba2 => "mamba2",
            Self::Bert => "bert",
        }
    }
}

/// What a mixture layer has in place of one feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Experts {
    pub(crate) total: u32,
    pub(crate) used: u32,
    pub(crate) feed_forward: u32,
}

/// What layers have that keep a state of the last token in place of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recurrence {
    /// Gated delta nets, in all layers but every so many.
    DeltaNet {
        /// Width of a head, of keys as of values.
        head_width: u32,
        key_heads: u32,
        value_heads: u32,
        interval: u32,
    },
    /// Convolutions over so many tokens, in all layers but these.
    ShortConvolution { tokens: u32, attending: &'static [u32] },
    /// State-space mixers, in all layers but these. The inputs of a mixer are twice as wide as the
    /// model.
    StateSpace {
        /// Numbers of the state for each input.
        state: u32,
        /// Of Mamba the rank of its steps, of Mamba 2 the number of heads.
        rank: u32,
        /// Groups of heads that share projections; Mamba has none.
        groups: Option<u32>,
        attending: &'static [u32],
    },
}

impl Recurrence {
    /// Layers with attention, where they are named one by one.
    pub(crate) const fn attending(&self) -> Option<&'static [u32]> {
        match self {
            Self::DeltaNet { .. } => None,
            Self::ShortConvolution { attending, .. } | Self::StateSpace { attending, .. } => {
                Some(attending)
            }
        }
    }
}

/// How a model that embeds turns the vectors of all tokens into one, or into a score; the numbers are
/// llama.cpp's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    Mean = 1,
    Cls = 2,
    Last = 3,
    /// By a head that says how well a document answers a query.
    Rank = 4,
}

/// The figures of one model. Widths and counts in elements, context in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) architecture: Architecture,
    pub(crate) layers: u32,
    pub(crate) width: u32,
    pub(crate) heads: u32,
    pub(crate) heads_kv: u32,
    pub(crate) head_width: u32,
    pub(crate) feed_forward: u32,
    pub(crate) vocabulary: u32,
    pub(crate) context: u32,
    /// Whether the output matrix is the embedding matrix.
    pub(crate) tied: bool,
    pub(crate) rope_base: f32,
    pub(crate) experts: Option<Experts>,
    /// Window in tokens of the layers that slide, five of six.
    pub(crate) window: Option<u32>,
    /// What some or all layers have in place of attention.
    pub(crate) recurrence: Option<Recurrence>,
    /// Encoders pool, and generators that were made to embed.
    pub(crate) pooling: Option<Pooling>,
    /// Further layers, which guess ahead.
    pub(crate) guessing: u32,
}

/// Figures that most of a family share; a row of [`SHAPES`] says what differs.
const fn family(architecture: Architecture, vocabulary: u32, context: u32) -> Shape {
    Shape {
        name: "",
        architecture,
        layers: 0,
        width: 0,
        heads: 0,
        heads_kv: 0,
        head_width: 128,
        feed_forward: 0,
        vocabulary,
        context,
        tied: false,
        rope_base: 1e6,
        experts: None,
        window: None,
        recurrence: None,
        pooling: None,
        guessing: 0,
    }
}

const QWEN3: Shape = family(Architecture::Qwen3, 151_936, 40_960);
const QWEN3VL: Shape = family(Architecture::Qwen3vl, 151_936, 262_144);
const QWEN3MOE: Shape = family(Architecture::Qwen3moe, 151_936, 40_960);
const LLAMA3: Shape = Shape { rope_base: 5e5, ..family(Architecture::Llama, 128_256, 131_072) };
const GEMMA3: Shape =
    Shape { head_width: 256, tied: true, ..family(Architecture::Gemma3, 262_144, 32_768) };
const QWEN35: Shape =
    Shape { head_width: 256, rope_base: 1e7, ..family(Architecture::Qwen35, 248_320, 262_144) };
const LFM2: Shape = Shape { head_width: 64, ..family(Architecture::Lfm2, 65_536, 128_000) };
const GRANITE: Shape = family(Architecture::Granitehybrid, 100_352, 32_768);
const MAMBA: Shape = family(Architecture::Mamba, 50_280, 1_048_576);
const MAMBA2: Shape = family(Architecture::Mamba2, 50_288, 1_048_576);
const BERT: Shape = Shape {
    heads: 12,
    heads_kv: 12,
    head_width: 32,
    pooling: Some(Pooling::Mean),
    ..family(Architecture::Bert, 30_522, 512)
};
const EXPERTS_30B: Experts = Experts { total: 128, used: 8, feed_forward: 768 };

/// One row of the table: name, layers, width, heads, heads of keys and values, feed-forward width.
const fn row(name: &'static str, base: Shape, figures: [u32; 5]) -> Shape {
    let [layers, width, heads, heads_kv, feed_forward] = figures;
    Shape { name, layers, width, heads, heads_kv, feed_forward, ..base }
}

const fn tied(shape: Shape) -> Shape {
    Shape { tied: true, ..shape }
}

const fn recurrent(recurrence: Recurrence, shape: Shape) -> Shape {
    Shape { recurrence: Some(recurrence), ..shape }
}

/// With a layer that guesses ahead. Were the matrices tied, each token would be likeliest to follow
/// itself, and there would be nothing to guess.
const fn guessing(shape: Shape) -> Shape {
    Shape { guessing: 1, tied: false, ..shape }
}

const fn windowed(window: u32, shape: Shape) -> Shape {
    Shape { window: Some(window), ..shape }
}

/// The published figures (config.json of each model); the totals of parameters are tested. `tiny`
/// exists once per architecture and is for tests: a megabyte or two.
pub(crate) const SHAPES: [Shape; 40] = [
    tied(row("qwen3-0.6b", QWEN3, [28, 1024, 16, 8, 3072])),
    tied(row("qwen3-1.7b", QWEN3, [28, 2048, 16, 8, 6144])),
    tied(row("qwen3-4b", QWEN3, [36, 2560, 32, 8, 9728])),
    row("qwen3-8b", QWEN3, [36, 4096, 32, 8, 12_288]),
    row("qwen3-14b", QWEN3, [40, 5120, 40, 8, 17_408]),
    row("qwen3-32b", QWEN3, [64, 5120, 64, 8, 25_600]),
    Shape { experts: Some(EXPERTS_30B), ..row("qwen3-30b-a3b", QWEN3MOE, [48, 2048, 32, 4, 6144]) },
    Shape { head_width: 64, ..tied(row("llama-3.2-1b", LLAMA3, [16, 2048, 32, 8, 8192])) },
    tied(row("llama-3.2-3b", LLAMA3, [28, 3072, 24, 8, 8192])),
    row("llama-3.1-8b", LLAMA3, [32, 4096, 32, 8, 14_336]),
    Shape {
        vocabulary: 32_768,
        context: 32_768,
        rope_base: 1e6,
        ..row("mistral-7b-v0.3", LLAMA3, [32, 4096, 32, 8, 14_336])
    },
    Shape {
        vocabulary: 32_256,
        context: 16_384,
        rope_base: 1e5,
        ..row("deepseek-coder-1.3b", LLAMA3, [24, 2048, 16, 16, 5504])
    },
    windowed(512, row("gemma-3-270m", GEMMA3, [18, 640, 4, 1, 2048])),
    windowed(512, row("gemma-3-1b", GEMMA3, [26, 1152, 4, 1, 6912])),
    windowed(
        1024,
        Shape {
            vocabulary: 262_208,
            context: 131_072,
            ..row("gemma-3-4b", GEMMA3, [34, 2560, 8, 4, 10_240])
        },
    ),
    windowed(
        1024,
        Shape {
            vocabulary: 262_208,
            context: 131_072,
            ..row("gemma-3-12b", GEMMA3, [48, 3840, 16, 8, 15_360])
        },
    ),
    recurrent(
        Recurrence::DeltaNet { head_width: 128, key_heads: 16, value_heads: 16, interval: 4 },
        tied(row("qwen3.5-0.8b", QWEN35, [24, 1024, 8, 2, 3584])),
    ),
    recurrent(
        Recurrence::DeltaNet { head_width: 128, key_heads: 16, value_heads: 16, interval: 4 },
        guessing(row("qwen3.5-0.8b-mtp", QWEN35, [24, 1024, 8, 2, 3584])),
    ),
    recurrent(
        Recurrence::ShortConvolution { tokens: 3, attending: &[2, 5, 8, 10, 12, 14] },
        tied(row("lfm2-350m", LFM2, [16, 1024, 16, 8, 4608])),
    ),
    recurrent(
        Recurrence::StateSpace { state: 16, rank: 48, groups: None, attending: &[] },
        tied(row("mamba-130m", MAMBA, [24, 768, 0, 0, 0])),
    ),
    row("minilm-l6", BERT, [6, 384, 12, 12, 1536]),
    Shape { pooling: Some(Pooling::Cls), ..row("bge-small", BERT, [12, 384, 12, 12, 1536]) },
    Shape {
        pooling: Some(Pooling::Cls),
        head_width: 64,
        vocabulary: 250_002,
        context: 8192,
        ..row("bge-m3-like", BERT, [24, 1024, 16, 16, 4096])
    },
    // K-quants need rows of whole blocks of 256, so nothing here is narrower.
    Shape {
        pooling: Some(Pooling::Last),
        ..tiny(row("tiny-embedding", QWEN3, [2, 256, 4, 2, 512]))
    },
    Shape {
        pooling: Some(Pooling::Rank),
        ..tiny(row("tiny-reranker", QWEN3, [2, 256, 4, 2, 512]))
    },
    tiny(row("tiny", QWEN3, [2, 256, 4, 2, 512])),
    tiny(row("tiny", QWEN3VL, [2, 256, 4, 2, 512])),
    Shape {
        experts: Some(Experts { total: 4, used: 2, feed_forward: 256 }),
        ..tiny(row("tiny", QWEN3MOE, [2, 256, 4, 2, 512]))
    },
    tiny(row("tiny", LLAMA3, [2, 256, 4, 2, 512])),
    // Twelve layers would be the first with two that do not slide; six have one.
    windowed(64, tiny(row("tiny", GEMMA3, [6, 256, 4, 1, 256]))),
    recurrent(
        Recurrence::DeltaNet { head_width: 64, key_heads: 2, value_heads: 4, interval: 4 },
        tiny(row("tiny", QWEN35, [4, 256, 4, 2, 256])),
    ),
    recurrent(
        Recurrence::DeltaNet { head_width: 64, key_heads: 2, value_heads: 4, interval: 4 },
        guessing(tiny(row("tiny-mtp", QWEN35, [4, 256, 4, 2, 256]))),
    ),
    Shape {
        architecture: Architecture::Qwen35moe,
        experts: Some(Experts { total: 4, used: 2, feed_forward: 256 }),
        ..recurrent(
            Recurrence::DeltaNet { head_width: 64, key_heads: 2, value_heads: 4, interval: 4 },
            guessing(tiny(row("tiny-mtp", QWEN35, [4, 256, 4, 2, 256]))),
        )
    },
    recurrent(
        Recurrence::ShortConvolution { tokens: 3, attending: &[1, 3] },
        tiny(row("tiny", LFM2, [4, 256, 4, 2, 256])),
    ),
    recurrent(
        Recurrence::StateSpace { state: 32, rank: 8, groups: Some(1), attending: &[1] },
        tiny(row("tiny", GRANITE, [3, 256, 4, 2, 256])),
    ),
    recurrent(
        Recurrence::StateSpace { state: 16, rank: 16, groups: None, attending: &[] },
        tiny(row("tiny", MAMBA, [4, 256, 0, 0, 0])),
    ),
    recurrent(
        Recurrence::StateSpace { state: 32, rank: 8, groups: Some(1), attending: &[] },
        tiny(row("tiny", MAMBA2, [3, 256, 0, 0, 0])),
    ),
    Shape { context: 512, ..tiny(row("tiny", BERT, [2, 256, 4, 4, 512])) },
    Shape {
        context: 512,
        pooling: Some(Pooling::Rank),
        ..tiny(row("tiny-reranker", BERT, [2, 256, 4, 4, 512]))
    },
    // Wide enough to be measured, small enough to be made in a second.
    tied(Shape { vocabulary: 4096, ..row("small", QWEN3, [8, 512, 8, 4, 1536]) }),
];

const fn tiny(shape: Shape) -> Shape {
    Shape { head_width: 64, vocabulary: 1024, context: 2048, tied: true, ..shape }
}

/// The shape that `name` means for `architecture`.
///
/// # Errors
/// A sentence with the names there are, when there is no such shape.
pub(crate) fn find(architecture: Architecture, name: &str) -> anyhow::Result<Shape> {
    let of_architecture = || SHAPES.iter().filter(|shape| shape.architecture == architecture);
    if let Some(shape) = of_architecture().find(|shape| shape.name == name) {
        return Ok(*shape);
    }
    let names: Vec<&str> = of_architecture().map(|shape| shape.name).collect();
    let elsewhere = SHAPES.iter().find(|shape| shape.name == name);
    let hint = elsewhere.map_or_else(String::new, |shape| {
        format!(" (it is one of --arch {})", shape.architecture.name())
    });
    anyhow::bail!(
        "no shape `{name}` for --arch {}{hint}; there are: {}",
        architecture.name(),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_a_wrong_architecture_is_explained() {
        for shape in SHAPES {
            assert_eq!(find(shape.architecture, shape.name).unwrap(), shape);
        }
        let message = find(Architecture::Llama, "qwen3-8b").unwrap_err().to_string();
        assert!(message.contains("--arch qwen3)"), "{message}");
        assert!(message.contains("llama-3.2-1b"), "{message}");
    }

    #[test]
    fn heads_divide_evenly() {
        for shape in SHAPES.iter().filter(|shape| shape.heads > 0) {
            assert_eq!(shape.heads % shape.heads_kv, 0, "{}", shape.name);
        }
    }
}
