//! Every bound of the worker itself, with its reason.

use std::time::Duration;

/// How long whoever waits for a model waits for the place where its prefixes are kept, which was opened
/// beside loading, while a file is hashed for the first time: nothing can be there yet.
pub(crate) const HASHING_WAIT: Duration = Duration::from_millis(200);

/// The same where no file need be hashed: what may be there saves a whole prompt, which takes longer than
/// reading an index from a disk that is busy.
pub(crate) const TIERS_WAIT: Duration = Duration::from_secs(5);

/// One part in so many of the memory that is free beside the model may become page cache for what is read
/// ahead. The system drops such pages first, but not before somebody had to wait for memory, and what others
/// have just read would go too if it were all.
pub(crate) const READ_AHEAD_PARTS: u64 = 4;

/// Bytes of a header that are read first; enough for a model without a vocabulary.
pub(crate) const HEADER_BYTES_FIRST: u64 = 1 << 20;

/// Bytes that reading a picture may take at a time, its pixels in 16 bits with transparency included.
pub(crate) const PICTURE_DECODER_BYTES_MAX: u64 = 256 << 20;

/// Channels of a sound. FLAC knows no more, and films have six or eight.
pub(crate) const SOUND_CHANNELS_MAX: usize = 8;

/// Samples a second of a sound. Telephones have 8,000; below that nobody speaks, and a small file would last
/// long.
pub(crate) const SOUND_RATE_MIN: u32 = 4_000;

/// The most that studios use; a file of more would take long for nothing that a model hears.
pub(crate) const SOUND_RATE_MAX: u32 = 192_000;

/// Seconds of a sound that encoders take at a time.
pub(crate) const SOUND_PART_SECONDS: usize = 30;

/// No part of a sound is shorter than one second by this: a tenth of a second is more than any encoder's
/// window, and llama.cpp ends the process for less than one of them (20 ms).
pub(crate) const SOUND_PARTS_OF_SECOND_MIN: usize = 10;

/// Bytes of an importance matrix: four for each column of each matrix of a model. The largest mixtures of
/// experts (61 layers of 384) come to 1.5 GB.
pub(crate) const MATRIX_BYTES_MAX: u64 = 4 << 30;

/// Bytes of one tensor that the quantizer holds at a time, in both forms. llama.cpp's own bound is 8 GiB, as
/// much as a small machine has; the result is the same.
pub(crate) const QUANTIZE_BYTES_MAX: usize = 1 << 30;
