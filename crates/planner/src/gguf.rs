//! Reads the header of a GGUF model file: what the model is, which tensors it has, where they lie.
//!
//! The file may come from anywhere, so nothing in it is believed: every count, length, offset and
//! divisor is checked before it is used, and what is kept in memory is bounded by the bytes given.
//! A header that passes here obeys the rules that llama.cpp's own reader enforces. What a model
//! needs in memory is [`crate::footprint`]'s business, reading files is the caller's.

mod check;
mod cursor;
mod limits;
mod projector;
mod read;
pub mod split;
mod tensor_type;
#[cfg(test)]
mod tests;
mod value;
pub mod write;

use std::collections::BTreeMap;

pub use limits::{HEADER_BYTES_MAX, TENSORS_MAX};
pub use tensor_type::TensorType;
pub use value::{Array, ElementType, Value};

use crate::family::Family;

/// Everything in front of the tensor data of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Version of the format: 2 or 3.
    pub version: u32,
    /// What the file says about itself, by key.
    pub metadata: BTreeMap<String, Value>,
    /// The tensors in the order of the file, which is also the order of their data.
    pub tensors: Vec<Tensor>,
    /// Every tensor begins at a multiple of this many bytes.
    pub alignment: u64,
    /// Where the tensor data begins, in bytes from the start of the file.
    pub data_offset: u64,
}

/// One tensor as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name, for example `blk.0.attn_q.weight`.
    pub name: String,
    /// Elements along each dimension, the contiguous one first; missing dimensions are 1.
    pub dimensions: [u64; 4],
    /// How its numbers are encoded.
    pub kind: TensorType,
    /// Where its data begins, in bytes from [`Header::data_offset`].
    pub offset: u64,
    /// Bytes of its data, without the padding behind it.
    pub bytes: u64,
}

impl Tensor {
    /// How many numbers it holds.
    #[must_use]
    pub fn elements(&self) -> u64 {
        // The reader has checked that the product fits.
        self.dimensions.iter().product()
    }

    /// The layer it belongs to and what it is there: 0 and `attn_q.weight` for
    /// `blk.0.attn_q.weight`. None for a tensor of no layer.
    #[must_use]
    pub fn place_in_layers(&self) -> Option<(u64, &str)> {
        let (layer, part) = self.name.strip_prefix("blk.")?.split_once('.')?;
        Some((layer.parse().ok()?, part))
    }
}

/// Why bytes are not a GGUF header that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The prefix ends before the header does. Not a fault of the file: read more and call again.
    /// The figure is a lower bound; doubling what one has is the fast way.
    #[error("the header is longer than what was read of it: {needed_bytes} bytes are needed")]
    Incomplete {
        /// At least this many bytes from the start of the file are needed.
        needed_bytes: u64,
    },
    /// The first four bytes are not GGUF's.
    #[error("not a GGUF file: it begins with {found}; get the model in GGUF format")]
    NotGguf {
        /// What the file seems to be instead.
        found: String,
    },
    /// A version that cannot be read.
    #[error("GGUF version {version} is not supported, only 2 and 3: {way_out}")]
    Version {
        /// The version in the file.
        version: u32,
        /// What the person can do.
        way_out: &'static str,
    },
    /// The file ends before something that its header announces.
    #[error(
        "truncated: {what} ends at byte {end}, but the file has {file_bytes} bytes; the download \
         is incomplete or damaged, download it again"
    )]
    Truncated {
        /// What does not fit.
        what: String,
        /// Where it would end.
        end: u64,
        /// Length of the file.
        file_bytes: u64,
    },
    /// A count or length that no real model has.
    #[error(
        "{what} is {found}, over the limit of {max}; the file is damaged or hostile, get it from \
         another source"
    )]
    OverLimit {
        /// What was counted.
        what: String,
        /// What the file says.
        found: u64,
        /// The most that is accepted.
        max: u64,
    },
    /// Something is present that the format or llama.cpp forbids.
    #[error(
        "{what}; the file is damaged or was made by a faulty converter, get it from another \
             source"
    )]
    Invalid {
        /// What is wrong, with its name and value.
        what: String,
    },
    /// A key that every model has is not there.
    #[error("the metadata has no usable `{key}`; this is not a complete model file")]
    MissingKey {
        /// The key.
        key: String,
    },
}

