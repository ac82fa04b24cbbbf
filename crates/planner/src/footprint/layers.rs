//! What each layer of a model keeps from token to token.
//!
//! The rules are those of llama.cpp's `llama-hparams.cpp`, `llama-model.cpp` (`create_memory`) and
//! of its models. An architecture that is not known here counts as full attention in every layer,
//! which is never too little for one that attends. Bytes are in `cache.rs` and `recurrent.rs`.

use crate::gguf::{Header, Value};

/// What is to be known of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) attention: Attention,
    /// How many tokens it sees, when that is not all of them.
    pub(super) window: Option<u64>,
    /// Keys and values that it keeps.
    pub(super) cache: Cached,
    /// Whether it keeps a state for each sequence.
    pub(super) has_state: bool,
    /// The width of its feed-forward network, the dense one.
    pub(super) feed_forward: u64,
}

/// Of which tokens keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cached {
    /// None: the layer uses another's cache or has no attention.
    Nothing,
    /// All of the context.
    Everything,
    /// The last so many.
    Window(u64),
}

/// The figures of attention in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Attention {
    pub(super) heads: u64,
    pub(super) heads_kv: u64,
    pub(super) key_width: u64,
    pub(super) value_width: u64,
}

/// Architectures whose layers are known here: those that llama.cpp gives one of its plain caches,
/// or a plain state beside it. Source: `create_memory` in `llama-model.cpp` of the pinned build.
const KNOWN: [&str; 119] = [
    "afmoe",
    "apertus",
    "arcee",
    "arctic",
    "arwkv7",
    "baichuan",
    "bailingmoe",
    "bailingmoe2",
    "bailingmoe3",
    "bert",
    "bitnet",
    "bloom",
    "chameleon",
    "chatglm",
    "codeshell",
    "cogvlm",
    "cohere2",
    "cohere2moe",
    "command-r",
    "dbrx",
    "deci",
    "deepseek",
    "deepseek2",
    "deepseek2-ocr",
    "dots1",
    "dream",
    "ernie4_5",
    "ernie4_5-moe",
    "eurobert",
    "exaone",
    "exaone-moe",
    "exaone4",
    "falcon",
    "falcon-h1",
    "gemma",
    "gemma-embedding",
    "gemma2",
    "gemma3",
    "gemma3n",
    "gemma4",
    "glm4",
    "glm4moe",
    "gpt-oss",
    "gpt2",
    "gptneox",
    "granite",
    "granite_swa",
    "granitehybrid",
    "granitemoe",
    "grok",
    "grovemoe",
    "hunyuan-dense",
    "hunyuan-moe",
    "hunyuan_vl",
    "internlm2",
    "jais",
    "jais2",
    "jamba",
    "jina-bert-v2",
    "jina-bert-v3",
    "kimi-linear",
    "laguna",
    "lfm2",
    "lfm2moe",
    "llada",
    "llada-moe",
    "llama",
    "llama-embed",
    "llama4",
    "mamba",
    "mamba2",
    "mellum",
    "minicpm",
    "minicpm3",
    "minimax-m2",
    "mistral3",
    "mistral4",
    "modern-bert",
    "mpt",
    "nemotron",
    "nemotron_h",
    "nemotron_h_moe",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "olmo",
    "olmo2",
    "olmoe",
    "openelm",
    "orion",
    "phi2",
    "phi3",
    "phimoe",
    "plamo",
    "plamo2",
    "plamo3",
    "qwen",
    "qwen2",
    "qwen2moe",
    "qwen2vl",
    "qwen3",
    "qwen35",
    "qwen35moe",
    "qwen3moe",
    "qwen3next",
    "qwen3vl",
    "qwen3vlmoe",
    "rnd1",
    "rwkv6",
    "rwkv6qwen2",
    "rwkv7",
    "seed_oss",
    "smallthinker",
    "smollm3",
    "stablelm",
    "starcoder",
    "starcoder2",
    "t5encoder",
    "xverse",
];

/// Whether the rules of this architecture are known here.
pub(super) fn is_known(architecture: &str) -> bool {
    KNOWN.contains(&architecture)
}

/// All layers of the file, those included that are not loaded: they keep nothing.
pub(super) fn all(header: &Header) -> Vec<Layer> {
    let loaded = layers_loaded(header);
    (0..header.layers()).map(|layer| of(header, layer, layer < loaded)).collect()
}

fn of(header: &Header, layer: u64, is_loaded: bool) -> Layer {
    let window = window(header, layer);
    let attention = attention(header, layer, window.is_some());
    let feed_forward = header.layer_u64("feed_forward_length", layer).unwrap_or(0);
    let beside = header.architecture() == "falcon-h1";
    let recurrent = is_recurrent(header, layer, &attention, feed_forward);
    // Layers of Nemotron-H are attention, state or feed-forward, never two of them.
    let feeds = is_nemotron_h(header) && feed_forward > 0;
    let attends = attention.heads_kv > 0 && !recurrent && !feeds;
    let cache = if !is_loaded || !attends || shares_its_cache(header, layer) {
        Cached::Nothing
    } else {
        window.map_or(Cached::Everything, Cached::Window)
    };
    Layer { attention, window, cache, has_state: is_loaded && (beside || recurrent), feed_forward }
}

/// Layers that are loaded: those at the end that only guess ahead (MTP, `NextN`) are not.
pub(super) fn layers_loaded(header: &Header) -> u64 {
    let guessing = header.arch_u64("nextn_predict_layers").unwrap_or(0);
    header.layers().saturating_sub(guessing)
}

