//! Every threshold of a verdict and every bound of a search, with its reason.

/// Comfortable from this much of the budget left on, in percent: as much again as an embedding model and a
/// prompt cache want beside a model on a 16 GB machine (2.4 of 12 GiB).
pub const COMFORTABLE_LEFT_PERCENT: u64 = 20;

/// Tight below this much left, in percent: predictions are checked to within 2 % and what a worker really
/// takes to within 5 %, so less may turn out to be nothing.
pub const TIGHT_LEFT_PERCENT: u64 = 5;

/// llama.cpp rounds contexts up to whole multiples of this many cells, so others are not offered.
pub const CONTEXT_STEP_TOKENS: u32 = 256;

/// The shortest context that is offered: below it a chat forgets its own question.
pub const CONTEXT_MIN_TOKENS: u32 = 2048;

/// Where a search for the longest context ends when the file does not say what the model was
/// trained for: no model in use has more.
pub const CONTEXT_MAX_TOKENS: u32 = 1024 * 1024;

/// Models that are planned together. All sets of them are tried, which are 65,536; a person's
/// machine holds a dozen.
pub const MEMBERS_MAX: usize = 16;
