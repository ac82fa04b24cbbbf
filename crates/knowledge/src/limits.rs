//! Every bound of this crate, with its reason.

// --- words: text as terms ---

/// The longest term that is kept whole: a SHA-512 in hexadecimal digits fits. What is longer is data, not a word.
pub const TERM_BYTES_MAX: usize = 128;

/// BM25's saturation of repeated terms. See `benches/retrieval.rs`, which prints what it is worth.
pub const BM25_K1: f32 = 1.2;

/// How much of a passage's length counts against its terms.
pub const BM25_B: f32 = 0.75;

/// Terms of a usual passage in a script with spaces, of some 400 tokens.
pub const PASSAGE_TERMS_MEAN_SPACED: f32 = 150.0;

/// Terms of a usual passage in a script without: each character and each pair of some 400 tokens.
pub const PASSAGE_TERMS_MEAN_PAIRED: f32 = 800.0;

// --- index::edge: memory-mapped files ---

/// Links of a vector in the graph. Qdrant's own choice; found 0.997 of the ten nearest of 100,000 when measured.
pub const EDGE_HNSW_LINKS: usize = 16;

/// How many vectors are looked at for the links of a new one.
pub const EDGE_HNSW_SEARCH_BUILDING: usize = 100;

/// Below this many kilobytes of vectors everything is compared, which is as quick as the graph.
pub const EDGE_SCAN_BELOW_KB: usize = 1000;

/// From this many kilobytes of vectors a part of the index gets its graph: some 650 vectors of 384 numbers, so that
/// little is compared one by one and little is in the heap.
pub const EDGE_INDEX_FROM_KB: usize = 1000;

/// How many parts are kept before they are joined. Fewer are searched faster, more are joined with less memory.
pub const EDGE_SEGMENTS_WANTED: usize = 8;

/// What a part may become by joining: 130,000 vectors of 384 numbers, whose graph takes a minute to make.
pub const EDGE_SEGMENT_KB_MAX: usize = 200_000;

/// How many times more candidates are taken by the vectors of 4 bits than are then compared exactly.
pub const EDGE_OVERSAMPLING: f64 = 3.0;

/// One file of the engine's log. Its own default of 32 MiB is for servers.
pub const EDGE_LOG_SEGMENT_BYTES: usize = 4 << 20;

/// How long the log may become before it is cut, which takes closing and opening the index: a tenth of a second.
pub const EDGE_LOG_BYTES_MAX: u64 = 64 << 20;

// --- search: one order of two ---

/// How many hits each leg of a search gives. Beyond the fiftieth hardly any answer is first found.
pub const LEG_HITS: usize = 50;

/// What is added to ranks before they are turned into shares: the published value, which lets the first places of one
/// leg count little more than its tenth.
pub const FUSION_RANK_OFFSET: f32 = 60.0;

/// How many passages a reranker reads for a question: what it costs rises with each.
pub const RERANKED_MAX: usize = 24;

/// How many times more hits are asked for where a glob has taken too many away.
pub const GLOB_WIDENING: usize = 8;

/// How often: 50, 400 and 3,200 hits of each leg.
pub const GLOB_ROUNDS_MAX: u32 = 3;

/// How many of the six questions of a script an embedder may get wrong and still count as understanding it.
pub const PROBES_MISSED_MAX: usize = 1;

/// Which share of a text may be in scripts that the embedder does not know: a name in an otherwise known text.
pub const FOREIGN_SHARE_MAX: f32 = 0.1;