/// Heads and their widths in layer `layer`.
fn attention(header: &Header, layer: u64, slides: bool) -> Attention {
    let heads = header.layer_u64("attention.head_count", layer).unwrap_or(0);
    let heads_kv = header.layer_u64("attention.head_count_kv", layer).unwrap_or(heads);
    // Never the width over the heads when the file gives the width of a head. llama.cpp divides by
    // the heads of the first layer, whatever the others have.
    let first = header.layer_u64("attention.head_count", 0).filter(|heads| *heads > 0);
    let width = header.arch_u64("embedding_length").unwrap_or(0);
    let even = width.checked_div(first.unwrap_or(heads)).unwrap_or(0);
    let width = |suffix: &str| {
        let of_window = slides.then(|| header.arch_u64(&format!("{suffix}_swa"))).flatten();
        of_window.or_else(|| header.arch_u64(suffix)).unwrap_or(even)
    };
    Attention {
        heads,
        heads_kv,
        key_width: width("attention.key_length"),
        value_width: width("attention.value_length"),
    }
}

/// Whether the cache holds one compressed vector, from which keys and values are computed.
pub(super) fn is_latent(header: &Header) -> bool {
    header.arch("attention.key_length_mla").is_some()
        && header.arch("attention.value_length_mla").is_some()
}

/// Numbers of the vector by which sparse attention chooses cells, kept beside keys and values.
pub(super) fn index_width(header: &Header) -> u64 {
    header.arch_u64("attention.indexer.key_length").unwrap_or(0)
}

/// Layers at the end of Gemma 3n and 4 read the cache of earlier ones.
fn shares_its_cache(header: &Header, layer: u64) -> bool {
    const GEMMA3N_LAYERS_WITH_CACHE: u64 = 20;
    match header.architecture() {
        "gemma3n" => layer >= GEMMA3N_LAYERS_WITH_CACHE,
        "gemma4" => {
            let sharing = header.arch_u64("attention.shared_kv_layers").unwrap_or(0);
            layer >= header.layers().saturating_sub(sharing)
        }
        _ => false,
    }
}

/// Whether layer `layer` carries a state and has no attention.
fn is_recurrent(header: &Header, layer: u64, attention: &Attention, feed_forward: u64) -> bool {
    const INTERVAL_DEFAULT: u64 = 4;
    match header.architecture() {
        "mamba" | "mamba2" | "rwkv6" | "rwkv6qwen2" | "rwkv7" | "arwkv7" => true,
        "qwen3next" | "qwen35" | "qwen35moe" => {
            if let Some(Value::Array(layers)) = header.arch("attention.recurrent_layers") {
                return array_element(layers.kept.as_deref(), layer);
            }
            let interval = header.arch_u64("full_attention_interval").unwrap_or(INTERVAL_DEFAULT);
            !(layer + 1).is_multiple_of(interval)
        }
        _ => {
            let has_state = ["ssm.state_size", "shortconv.l_cache", "kda.head_dim"]
                .iter()
                .any(|suffix| header.arch(suffix).is_some());
            let attends = attention.heads_kv > 0;
            let feeds = is_nemotron_h(header) && feed_forward > 0;
            has_state && !attends && !feeds
        }
    }
}

fn is_nemotron_h(header: &Header) -> bool {
    matches!(header.architecture(), "nemotron_h" | "nemotron_h_moe")
}

/// The window of layer `layer` in tokens, when the layer slides.
fn window(header: &Header, layer: u64) -> Option<u64> {
    let architecture = header.architecture();
    let stated = header.arch_u64("attention.sliding_window");
    let window = match (architecture, stated) {
        // Chunks of Llama 4 are of one size, unless it has none.
        ("llama4", Some(0)) => None,
        ("llama4", _) => default_window(architecture),
        (_, stated) => stated.or_else(|| default_window(architecture)),
    };
    let window = window.filter(|window| *window > 0)?;
    let slides = match header.arch("attention.sliding_window_pattern") {
        Some(Value::Array(pattern)) => array_element(pattern.kept.as_deref(), layer),
        Some(single) => {
            let full_first = default_pattern(architecture).is_some_and(|(_, first)| first);
            slides(single.as_u64()?, full_first, layer)
        }
        None => {
            let (period, full_first) = default_pattern(architecture)?;
            slides(period, full_first, layer)
        }
    };
    slides.then_some(window)
}

/// In a period of this many layers, one is full: the last, or the first.
fn slides(period: u64, full_first: bool, layer: u64) -> bool {
    match layer.checked_rem(period) {
        // A period of zero means that all slide.
        None => true,
        Some(place) if full_first => place != 0,
        Some(place) => place + 1 < period,
    }
}

/// Windows that llama.cpp assumes when the file names none.
fn default_window(architecture: &str) -> Option<u64> {
    match architecture {
        "gemma2" => Some(4096),
        "llama4" => Some(8192),
        "exaone-moe" => Some(128),
        _ => None,
    }
}

/// What llama.cpp assumes when the file has no pattern. Windows of other architectures are not
/// used by it: they cache everything.
fn default_pattern(architecture: &str) -> Option<(u64, bool)> {
    Some(match architecture {
        "gemma2" | "gpt-oss" => (2, false),
        "afmoe" | "cohere2" | "exaone-moe" | "exaone4" | "llama4" | "mellum" | "olmo2" => {
            (4, false)
        }
        "gemma3n" => (5, false),
        "gemma3" | "gemma-embedding" => (6, false),
        "plamo3" => (8, false),
        "cohere2moe" | "laguna" | "smallthinker" => (4, true),
        _ => return None,
    })
}

fn array_element(elements: Option<&[Value]>, layer: u64) -> bool {
    let element = usize::try_from(layer).ok().and_then(|layer| elements?.get(layer));
    element.is_some_and(|value| {
        value.as_bool().unwrap_or_else(|| value.as_u64().is_some_and(|number| number != 0))
    })
}
