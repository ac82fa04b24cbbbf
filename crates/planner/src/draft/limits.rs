//! Every bound of guessing ahead, with its reason.

/// Guesses that a step may hold, of one stream or of all together. A run of guesses that
/// come true with 9 in 10 ends after ten on average, so that a longer draft is mostly thrown away.
pub const DRAFT_TOKENS_MAX: usize = 16;

/// Tokens that a model with a state takes back at most where nobody says how many: each costs every
/// sequence one more state, and guesses behind the third come true seldom.
pub const ROLLED_BACK_TOKENS: u32 = 3;

/// Earlier states are kept unasked where all of them are at most this part of the weights.
pub const FREE_STATES_PARTS: u64 = 100;

/// Tokens that must occur again before the text is believed to repeat. Two occur again everywhere.
pub const MATCH_TOKENS_MIN: usize = 3;

/// Tokens of a match that are compared: beyond this a longer one says nothing more.
pub const MATCH_TOKENS_MAX: usize = 32;

/// From this length on a match counts as [`Trust::MiddleMatch`](super::Trust::MiddleMatch): about
/// two words.
pub const TRUST_MIDDLE_TOKENS: usize = 5;

/// From this length on a match counts as [`Trust::LongMatch`](super::Trust::LongMatch): about a line
/// of a program, which is copied rather than met by chance.
pub const TRUST_LONG_TOKENS: usize = 12;

/// Earlier occurrences that are compared for one guess, the latest first. It bounds the work for a
/// token, however long the text: 32 tokens each, some microseconds in all.
pub const CANDIDATES_MAX: usize = 32;

/// By how many tokens two vocabularies of one family differ at most: makers pad them to sizes that
/// suit their machines. Source: `SPEC_VOCAB_MAX_SIZE_DIFFERENCE` in llama.cpp's `speculative.cpp`.
pub const VOCABULARY_SLACK: u64 = 128;

/// Places in the index of a text before it grows.
pub const INDEX_SLOTS_FIRST: usize = 1024;

/// Weight of the newest measurement in the estimate of what a step takes.
pub const TIME_WEIGHT: f32 = 0.25;

/// The same where it took less than was expected: what holds a step up is soon over, and what a step
/// takes at least is the truth.
pub const TIME_WEIGHT_LESS: f32 = 0.5;

/// A step that takes so many times as long as steps of its size do was held up by something else on
/// the machine; what exceeds this is not believed.
pub const TIME_OUTLIER: f32 = 4.0;

/// Share of what is known about guesses that stays after each that was tried: an answer that turns
/// from prose to a quotation is noticed within some forty tokens.
pub const RECORD_KEPT: f32 = 0.97;

/// As [`RECORD_KEPT`], for all requests of a model together.
pub const PRIOR_KEPT: f32 = 0.99;

/// Guesses that the experience of other requests counts for at most in the record of one.
pub const PRIOR_WEIGHT: f32 = 2.0;

/// Chance that a guess comes true before any of its kind was tried.
pub const TRUTH_FIRST: f32 = 0.3;

/// Share of the time that trying drafts may cost where they do not pay: half of the 2 % that
/// guessing ahead may cost at most.
pub const PROBE_SHARE: f32 = 0.01;

/// Steps' worth of time that trying drafts may cost a model that was just loaded, and that may add up
/// while there is nothing to try: in an answer of 400 tokens 1 %.
pub const PROBE_CREDIT_STEPS: f32 = 4.0;

/// Steps from one trial to the next at least: several in a row tell no more than one.
pub const PROBE_STEPS_MIN: u32 = 8;

/// Tokens of a draft that is tried where none is known to pay: enough to see what more rows take,
/// and few enough to be cheap.
pub const PROBE_TOKENS: usize = 4;

/// After so many drafted steps one is made without, and half way one with twice as much, so that the
/// comparison stays true while contexts grow. They cost about that share of what drafting gains.
pub const PLAIN_STEP_EVERY: u32 = 64;

/// Guesses of a model that are tried before it may be left without reading what it would guess of.
pub const MODEL_TRIES_MIN: f32 = 24.0;

/// What a model is believed to take for one guess, as a share of a step, before it was measured: one
/// that is slower is not worth its memory.
pub const GUESS_SHARE_FIRST: f32 = 0.25;

/// By how much drafting must look better than not, before it is done: noise in what steps take must
/// not make a loss look like a gain.
pub const GAIN_MIN: f32 = 1.03;
