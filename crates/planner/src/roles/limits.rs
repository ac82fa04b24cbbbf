//! Every bound of the roles, with its reason.

/// Candidates that a role may have once the roles it names are written out. A person lists a
/// handful; the bound keeps roles that name roles that name roles from growing without end.
pub const CANDIDATES_MAX: usize = 64;

/// Tokens that must be left for an answer at least. A context that a prompt fills to the brim takes
/// the prompt and then says nothing.
pub const ANSWER_TOKENS_MIN: u32 = 256;

/// A prompt of at least so many tokens is long: `auto` tries the deep models first. About a
/// chapter of a book, or a few files of code; conversations stay below it for dozens of turns.
pub const LONG_PROMPT_TOKENS: u32 = 16_384;

/// Bytes of letters and spaces that one token covers at least in estimates. English has about 4.5
/// in the vocabularies of today; rare words and other languages in Latin letters have less.
pub const LETTER_BYTES_PER_TOKEN: u64 = 3;

/// Bytes outside ASCII that one token covers at least in estimates. A Chinese character is three
/// bytes and at most about one and a half tokens in the vocabularies of today.
pub const OTHER_BYTES_PER_TOKEN: u64 = 2;

/// Bytes that no ordinary token exceeds on average; what is longer than a context by this measure
/// is surely longer than it.
pub const BYTES_PER_TOKEN_MAX: u64 = 16;

/// Tokens around one message: its role, its borders and the beginning of the answer. Templates of
/// today use 4 to 10.
pub const MESSAGE_TOKENS: u64 = 10;

/// Tokens that one image counts in estimates. Ollama counts 768; larger pictures take more in
/// models that do not scale them down.
pub const IMAGE_TOKENS: u64 = 768;

/// Tokens that one sound counts in estimates: half a minute of speech at 25 a second, which no model
/// exceeds by much.
pub const SOUND_TOKENS: u64 = 750;

/// Roles that may be configured. A person has ten or twenty; the bound ends the walk along roles
/// that name each other.
pub const ROLES_MAX: usize = 256;

/// Names less alike than this are a guess, not a slip of the finger.
pub const LIKENESS_MIN: f64 = 0.8;
