//! What each layer of a model keeps from token to token.
//!
//! The rules are those of llama.cpp's `llama-hparams.cpp`, `llama-model.cpp` (`create_memory`) and
//! of its models. An architecture that is not known here counts as full attention in every layer,
//! which is never too little for one that attends; where its metadata speaks of a state, every layer
//! that may carry one counts as carrying it besides. Bytes are in `cache.rs` and `recurrent.rs`.

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

/// All layers of the file. Those that guess ahead keep nothing in the model's own context.
pub(super) fn all(header: &Header) -> Vec<Layer> {
    let rules = Rules::of(header);
    (0..header.layers()).map(|layer| rules.layer(layer)).collect()
}

/// The same for the context in which layers guess ahead: they alone keep anything there.
pub(super) fn guessing(header: &Header) -> Vec<Layer> {
    let loaded = layers_loaded(header);
    let nothing = |layer: Layer| Layer { cache: Cached::Nothing, has_state: false, ..layer };
    let guesses = |layer: Layer| Layer { cache: Cached::Everything, ..nothing(layer) };
    let layers = (0..).zip(all(header));
    layers
        .map(|(place, layer)| if place < loaded { nothing(layer) } else { guesses(layer) })
        .collect()
}

/// Layers that every pass goes through: those at the end that only guess ahead (MTP, `NextN`) are loaded
/// for a model that guesses for itself, and computed in a context of their own.
pub(super) fn layers_loaded(header: &Header) -> u64 {
    let guessing = header.arch_u64("nextn_predict_layers").unwrap_or(0);
    header.layers().saturating_sub(guessing)
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

/// What a header says of its layers, each figure looked up once for all of them.
struct Rules<'a> {
    architecture: &'a str,
    loaded: u64,
    heads: Option<&'a Value>,
    heads_kv: Option<&'a Value>,
    key_width: Width,
    value_width: Width,
    embedding_width: u64,
    feed_forward: Option<&'a Value>,
    /// The window of layers that slide.
    window: Option<u64>,
    window_pattern: Option<&'a Value>,
    /// From this layer on, layers read the cache of earlier ones.
    first_sharing: u64,
    state: States<'a>,
}

/// The stated width of a head.
#[derive(Debug, Clone, Copy)]
struct Width {
    everywhere: Option<u64>,
    in_windows: Option<u64>,
}

/// Which layers carry a state.
enum States<'a> {
    None,
    All,
    /// Those that the file lists; they do not attend.
    Listed(Option<&'a [Value]>),
    /// All but each of this many; they do not attend.
    Between(u64),
    /// Those that do not attend.
    Elsewhere,
    /// Those of which it cannot be told that they carry none. They may attend besides.
    Perhaps(Vec<bool>),
}

impl<'a> Rules<'a> {
    fn of(header: &'a Header) -> Self {
        let architecture = header.architecture();
        let width = |suffix: &str| Width {
            everywhere: header.arch_u64(suffix),
            in_windows: header.arch_u64(&format!("{suffix}_swa")),
        };
        Self {
            architecture,
            loaded: layers_loaded(header),
            heads: header.arch("attention.head_count"),
            heads_kv: header.arch("attention.head_count_kv"),
            key_width: width("attention.key_length"),
            value_width: width("attention.value_length"),
            embedding_width: header.arch_u64("embedding_length").unwrap_or(0),
            feed_forward: header.arch("feed_forward_length"),
            window: window(header),
            window_pattern: header.arch("attention.sliding_window_pattern"),
            first_sharing: first_sharing(header),
            state: States::of(header),
        }
    }

    fn layer(&self, layer: u64) -> Layer {
        let is_loaded = layer < self.loaded;
        let window = self.window(layer);
        let attention = self.attention(layer, window.is_some());
        let feed_forward = number(self.feed_forward, layer).unwrap_or(0);
        let beside = self.architecture == "falcon-h1";
        // Layers of Nemotron-H are attention, state or feed-forward, never two of them.
        let feeds =
            matches!(self.architecture, "nemotron_h" | "nemotron_h_moe") && feed_forward > 0;
        let might_attend = attention.heads_kv > 0 && !feeds;
        let (carries, attends) = match &self.state {
            States::None => (false, might_attend),
            States::All => (true, false),
            States::Listed(layers) => {
                let listed = array_element(*layers, layer);
                (listed, might_attend && !listed)
            }
            States::Between(interval) => {
                let between = !(layer + 1).is_multiple_of(*interval);
                (between, might_attend && !between)
            }
            States::Elsewhere => (attention.heads_kv == 0 && !feeds, might_attend),
            States::Perhaps(layers) => {
                let place = usize::try_from(layer).ok();
                let may_carry = place.and_then(|place| layers.get(place)).is_none_or(|may| *may);
                (may_carry || !might_attend, might_attend)
            }
        };
        let cache = if !is_loaded || !attends || layer >= self.first_sharing {
            Cached::Nothing
        } else {
            window.map_or(Cached::Everything, Cached::Window)
        };
        let has_state = is_loaded && (beside || carries);
        Layer { attention, window, cache, has_state, feed_forward }
    }

