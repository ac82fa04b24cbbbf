//! Every bound of the batch planner, with its reason.

/// Prompt tokens of one step at least, however slow the machine: below this the fixed cost of a
/// step exceeds the work in it, and the prompt would never end.
pub const PREFILL_TOKENS_MIN: u32 = 32;

/// Prompt tokens of the first step of a model, before any speed was measured. A quarter of a second
/// on a machine that does 256 tokens a second, which small models on slow machines do.
pub const PREFILL_TOKENS_FIRST: u32 = 64;

/// Microseconds that prompt tokens may add to a step in which streams are running: the longest
/// pause a reader sees between two tokens because somebody else sent a long prompt.
pub const STALL_US: u64 = 200_000;

/// Microseconds of a step in which nobody streams. It bounds how long a cancel or a new request
/// waits; longer steps would gain nothing, since batches this long are efficient already.
pub const QUIET_STEP_US: u64 = 500_000;

/// Cells that must be free beyond the tokens a request has, before it is admitted beside others:
/// room to generate for a while, so that it is not parked again at once.
pub const ADMIT_SLACK_CELLS: u32 = 64;

/// A shared prefix shorter than this is computed again rather than copied or waited for: one step
/// does it, and the copy would tie cells to two sequences.
pub const SHARED_PREFIX_TOKENS_MIN: u32 = 32;

/// Requests that may wait for a sequence. The hub bounds them per worker too; this is the second
/// lock on the same door.
pub const WAITING_MAX: usize = 4096;