/// Reads the header in `prefix`, the first bytes of a file of `file_bytes` bytes.
///
/// The work is linear in the prefix and the result is no larger than a small multiple of it.
///
/// # Errors
/// [`Error::Incomplete`] when the header goes on behind the prefix: call again with more. Every
/// other error is final, and its message tells the person what to do.
pub fn parse(prefix: &[u8], file_bytes: u64) -> Result<Header, Error> {
    let header = read::header(prefix, file_bytes)?;
    check::tensors_fit(&header, file_bytes)?;
    check::metadata_is_usable(&header)?;
    Ok(header)
}

/// Architectures that turn text into vectors and cannot continue it. Source: the models in
/// llama.cpp that are built without a causal cache.
const ENCODERS: [&str; 11] = [
    "bert",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llama-embed",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "t5encoder",
];

/// What `pooling_type` says of a model with a head that makes a score of a text.
const POOLING_RANK: u64 = 4;

/// Files that belong to a model but are none: image projectors, adapters and the like.
const COMPANIONS: [&str; 4] = ["adapter", "imatrix", "mmproj", "vocab"];

impl Header {
    /// The architecture, for example `qwen3`. Never empty for a model.
    #[must_use]
    pub fn architecture(&self) -> &str {
        self.str("general.architecture").unwrap_or_default()
    }

