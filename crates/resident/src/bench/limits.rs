//! Every bound of the measurements, with its reason.

use std::time::Duration;

/// A hub that does not answer after this long will not: it loads nothing before it listens.
pub(crate) const HUB_START_WAIT: Duration = Duration::from_secs(20);

/// Time between two looks whether the hub listens.
pub(crate) const HUB_LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A free port may be taken by another program before the hub takes it; so many times in a row
/// that is no accident.
pub(crate) const HUB_START_TRIES: u32 = 3;

/// A started hub is left alone this long before its memory is read, so that what it allocated to
/// start has come and gone.
pub(crate) const HUB_SETTLE: Duration = Duration::from_secs(1);

/// From telling the hub to leave until it is killed. It has a bound of its own, which is shorter.
pub(crate) const HUB_STOP_WAIT: Duration = Duration::from_secs(20);

/// What a hub has put off, as writing a long prompt to its files, is done within this time after its
/// answer, unless the disk is slower than any that is worth measuring.
pub(crate) const SETTLE_WAIT: Duration = Duration::from_secs(120);

/// Systems count processor time in ticks of 10 ms; over this long a tick is little.
pub(crate) const SETTLE_WINDOW: Duration = Duration::from_millis(400);

/// Of one core. An idle hub looks at its workers' memory once a second, and a tick may be one of those.
pub(crate) const SETTLE_SHARE_MAX: f64 = 0.05;

/// Switches before the first that counts: the fleet learns in them that these two models are asked
/// in turn by one client, and holds neither for users of its own.
pub(crate) const SWITCHES_UNCOUNTED: u32 = 6;

/// Cells of the context beside prompt and answer.
pub(crate) const SWITCH_CONTEXT_SLACK_TOKENS: u32 = 64;

/// From telling `llama-server` to leave until it is killed; its models leave first, each within ten
/// seconds.
pub(crate) const LLAMA_SERVER_STOP_WAIT: Duration = Duration::from_secs(20);

/// Lines of the hub's log that are shown when it does not start.
pub(crate) const LOG_LINES_SHOWN: usize = 12;

/// One request, model loading included. The slowest machine that is worth measuring reads a long
/// prompt in minutes.
pub(crate) const REQUEST_WAIT: Duration = Duration::from_secs(1800);

/// One run of the plain loop, model loading included.
pub(crate) const PLAIN_WAIT: Duration = Duration::from_secs(1800);

/// Bytes of a streamed answer. 100,000 tokens with their JSON around them are 30 MB.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Tiny requests whose added latency is taken: enough for a 99th percentile that is not the
/// single worst one.
pub(crate) const LATENCY_REQUESTS: usize = 300;

/// Short streams whose added latency is taken.
pub(crate) const LATENCY_STREAMS: usize = 100;

/// Tokens of such a stream.
pub(crate) const LATENCY_STREAM_TOKENS: u32 = 8;

/// On a slow model the latency is taken of as many requests as end in this time.
pub(crate) const LATENCY_TIME_MAX: Duration = Duration::from_secs(60);

/// Tokens of the answer that warms a model up. The worker knows its own speed and the processor
/// its frequency afterwards.
pub(crate) const WARM_UP_TOKENS: u32 = 8;

/// The adaptive worker looks at the machine every 0.4 s; after this long under load it has decided.
pub(crate) const ADAPT_WARM_UP: Duration = Duration::from_secs(2);

/// Systems count processor time in ticks of 10 ms; over this long a share is exact to a percent.
pub(crate) const SHARE_WINDOW_MIN: Duration = Duration::from_secs(2);

/// The shortest prompt that is still a prompt: below it a step is dearer than what it computes.
pub(crate) const PROMPT_TOKENS_MIN: u32 = 16;

/// Cells of the context for each stream beyond its own tokens: what the batch planner keeps free,
/// and the rounding of the engine.
pub(crate) const CONTEXT_SLACK_TOKENS: u32 = 256;

/// Tokens that the worker computes in one step, which the plain loop does too.
pub(crate) const STEP_TOKENS: u32 = 512;

/// Weights that a model must have for its speed to tell that of larger ones: more than any
/// processor's caches hold, so that its memory is what is measured.
pub(crate) const CALIBRATION_WEIGHTS_BYTES_MIN: u64 = 256 << 20;

/// Memory beside the context for the short prompts of a measurement of the cache.
pub(crate) const KEPT_RAM_SLACK_BYTES: u64 = 64 << 20;

/// Bytes of the buffer of a plain read: within a core's caches, where reading is quickest, and large
/// enough that the calls cost nothing.
pub(crate) const PLAIN_READ_BUFFER_BYTES: usize = 1 << 20;

/// Tokens after the first of which the mean is what a decoded token takes.
pub(crate) const DECODE_STEPS: u32 = 8;

/// Memory that `llama-server` may use for prompts beside its slots, in MiB: what it takes by itself.
pub(crate) const HOST_CACHE_MIB: u64 = 8192;

/// Requests of a turn that follow each other at once, when the cost of the cache is measured: what one
/// puts off runs into the next.
pub(crate) const COST_REQUESTS: u32 = 4;

/// For files to leave the page cache, all of them. What is not written yet is written first, and what
/// another core has just touched stays for some milliseconds.
pub(crate) const PAGE_CACHE_WAIT: Duration = Duration::from_secs(10);

/// How often that is tried meanwhile.
pub(crate) const PAGE_CACHE_POLL: Duration = Duration::from_millis(20);

/// Tokens of an answer that is held to a schema, at least, or it does not tell how fast it was.
pub(crate) const HELD_TOKENS_MIN: u32 = 16;
