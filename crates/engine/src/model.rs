//! What the engine needs from a model: the wall between it and llama.cpp.

use std::ops::Range;

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

/// What of a sequence can be kept outside the context and put back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing.
    Nothing,
    /// Cells of any of its tokens.
    Cells,
    /// Cells, and for the layers that have none the state after the last token.
    CellsAndState,
    /// Only the state after the last token.
    State,
}

/// What a model guesses of the text that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guessing {
    /// Nothing.
    Nothing,
    /// At most so many tokens at a time.
    Tokens(u32),
}

/// A stream of which the next tokens are to be guessed, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Its sequence.
    pub sequence: u32,
    /// All its tokens. The last one is not in the cache yet.
    pub tokens: &'a [u32],
    /// How many guesses are wanted.
    pub count: usize,
}

/// Tokens by which a model knows what to fill in, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfillMarks {
    /// Before the text that precedes the gap.
    pub before: u32,
    /// Before the text that follows the gap.
    pub after: u32,
    /// Behind both, where the model begins; without it the text that precedes the gap comes last.
    pub middle: Option<u32>,
    /// Before the parts of other files: one for all of them, and one for each.
    pub files: Option<(u32, u32)>,
}

/// How a query and a document are put to a model that ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RankForm {
    /// The model's own words, with `{query}` and `{document}` where these belong.
    Template(String),
    /// The query, then the document, and these tokens of the model's between and around them.
    Marks(RankMarks),
}

/// Tokens between and around a query and a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RankMarks {
    /// Before the query.
    pub begin: Option<u32>,
    /// Behind the query and behind the document.
    pub end: Option<u32>,
    /// Before the document.
    pub separator: Option<u32>,
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

    /// Rows of a step that may have an output.
    fn outputs_max(&self) -> u32;

    /// Whether the tail of a sequence can be removed from the cache.
    fn trims(&self) -> bool;

    /// Tokens that a sequence can be cut back by right after the step that added them, which may be
    /// some where it cannot be trimmed later.
    fn takes_back_max(&self) -> u32;

    /// Its chat template, as Jinja.
    fn chat_template(&self) -> Option<&str>;

    /// Text of the begin-of-text and end-of-text tokens, for templates.
    fn boundary_texts(&self) -> (String, String);

    /// Text to tokens. `specials` adds the model's own begin and end tokens, `parse` reads special
    /// tokens in the text as such.
    fn tokenize(&self, text: &str, specials: bool, parse: bool) -> Vec<u32>;

    /// The bytes of a token, perhaps not whole UTF-8. Control tokens are empty unless `special`.
    fn token_bytes(&self, token: u32, special: bool) -> Vec<u8>;

    /// How it is told to fill in what stands between two texts; `None` when it was not trained for that.
    fn infill_marks(&self) -> Option<InfillMarks>;

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

    /// What can be kept of a sequence.
    fn keeps(&self) -> Keeps;

    /// Puts a copy of the cells of these tokens of a sequence, which it holds, behind what `to` has.
    /// `false` when the model cannot give it or has let go of some. Such copies one behind the other are
    /// one of all their tokens.
    fn save_cells(&mut self, sequence: u32, tokens: Range<u32>, to: &mut Vec<u8>) -> bool;

    /// Adds to a sequence, which holds exactly the tokens before `wanted`, these from what
    /// [`Self::save_cells`] gave for `saved`, of which they are a part. `false` when that cannot be
    /// done; the sequence holds what it held.
    fn load_cells(
        &mut self,
        sequence: u32,
        saved: Range<u32>,
        wanted: Range<u32>,
        cells: &[u8],
    ) -> bool;

    /// A copy of the state after the last token of a sequence, for models whose layers do not all
    /// have cells; `None` when the model cannot give it.
    fn save_state(&mut self, sequence: u32) -> Option<Vec<u8>>;

    /// Puts back what [`Self::save_state`] gave when the sequence held `tokens` tokens, whose cells it
    /// holds again. `false` when that cannot be done; the sequence is empty then.
    fn load_state(&mut self, sequence: u32, tokens: u32, state: &[u8]) -> bool;

    /// What it guesses itself.
    fn guesses(&self) -> Guessing;

    /// Whether it has read enough of this stream to guess what follows.
    fn has_read(&self, stream: &Wanted<'_>) -> bool;

    /// Reads what it has not read of these streams, as much as a step may take.
    fn read(&mut self, streams: &[Wanted<'_>]);

    /// What each of these streams is likely to say next: for each as many tokens as wanted, or fewer.
    /// It changes nothing that a sequence holds.
    fn guess(&mut self, wanted: &[Wanted<'_>]) -> Vec<Vec<u32>>;

    /// Gives memory back to the system that it holds and does not need, without losing anything that
    /// a sequence holds. The machine is short of it.
    fn give_back(&mut self);

    /// Tokens of one text that can be embedded, or ranked with its query, at most.
    fn embed_tokens_max(&self) -> u32;

    /// Embeds texts, each given as tokens and together no more than a step holds, one vector each,
    /// not normalised. All cells that the texts need are free.
    ///
    /// # Errors
    /// [`DecodeError`] when the engine failed.
    fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, DecodeError>;

    /// How it is asked to rank; `None` when it does not.
    fn rank_form(&self) -> Option<RankForm>;

    /// The score of each of these texts, which are a query and a document as [`Self::rank_form`] says,
    /// given as tokens and together no more than a step holds, or one that is longer. All cells that the
    /// texts need are free.
    ///
    /// # Errors
    /// [`DecodeError`] when the engine failed.
    fn rank(&mut self, texts: &[&[u32]]) -> Result<Vec<f32>, DecodeError>;

    /// Threads of the next steps; called between steps, returns what is in force.
    fn adapt_threads(&mut self) -> u32;
}

/// Draws tokens from logits.
pub trait Sampler {
    /// The next token. One whose logit is minus infinity is forbidden and never drawn as long as there
    /// are others.
    fn sample(&mut self, logits: &[f32]) -> u32;

    /// A token became part of the text: a prompt token at first, later what was sampled.
    fn accept(&mut self, token: u32);
}