    /// An integer that is not negative.
    #[must_use]
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.metadata.get(key)?.as_u64()
    }

    /// Any number.
    #[must_use]
    pub fn f64(&self, key: &str) -> Option<f64> {
        self.metadata.get(key)?.as_f64()
    }

    /// A truth value.
    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.metadata.get(key)?.as_bool()
    }

    /// A string.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&str> {
        self.metadata.get(key)?.as_str()
    }

    /// The value of `{architecture}.{suffix}`.
    #[must_use]
    pub fn arch(&self, suffix: &str) -> Option<&Value> {
        self.metadata.get(&[self.architecture(), ".", suffix].concat())
    }

    /// The integer `{architecture}.{suffix}`.
    #[must_use]
    pub fn arch_u64(&self, suffix: &str) -> Option<u64> {
        self.arch(suffix)?.as_u64()
    }

    /// The integer `{architecture}.{suffix}` for one layer: such keys hold one number for all
    /// layers or an array with one for each.
    #[must_use]
    pub fn layer_u64(&self, suffix: &str, layer: u64) -> Option<u64> {
        self.arch(suffix)?.of_layer(layer)
    }

    /// How many layers the file has, those for speculation included.
    #[must_use]
    pub fn layers(&self) -> u64 {
        self.arch_u64("block_count").unwrap_or(0)
    }

    /// The context length the model was trained for, in tokens.
    #[must_use]
    pub fn context_trained_tokens(&self) -> Option<u64> {
        self.arch_u64("context_length")
    }

    /// How many tokens the vocabulary has; zero when the file does not say.
    #[must_use]
    pub fn vocabulary_tokens(&self) -> u64 {
        match self.metadata.get("tokenizer.ggml.tokens") {
            Some(Value::Array(tokens)) => tokens.len,
            Some(_) | None => self.arch_u64("vocab_size").unwrap_or(0),
        }
    }

    /// The model's own chat template (Jinja), if it brings one.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.str("tokenizer.chat_template")
    }

    /// Reads as if this were its chat template.
    pub fn replace_chat_template(&mut self, template: &str) {
        let template = Value::String(template.to_owned());
        self.metadata.insert("tokenizer.chat_template".to_owned(), template);
    }

    /// What its chat template says of its answers.
    #[must_use]
    pub fn family(&self) -> Family {
        self.chat_template().map_or_else(Family::default, Family::of)
    }

    /// Whether its chat template tells the model about tools, and in which form it calls them.
    #[must_use]
    pub fn takes_tools(&self) -> bool {
        let tells = self.chat_template().is_some_and(|template| template.contains("tools"));
        tells && self.family().calls.is_some()
    }

    /// Whether its chat template knows what is thought before an answer.
    #[must_use]
    pub fn thinks(&self) -> bool {
        self.family().reasons()
    }

    /// Whether it names its tokens for filling in between two texts. Some files have such tokens without
    /// naming them.
    #[must_use]
    pub fn names_infill_marks(&self) -> bool {
        let names = |mark: &str| self.u64(&format!("tokenizer.ggml.fim_{mark}_token_id")).is_some();
        names("pre") && names("suf")
    }

    /// How many weights the model has.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().fold(0, |sum: u64, tensor| sum.saturating_add(tensor.elements()))
    }

    /// Bytes of all tensors, each with the padding behind it.
    #[must_use]
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().fold(0, |sum: u64, tensor| {
            sum.saturating_add(tensor.bytes.next_multiple_of(self.alignment))
        })
    }

    /// The quantization as people write it, for example `Q4_K_M`: what the file calls itself, else
    /// the type of most of its weights.
    #[must_use]
    pub fn quantization(&self) -> String {
        let named = self.u64("general.file_type").and_then(tensor_type::file_type_name);
        if let Some(name) = named {
            return name.to_owned();
        }
        let mut elements_by_type: BTreeMap<TensorType, u64> = BTreeMap::new();
        for tensor in &self.tensors {
            let sum = elements_by_type.entry(tensor.kind).or_default();
            *sum = sum.saturating_add(tensor.elements());
        }
        let most = elements_by_type.into_iter().max_by_key(|(_, elements)| *elements);
        most.map_or_else(|| "unknown".to_owned(), |(kind, _)| kind.name().to_owned())
    }

    /// Whether the model continues text. Encoders and models that say how to pool do not: they
    /// make embeddings, or scores.
    #[must_use]
    pub fn generates(&self) -> bool {
        const POOLING_NONE: u64 = 0;
        let pools = self.arch_u64("pooling_type").is_some_and(|kind| kind != POOLING_NONE);
        self.is_model() && !pools && !self.encodes()
    }

    /// Whether the model says how well a document answers a query, and nothing else.
    #[must_use]
    pub fn ranks(&self) -> bool {
        self.is_model() && self.arch_u64("pooling_type") == Some(POOLING_RANK)
    }

    /// Whether every token sees the whole text: such a model keeps no cache and takes a text in
    /// one step.
    #[must_use]
    pub fn encodes(&self) -> bool {
        let causal = self.arch("attention.causal").and_then(Value::as_bool).unwrap_or(true);
        !causal || ENCODERS.contains(&self.architecture())
    }

    /// Whether it says how much each column of a model's matrices matters, as llama.cpp's
    /// `llama-imatrix` writes it.
    #[must_use]
    pub fn is_importance_matrix(&self) -> bool {
        self.str("general.type") == Some("imatrix")
    }

    /// Whether this is a model of its own, and not a projector, adapter, vocabulary or further part
    /// of one.
    #[must_use]
    pub fn is_model(&self) -> bool {
        let companion = self.str("general.type").is_some_and(|kind| COMPANIONS.contains(&kind));
        let is_further_part = split::part_index(self) > 0;
        let has_weights = !self.tensors.is_empty() && !is_further_part;
        !companion && self.architecture() != "clip" && has_weights
    }

    /// When the model is split over several files: how many.
    #[must_use]
    pub fn split_files(&self) -> Option<u64> {
        self.u64("split.count").filter(|count| *count > 1)
    }
}
