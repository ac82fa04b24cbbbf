//! Every bound of the batch planner, with its reason.

/// Prompt tokens of one step at least, however slow the machine and however many streams run beside
/// them: below this the fixed cost of a step exceeds the work in it, and the prompt would never end.
pub const PREFILL_TOKENS_MIN: u32 = 32;

/// Rows that a step with prompt tokens has a multiple of, where streams leave room for it: the tile of
/// llama.cpp's attention on CPUs (`ggml_fa_tile_config::Q`). A step of fewer rows goes through a kernel
/// that takes as long for half of them, so that a prompt which had come to be computed in short steps,
/// because it was slow, would stay slow; a row above the tile costs a tile of its own.
pub const STEP_TOKENS_TILE: u32 = 64;

/// Prompt tokens of the first step of a model, before any speed was measured. A quarter of a second
/// on a machine that does 256 tokens a second, which small models on slow machines do.
pub const PREFILL_TOKENS_FIRST: u32 = 64;

/// Microseconds that prompt tokens may add to a step in which streams are running: the longest
/// pause a reader sees between two tokens because somebody else sent a long prompt, where a tile
/// ([`STEP_TOKENS_TILE`]) takes no longer.
pub const STALL_US: u64 = 200_000;

/// Microseconds of a step in which nobody streams. It bounds how long a cancel or a new request
/// waits; longer steps would gain nothing, since batches this long are efficient already.
pub const QUIET_STEP_US: u64 = 500_000;

/// Steps that requests with the same adapters have one behind the other while others wait. Changing them
/// makes llama.cpp lay out its graph anew, which takes about as long as a step of a small model; the others'
/// streams pause meanwhile.
pub const TURN_STEPS: u32 = 4;

/// Cells that must be free beyond the tokens a request has, before it is admitted beside others:
/// room to generate for a while, so that it is not parked again at once.
pub const ADMIT_SLACK_CELLS: u32 = 64;

/// A shared prefix shorter than this is computed again rather than copied or waited for: one step
/// does it, and the copy would tie cells to two sequences.
pub const SHARED_PREFIX_TOKENS_MIN: u32 = 32;

/// Requests that may wait for a sequence. The hub bounds them per worker too; this is the second
/// lock on the same door.
pub const WAITING_MAX: usize = 4096;

/// Bytes a second that come back from outside the context before any were measured: what the slowest
/// SSD of the last ten years reads.
pub const RESTORE_BYTES_PER_S_FIRST: f32 = 500e6;

/// Microseconds that having something back takes whatever its length: opening files, and a step of the
/// engine's loop.
pub const RESTORE_FIXED_US: u64 = 1_000;

/// Tokens between two states of a model that cannot go back to an earlier token. A request that
/// diverges computes half of this again on average, and each state of a large hybrid model takes as
/// much room as the cells of some thousand tokens.
pub const CHECKPOINT_TOKENS: u32 = 2_048;

/// Bytes of a state that is kept whatever it saves: as many as the cells of a block of a usual model,
/// which are kept after every prompt too.
pub const STATE_BYTES_SMALL: u64 = 16 << 20;
