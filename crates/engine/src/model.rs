//! What the engine needs from a model: the wall between it and llama.cpp.

use worker_protocol::{Loaded, Sampling};

/// One token of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Id in the vocabulary.
    pub token: u32,
    /// Position in its sequence.
    pub position: u32,
    /// Its sequence.
    pub sequence: u32,
    /// Whether logits of this row will be read.
    pub output: bool,
}

/// A step could not be computed. The content of the cache is unknown afterwards.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// How token vectors become one vector for the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all.
    Mean,
    /// The first token's.
    First,
    /// The last token's.
    Last,
}

/// A loaded model with its context: a vocabulary, a cache of sequences, and steps.
///
/// Sequences are numbered from 0 to `facts().sequences_max` (exclusive).
pub trait Model {
    /// What draws tokens from logits.
    type Sampler: Sampler;

    /// What this model is.
    fn facts(&self) -> &Loaded;

    /// Tokens that one step may hold.
    fn step_tokens_max(&self) -> u32;

    /// Whether the tail of a sequence can be removed from the cache.
    fn trims(&self) -> bool;

    /// Its chat template, as Jinja.
    fn chat_template(&self) -> Option<&str>;

    /// Text of the begin-of-text and end-of-text tokens, for templates.
    fn boundary_texts(&self) -> (String, String);

    /// Text to tokens. `specials` adds the model's own begin and end tokens, `parse` reads special
    /// tokens in the text as such.
    fn tokenize(&self, text: &str, specials: bool, parse: bool) -> Vec<u32>;

    /// The bytes of a token, perhaps not whole UTF-8. Control tokens are empty unless `special`.
    fn token_bytes(&self, token: u32, special: bool) -> Vec<u8>;

    /// Whether the model ends its text with this token.
    fn ends(&self, token: u32) -> bool;

    /// A sampler for one request.
    ///
    /// # Errors
    /// What is wrong with the parameters.
    fn sampler(&self, sampling: &Sampling) -> Result<Self::Sampler, String>;

    /// Computes a step.
    ///
    /// # Errors
    /// [`DecodeError`] when the engine failed.
    fn decode(&mut self, rows: &[Row]) -> Result<(), DecodeError>;

    /// Logits of a row of the last step, by its index.
    fn logits(&self, row: usize) -> &[f32];

    /// Keeps the first `tokens` of a sequence and forgets the rest. `false` when the model cannot;
    /// the sequence is empty then.
    fn trim(&mut self, sequence: u32, tokens: u32) -> bool;

    /// Makes `to` hold the first `tokens` of `from`. `false` when the model cannot; `to` is empty
    /// then.
    fn copy(&mut self, from: u32, to: u32, tokens: u32) -> bool;

    /// Forgets a sequence.
    fn clear(&mut self, sequence: u32);

    /// Gives memory back to the system that it holds and does not need, without losing anything that
    /// a sequence holds. The machine is short of it.
    fn give_back(&mut self);

    /// Tokens of one text that can be embedded at most.
    fn embed_tokens_max(&self) -> u32;

    /// Embeds texts, each given as tokens and together no more than a step holds, one vector each,
    /// not normalised. All cells that the texts need are free.
    ///
    /// # Errors
    /// [`DecodeError`] when the engine failed.
    fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, DecodeError>;

    /// Threads of the next steps; called between steps, returns what is in force.
    fn adapt_threads(&mut self) -> u32;
}

/// Draws tokens from logits.
pub trait Sampler {
    /// The next token.
    fn sample(&mut self, logits: &[f32]) -> u32;

    /// A token became part of the text: a prompt token at first, later what was sampled.
    fn accept(&mut self, token: u32);
}
