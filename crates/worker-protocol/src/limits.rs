//! Every bound of the protocol, with its reason.

/// Bytes one frame may hold. The largest honest frame is a prompt: 1,000,000 tokens are about
/// 4 MB of text, and a body that the gateway accepts is at most 32 MiB; MessagePack adds little.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Nesting of values inside a frame. Tool schemas are the deepest honest content; the gateway
/// refuses JSON deeper than 64, and the envelope around it adds a few levels.
pub const DEPTH_MAX: usize = 96;

/// Events a worker may send for one request before the hub has granted more. It bounds the memory
/// that a client which does not read can cost, and is deep enough that a reader a few steps behind
/// never stops its sequence.
pub const EVENT_CREDIT: u32 = 64;

/// The hub grants credit again when this many events were taken, so that grants are a fraction of
/// the frames.
pub const EVENT_CREDIT_BATCH: u32 = 16;

/// Tokens of a block of kept prefixes.
pub const KEPT_BLOCK_TOKENS: u64 = 256;

/// Bytes of such a block that are read from its file and put into the context at a time: little enough
/// that they stay in the processor's caches on their way, where a whole block would go through memory
/// twice; enough that the cost of each, which grows with the context, is small.
pub const KEPT_SEGMENT_BYTES: u64 = 4 << 20;

/// Parts of a block at most.
pub const KEPT_SEGMENTS_MAX: u64 = 16;

/// Bytes of kept prefixes that a worker reads ahead of what it has taken. Beside them are the part that is
/// waited for and the one that is being taken.
pub const KEPT_READ_AHEAD_BYTES: u64 = 16 << 20;

/// LoRA adapters of one model: each adds its part to every matrix in every step.
pub const ADAPTERS_MAX: usize = 8;

/// The strongest scale of an adapter; more than a few times as it was trained leaves no sense in a text.
pub const ADAPTER_SCALE_MAX: f32 = 100.0;

/// Sequences that a generating worker makes beyond those it is asked for: one in which texts are
/// embedded, so that embedding needs no stream to end.
pub const INTERNAL_SEQUENCES: u32 = 1;

/// Pixels of a picture. Cameras of telephones make 12 or 24 million and large screens 15 or 20, which
/// models scale down to one or two; three bytes each while it is decoded, and as many again.
pub const PICTURE_PIXELS_MAX: u64 = 25_000_000;

/// Pixels along a side of a picture: more than any screen or camera has, and as much as the longest web pages
/// are photographed in. Some models make a square of the longer side.
pub const PICTURE_SIDE_PIXELS_MAX: u64 = 16_384;

/// How many times as long as the other a side of a picture may be. Some models lay rows by the length of a side
/// alone; Qwen's own reader of pictures has the same bound.
pub const PICTURE_RATIO_MAX: u64 = 200;

/// Seconds of a sound: ten minutes of speech, some ten thousand tokens of most models. While it is laid out, a
/// second takes about 450 kB, which is booked for the longest.
pub const SOUND_SECONDS_MAX: u64 = 600;

/// Bytes of files with pictures and sounds that a worker holds for open requests, each file once however many
/// show it. The largest request brings a tenth of it.
pub const MEDIA_FILES_BYTES: u64 = 256 << 20;

/// Bytes of vectors of pictures and sounds that a worker with a projector keeps, so that a conversation which
/// shows them again need not have them computed again: some ten pictures of most models.
pub const MEDIA_VECTORS_BYTES: u64 = 64 << 20;
