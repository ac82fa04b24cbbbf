//! What the engine needs from a model: the wall between it and llama.cpp.

use std::fmt;
use std::ops::Range;

use planner::batch::{Cut, Scales};
use worker_protocol::{Adapter, Loaded, MediaKind, Sampling};

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

/// A file with a picture or a sound.
pub struct MediaFile {
    kind: MediaKind,
    bytes: Vec<u8>,
    digest: [u8; 32],
}

impl MediaFile {
    /// A file of this kind.
    #[must_use]
    pub fn new(kind: MediaKind, bytes: Vec<u8>) -> Self {
        let digest = *blake3::hash(&bytes).as_bytes();
        Self { kind, bytes, digest }
    }

    /// What it should be.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// What is in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The BLAKE3 hash of its bytes.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Debug for MediaFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} of {} bytes", self.kind, self.bytes.len())
    }
}

/// A part of what stands in a prompt for a picture or a sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaPart {
    /// Tokens of the vocabulary around rows and between them.
    Tokens(Vec<u32>),
    /// Rows that are computed from vectors.
    Rows {
        /// How many.
        rows: u32,
        /// Where they may be divided.
        cut: Cut,
    },
}

/// What rows of a run are computed from.
#[derive(Debug, Clone, Copy)]
pub struct RunVectors<'a> {
    /// Those of all rows of the run, one behind the other.
    pub vectors: &'a [f32],
    /// How many rows the run has.
    pub rows: u32,
    /// Which of them is the first to be computed now.
    pub first: u32,
    /// Whether each row looks at all others.
    pub is_whole: bool,
}

impl<'a> RunVectors<'a> {
    /// The vectors of `count` rows from the first on; `None` where the run has no more.
    #[must_use]
    pub fn of(&self, count: usize) -> Option<&'a [f32]> {
        let width = self.vectors.len().checked_div(self.rows as usize)?;
        let begin = (self.first as usize).checked_mul(width)?;
        self.vectors.get(begin..begin.checked_add(count.checked_mul(width)?)?)
    }
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

    /// What can change its weights, with the scales that they have where a request chooses none.
    fn adapters(&self) -> &[Adapter];

    /// Computes steps with its adapters at these scales from now on; of as many as [`Self::adapters`].
    /// What [`Self::embed`] and [`Self::rank`] compute is with its own in any case. Cells are used again only
    /// with the scales that they were computed with, which the caller sees to.
    ///
    /// # Errors
    /// [`DecodeError`] when the engine refused.
    fn adapt(&mut self, scales: &Scales) -> Result<(), DecodeError>;

    /// What tells its projector from every other; anything where it has none.
    fn projector_digest(&self) -> [u8; 32];

    /// What stands in a prompt for a file that it takes (`facts().sees` and `hears`). Reads no more of it
    /// than that needs.
    ///
    /// # Errors
    /// A fragment that says what is wrong with the file.
    fn lay_out(&mut self, file: &MediaFile) -> Result<Vec<MediaPart>, String>;

    /// What the rows of one part of a file are computed from: of each as many numbers, one row behind the
    /// other. Only [`Self::decode_run`] knows what they are. Takes seconds on slow machines.
    ///
    /// # Errors
    /// A fragment that says what is wrong with the file.
    fn encode(&mut self, file: &MediaFile, part: usize) -> Result<Vec<f32>, String>;

    /// Computes rows of one run from their vectors. None of them has an output, and what
    /// [`Self::logits`] gave before is gone.
    ///
    /// # Errors
    /// [`DecodeError`] when the engine failed.
    fn decode_run(&mut self, rows: &[Row], run: &RunVectors<'_>) -> Result<(), DecodeError>;

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
