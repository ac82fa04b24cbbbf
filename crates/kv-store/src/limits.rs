//! Every bound of the store, with its reason.

use std::time::Duration;

/// Tokens of a full block. Small enough that little is lost where two conversations part, large
/// enough that a file is worth opening: 29 MB for a model of 114,702 bytes a token.
pub const BLOCK_TOKENS: usize = 256;

/// Bytes of one entry. The largest block of attention cells known (no grouped heads, 32-bit values)
/// is below 1 GiB; a header that claims more is damaged.
pub const ENTRY_BYTES_MAX: u64 = 2 << 30;

/// Parts of one entry that are read and checked by themselves.
pub const SEGMENTS_MAX: usize = 16;

/// Entries in the folder, of all models. At a kilobyte of tokens each the index stays below 40 MB,
/// and listing the folder takes well under a second.
pub const ENTRIES_MAX: usize = 32_768;

/// Bytes of `model.json`. A name and a path; more is not ours.
pub const CARD_BYTES_MAX: u64 = 64 << 10;

/// Threads that read for one restore at most. A solid-state disk answers several large reads at once;
/// more than four gave nothing. Nor did as many as there are cores: what they read is copied by another
/// thread meanwhile.
pub const READERS: usize = 4;

/// Bytes that are read of an entry before they are hashed: a small part of the second-level cache of a
/// core, so that hashing does not fetch them from memory again, and large enough that the calls cost
/// nothing.
pub const READ_PART_BYTES: usize = 128 << 10;

/// How long who takes what was read watches for each part before it sleeps: one is read from the page cache
/// in half of it. Beside a disk that is slower it is a small share of the time.
pub const WATCH_MAX: Duration = Duration::from_millis(1);

/// Bytes that readers of one restore may be ahead of the one who takes: a few parts of blocks, so that the
/// disk is busy while the engine copies one, and within the last cache of a processor. What is waited for
/// still passes, however large.
pub const READ_AHEAD_BYTES: u64 = 16 << 20;

/// Bytes of a buffer that is kept for the next restore: parts of cells are smaller, and a large state is
/// rare.
pub const BUFFER_BYTES_MAX: u64 = READ_AHEAD_BYTES;

/// Bytes of all of these: what is ahead, what is waited for and what is being taken.
pub const BUFFERS_BYTES_MAX: u64 = READ_AHEAD_BYTES + READ_AHEAD_BYTES / 2;

/// Bytes that the system is asked to read ahead while a model loads: a chain of 8,000 tokens of a
/// usual model, and no more than an idle page cache spares.
pub const PREFETCH_BYTES: u64 = 1 << 30;

/// How often an entry is tried again at once. What fails three times in a row is no hiccup.
pub const WRITE_TRIES: u32 = 3;

/// How long nothing is written after an entry failed for good. A disk that is full or read-only
/// stays so for minutes.
pub const WRITE_PAUSE: Duration = Duration::from_secs(60);

/// How long a write waits for the folder's lock before it counts as failed. A write of one entry by
/// another worker takes less even on a hard disk.
pub const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Removed files that are each worth a line in the log, for each reason. A changed encryption key
/// makes all of them unreadable, and the thousandth line says no more than these.
pub const DROPS_SAID_MAX: u64 = 8;

/// How often the lock is asked for meanwhile.
pub const LOCK_POLL: Duration = Duration::from_millis(5);

/// How long the first `find` waits for the index of a folder that is still being read. A thousand
/// headers take 20 ms from the page cache and 200 ms from a solid-state disk; a prefill of as many
/// blocks takes minutes.
pub const INDEX_WAIT: Duration = Duration::from_secs(2);

/// Keys of which is remembered how often they were asked for; when more come, counting begins anew.
pub const ASKED_MAX: usize = 65_536;

/// Part of a file that is hashed by one thread in one go. Large enough that a thread is kept busy,
/// small enough that four of them share a file of a few hundred megabytes.
pub const DIGEST_PART_BYTES: u64 = 64 << 20;

/// Bytes read at a time while hashing: the second-level cache of a core.
pub const DIGEST_READ_BYTES: usize = 1 << 20;

/// Threads that hash one file. Four reach the rate of any disk that a model is read from.
pub const DIGEST_THREADS: usize = 4;

/// Files whose digest is remembered; the oldest go. More than anybody has models.
pub const DIGESTS_MAX: usize = 512;

/// Bytes of the file of digests: as many lines with paths of the greatest length.
pub const DIGESTS_BYTES_MAX: u64 = 4 << 20;

/// A file changed less than this ago may change again without a new time stamp, so its digest is
/// not remembered yet. Two seconds is the coarsest clock of a file system in use (FAT).
pub const SETTLED: Duration = Duration::from_secs(2);