    /// Heads and their widths in layer `layer`.
    fn attention(&self, layer: u64, slides: bool) -> Attention {
        let heads = number(self.heads, layer).unwrap_or(0);
        // Never the width over the heads when the file gives the width of a head. llama.cpp
        // divides by the heads of the first layer, whatever the others have.
        let first = number(self.heads, 0).filter(|heads| *heads > 0);
        let even = self.embedding_width.checked_div(first.unwrap_or(heads)).unwrap_or(0);
        let width = |of: Width| {
            let of_window = of.in_windows.filter(|_| slides);
            of_window.or(of.everywhere).unwrap_or(even)
        };
        Attention {
            heads,
            heads_kv: number(self.heads_kv, layer).unwrap_or(heads),
            key_width: width(self.key_width),
            value_width: width(self.value_width),
        }
    }

    /// The window of layer `layer` in tokens, when the layer slides.
    fn window(&self, layer: u64) -> Option<u64> {
        let default = default_pattern(self.architecture);
        let slides = match self.window_pattern {
            Some(Value::Array(pattern)) => array_element(pattern.kept.as_deref(), layer),
            Some(single) => {
                let full_first = default.is_some_and(|(_, first)| first);
                slides(single.as_u64()?, full_first, layer)
            }
            None => {
                let (period, full_first) = default?;
                slides(period, full_first, layer)
            }
        };
        self.window.filter(|_| slides)
    }
}

impl<'a> States<'a> {
    fn of(header: &'a Header) -> Self {
        const INTERVAL_DEFAULT: u64 = 4;
        const KEYS: [&str; 3] = ["ssm.state_size", "shortconv.l_cache", "kda.head_dim"];
        match header.architecture() {
            "mamba" | "mamba2" | "rwkv6" | "rwkv6qwen2" | "rwkv7" | "arwkv7" => Self::All,
            "qwen3next" | "qwen35" | "qwen35moe" => {
                if let Some(Value::Array(layers)) = header.arch("attention.recurrent_layers") {
                    return Self::Listed(layers.kept.as_deref());
                }
                let interval = header.arch_u64("full_attention_interval");
                Self::Between(interval.unwrap_or(INTERVAL_DEFAULT))
            }
            unknown if !is_known(unknown) && speaks_of_state(header) => {
                Self::Perhaps(may_carry_state(header))
            }
            _ if KEYS.iter().any(|suffix| header.arch(suffix).is_some()) => Self::Elsewhere,
            _ => Self::None,
        }
    }
}

/// Whether the metadata has figures of a state-space model.
fn speaks_of_state(header: &Header) -> bool {
    let is_figure = |key: &String| {
        let suffix = key.strip_prefix(header.architecture());
        suffix.is_some_and(|suffix| suffix.starts_with(".ssm."))
    };
    header.metadata.keys().any(is_figure)
}

/// For each layer, whether its tensors allow that it carries a state: it has some of a state-space
/// model, or none of attention. Tensors for attention alone prove nothing, because delta nets use
/// their names too.
fn may_carry_state(header: &Header) -> Vec<bool> {
    let layers = usize::try_from(header.layers()).unwrap_or(0);
    let (mut attends, mut carries) = (vec![false; layers], vec![false; layers]);
    for tensor in &header.tensors {
        let Some((layer, part)) = tensor.place_in_layers() else { continue };
        let Some(place) = usize::try_from(layer).ok().filter(|place| *place < layers) else {
            continue;
        };
        attends[place] |= part.starts_with("attn_q") || part.starts_with("attn_k");
        carries[place] |= part.starts_with("ssm_");
    }
    attends.iter().zip(carries).map(|(attends, carries)| carries || !attends).collect()
}

/// The layer from which on layers at the end of Gemma 3n and 4 read the cache of earlier ones.
fn first_sharing(header: &Header) -> u64 {
    const GEMMA3N_LAYERS_WITH_CACHE: u64 = 20;
    match header.architecture() {
        "gemma3n" => GEMMA3N_LAYERS_WITH_CACHE,
        "gemma4" => {
            let sharing = header.arch_u64("attention.shared_kv_layers").unwrap_or(0);
            header.layers().saturating_sub(sharing)
        }
        _ => u64::MAX,
    }
}

/// The window of the layers that slide, in tokens.
fn window(header: &Header) -> Option<u64> {
    let architecture = header.architecture();
    let stated = header.arch_u64("attention.sliding_window");
    let window = match (architecture, stated) {
        // Chunks of Llama 4 are of one size, unless it has none.
        ("llama4", Some(0)) => None,
        ("llama4", _) => default_window(architecture),
        (_, stated) => stated.or_else(|| default_window(architecture)),
    };
    window.filter(|window| *window > 0)
}

fn number(value: Option<&Value>, layer: u64) -> Option<u64> {
    value?.of_layer(layer)
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
