//! Every bound of this crate, with its reason.

use std::time::Duration;

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

// --- index::segments: files that are read where they lie ---

/// Passages that are in memory before they are written as a segment, if nobody flushes before: some 40 MB of them.
pub const SEGMENT_HELD_MAX: usize = 4096;

/// Segments below this many passages are joined at the next tidying, whatever their number.
pub const SEGMENT_SMALL_ROWS: usize = 4096;

/// How many segments of a size become one. With fewer each passage is written more often, with more each question looks
/// into more files.
pub const JOINED_TOGETHER: usize = 8;

/// One in so many terms of a segment is in memory: looking one up reads 2.5 KB.
pub const TERMS_STEP: usize = 128;

/// Terms that are read at a time when segments are joined: 20 KB of each.
pub const TERMS_READ: usize = 1024;

/// Bytes of vectors that are read at a time when all are compared: they stay in a core's own cache.
pub const SCAN_BYTES: usize = 128 << 10;

/// Passages that a thread takes at a time: megabytes to read, beside which starting a thread is little.
pub const SCAN_ROWS: usize = 16_384;

/// Threads that compare at most: from there on memory is what is slow, and others want cores too.
pub const SCAN_THREADS_MAX: usize = 4;

/// How many times more passages are taken by vectors of a byte a number than are then compared exactly.
pub const VECTOR_OVERSAMPLING: usize = 4;

/// The least that are compared exactly.
pub const VECTOR_ROUGH_MIN: usize = 64;

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

// Extraction: what one file may cost, and what is looked at of it. The figures of `extract::Limits` are defaults,
// these are what holds whatever they say.

/// Beginning of a file by which its kind is told: a PDF's mark may stand anywhere in its first 1,024 bytes, and whether
/// bytes are text shows in a few thousand.
pub const HEAD_BYTES: usize = 8 << 10;

/// Bytes read of a file whose text is stored as such. What is longer is no text that a person wrote (a log, a dump);
/// its beginning is read and the rest is a gap. Decoding one takes up to ten times as much.
pub const TEXT_FILE_BYTES_MAX: u64 = 32 << 20;

/// Bytes of a PDF. Its reader holds a file twice, and this is a third of the memory that a reader may have.
pub const PDF_BYTES_MAX: u64 = 320 << 20;

/// Bytes of an archive (DOCX, PPTX, XLSX, EPUB), which is read from its place and not held: a thousand photographs in it
/// cost nothing.
pub const ARCHIVE_BYTES_MAX: u64 = 4 << 30;

/// Entries of an archive. A long book has hundreds, a deck with pictures thousands.
pub const ARCHIVE_ENTRIES_MAX: u64 = 20_000;

/// Inflated bytes of one entry that is held whole while it is read: 500 pages of text are about 10 MiB of Word's XML.
pub const ENTRY_BYTES_MAX: u64 = 64 << 20;

/// Inflated bytes of a sheet, which is read as a stream: ten million cells are 400 MB.
pub const SHEET_BYTES_MAX: u64 = 1 << 30;

/// Inflated bytes of all that is read of one archive.
pub const ARCHIVE_INFLATED_BYTES_MAX: u64 = 2 << 30;

/// How many times its size an entry may inflate to once it is larger than [`RATIO_FREE_BYTES`]. XML of office files
/// stays below 100, the most that deflate can is 1,032.
pub const INFLATE_RATIO_MAX: u64 = 200;

/// Up to here an entry may inflate as it likes: it costs little, and small ones of one repeated row do.
pub const RATIO_FREE_BYTES: u64 = 16 << 20;

/// Depth of elements of XML or HTML. Word's deepest are about 50; what is deeper is read as if it were not there.
pub const DEPTH_MAX: usize = 512;

/// Pages of a PDF.
pub const PAGES_MAX: usize = 20_000;

/// Cells that are looked at in a row of a sheet or of a table: Excel has 16,384 columns.
pub const CELLS_PER_ROW_MAX: usize = 16_384;

/// Sheets of a workbook, chapters of a book, slides: entries that are read one after the other.
pub const ENTRIES_READ_MAX: usize = 5_000;

/// Text of one part. What is longer is divided at the end of a sentence, so that whoever makes passages of parts never
/// meets one of megabytes.
pub const PART_TEXT_BYTES_MAX: usize = 8 << 10;

/// Text of one cell that is kept: Excel allows 32,767 characters.
pub const CELL_TEXT_BYTES_MAX: usize = 128 << 10;

/// A part of source code grows by whole items up to here: about what an embedder takes.
pub const CODE_PART_BYTES: usize = 2 << 10;

/// Letters that a page of a PDF must have to count as text; a page number alone is none.
pub const PAGE_LETTERS_MIN: usize = 8;

/// The share of a page's characters, in percent, that may mean nothing before the page counts as garbage.
pub const GARBAGE_PERCENT_MAX: usize = 10;

/// Milliseconds between two lines of subtitles within which a sentence may go on.
pub const CUE_PAUSE_MS_MAX: u64 = 2_000;

/// Bytes of lines of subtitles that are joined to one sentence.
pub const CUE_TEXT_BYTES_MAX: usize = 600;

/// Share of all text, as a divisor, that an element which calls itself the main one must hold to be believed.
pub const MAIN_SHARE_DIVISOR: usize = 4;

/// Bytes of HTML in which it says its encoding; browsers look at 1,024.
pub const HTML_ENCODING_BYTES: usize = 4 << 10;

/// Parts of a mail, nested ones included.
pub const MAIL_PARTS_MAX: usize = 1_000;

/// Bytes of a quote that is looked for; citations are sentences. It travels in an environment variable.
pub const QUOTE_BYTES_MAX: usize = 32 << 10;

/// Text at a place in which a quote is looked for.
pub const LOCATE_TEXT_BYTES_MAX: usize = 8 << 20;

/// Memory of the process that reads one file. The worst of the hostile PDFs measured takes a third.
pub const CHILD_MEMORY_BYTES: u64 = 1 << 30;

/// Processor time of the process that reads one file: a PDF of 5,000 pages takes half a minute.
pub const CHILD_CPU_SECONDS: u64 = 120;

/// Time on the clock of the process that reads one file; a machine under load may give it a fifth of a processor.
pub const CHILD_WALL: Duration = Duration::from_secs(600);

/// Text that is kept of one file: the Bible is 4 MiB.
pub const DOCUMENT_TEXT_BYTES: u64 = 32 << 20;

/// Parts that are kept of one file, and gaps: as many as lines of 100 bytes in the text that is kept.
pub const DOCUMENT_PARTS_MAX: usize = 300_000;

/// Bytes of a part in the child's answer beside its text and the names in its place: about 90 are usual.
pub const PART_FRAME_BYTES: u64 = 192;

/// Words about a damage that are kept.
pub const DAMAGE_CHARACTERS_MAX: usize = 200;

/// The share of its processor time, in percent, after which a reader ends with what it has.
pub const CPU_SOFT_PERCENT: u64 = 80;

/// Stack of the thread that reads: readers of nested things are recursive, and this is enough for honest ones.
pub const CHILD_STACK_BYTES: usize = 32 << 20;

/// Files that the reading process may have open; it needs its three and a few of its own.
pub const CHILD_FILES_MAX: u64 = 64;

/// What is kept of what the reading process says about its death.
pub const STDERR_BYTES_MAX: u64 = 4 << 10;

/// How often it is asked whether a process that has closed its output has ended, which takes less than this.
pub const EXIT_INTERVAL: Duration = Duration::from_millis(1);

/// How often the parent looks at the memory of a reading process and at whether it is to stop.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(20);

// Passages (chunk).

/// Tokens of a passage that is aimed at: 350 to 450 Chinese characters, or 1,500 English letters. Shorter ones lose what
/// their words refer to, longer ones blur what they are about (measured on spans: recall .829 at 800 letters, .921 at
/// 1,600, with precision falling as fast).
pub const PASSAGE_TOKENS: u32 = 400;

/// Tokens of a passage at most, whatever the embedder could read: a table or a piece of code of twice the usual length is
/// worth keeping whole, and five of them still fit into the context of a small model.
pub const PASSAGE_TOKENS_MAX: u32 = 2 * PASSAGE_TOKENS;

/// This part of the embedder's window stays free: what is counted here and what is embedded may differ by the few tokens
/// that a model puts around texts.
pub const WINDOW_RESERVE_DIVISOR: u32 = 16;

/// Passages of one long paragraph share this part of their length, so that a sentence and the one that it refers to are
/// found together; more only stores the same twice.
pub const OVERLAP_DIVISOR: u32 = 10;

/// Texts that are counted in one call: a call to another process costs about as much as counting so many.
pub const TOKEN_TEXTS_PER_CALL: usize = 256;

/// Bytes of texts that are counted in one call: well below any bound on a request's body.
pub const TOKEN_BYTES_PER_CALL: usize = 1 << 20;

/// Bytes of text whose sentences are looked for at once: some ten passages. Looking takes time with the square of it, so
/// that a gigabyte in one line takes time in proportion.
pub const SPLIT_WINDOW_BYTES: usize = 16 << 10;

/// How often what is still too long is cut again before whole passages are counted; each time what is left is shorter.
pub const SPLIT_ROUNDS: usize = 4;

/// Characters of title and headings that are embedded with each passage: more would be more than the passage itself says.
pub const CONTEXT_CHARACTERS_MAX: usize = 160;

/// Characters of a heading in the path of headings. What is longer is a paragraph that looks like one.
pub const HEADING_CHARACTERS_MAX: usize = 80;

// The store.

/// How long a write waits for another process that writes. Writes are batches of some hundred files, a fraction of a
/// second each; who waits this long waits for somebody that hangs.
pub const BUSY_WAIT_MAX: Duration = Duration::from_secs(20);

/// Bytes of a page of the store: three vectors of 1,024 dimensions fit one, where of half the size only one would.
pub const PAGE_BYTES: u32 = 8192;

/// Of each connection, in KiB: the inner pages of a store with a million passages.
pub const STORE_CACHE_KIB: i64 = 8192;

/// What the log beside the store keeps of its length once it is written back.
pub const WAL_KEPT_BYTES: u32 = 32 << 20;

/// Connections for reading that are kept open: as many as searches that commonly run at once.
pub const READERS_IDLE_MAX: usize = 4;

/// Letters of a collection's name: what fits into a line and into a model's name.
pub const COLLECTION_NAME_CHARACTERS_MAX: usize = 64;

/// Files or passages that one query takes from the store at once.
pub const STORE_PAGE_ROWS: usize = 256;

/// Files with the same content that are looked at when one may have moved. Where there are more, such as empty ones, one
/// that moved is read again, and nothing else is lost.
pub const SAME_CONTENT_MAX: usize = 16;

// --- source: which files there are ---

/// Folders of one walk that could not be read and are remembered. With more of them nothing is known to be gone.
pub const UNREADABLE_FOLDERS_MAX: usize = 1000;

/// Folders that are remembered while it is proved that files are gone: a few megabytes of paths at most.
pub const FOLDERS_REMEMBERED_MAX: usize = 4096;

/// Bytes of a file that are hashed at once: as much as stays in the second-level cache.
pub const HASH_BUFFER_BYTES: usize = 128 << 10;

/// How long nothing must change before a change is acted on: editors write a file in several steps.
pub const WATCH_QUIET: Duration = Duration::from_millis(500);

/// How long a change is put off while others follow: a log that grows all the time must not hide a new file.
pub const WATCH_QUIET_WAIT_MAX: Duration = Duration::from_secs(5);

/// How often whoever waits for a change looks whether it is to stop.
pub const WATCH_LOOK: Duration = Duration::from_millis(100);

/// Paths that are remembered between two looks; when more change, a walk is quicker than looking at each.
pub const WATCH_PATHS_MAX: usize = 1000;

/// How often everything is walked where the system does not tell of all changes: a walk of a million files takes ten
/// seconds or so.
pub const WALK_AGAIN_BLIND: Duration = Duration::from_secs(10 * 60);

/// How often everything is walked although it is watched: what network disks and sleeping machines did not tell.
pub const WALK_AGAIN_WATCHED: Duration = Duration::from_secs(6 * 60 * 60);

// The work of keeping a collection in step (ingest).

/// Files that a walk notes at once: few transactions, and a quarter of a megabyte of names.
pub const SEEN_BATCH_FILES: usize = 1000;

/// Files that are handed to readers beyond one for each, so that none waits for the next one. Each holds the text of
/// one file at most.
pub const READERS_AHEAD: usize = 2;

/// How often a file is read that changes meanwhile, before it is left for the next look.
pub const READ_TRIES: usize = 3;

/// Files that are written in one transaction. One costs a write that the disk confirms, some milliseconds.
pub const GROUP_FILES: usize = 128;

/// Passages that are written in one transaction, unless one file has more.
pub const GROUP_PASSAGES: usize = 512;

/// Bytes of text that are written in one transaction, unless one file has more.
pub const GROUP_TEXT_BYTES: usize = 4 << 20;

/// Passages that the index takes before it is asked to see that they are on the disk, which takes it milliseconds; also
/// what is done again at most for the index after a kill.
pub const INDEX_PASSAGES: usize = 512;

/// Texts that are embedded in one call: enough for full batches of a model, few enough that a kill costs a second or so.
pub const EMBED_TEXTS: usize = 32;

/// Passages after which the index is put in order: it holds those before in memory (118 MB at 20,000 of them).
pub const OPTIMIZE_PASSAGES: u64 = 4096;

/// Numbers of passages that are compared at once.
pub const INDEX_IDS_PAGE: usize = 4096;

/// What stands for the window of an embedder where there is none: passages are as long as for most.
pub const WORDS_WINDOW_TOKENS: u32 = 1024;

// An index on a Qdrant.

/// Passages in one message to the server, which takes 32 MB at most: a vector of 4,096 numbers and its terms are some
/// 30 kB.
pub const CLUSTER_POINTS_MAX: usize = 256;

/// How long a server may take to take a connection.
pub const CLUSTER_CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a server may take to find passages: a person waits.
pub const CLUSTER_ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a server may take for anything else: passages are waited for until they can be found, which takes long
/// while it tidies.
pub const CLUSTER_WAIT_MAX: Duration = Duration::from_secs(60);

// Citations.

/// Citations of one answer. An answer that has more names passages and does not cite them.
pub const CITATIONS_MAX: usize = 64;

/// Bytes before the number of a passage in which the statement is looked for that rests on it: some sentences.
pub const CITED_STATEMENT_BYTES_MAX: usize = 2_000;

/// What a term of the question counts beside one of the statement: it decides between sentences that hold the statement
/// equally well, and outweighs none that holds it better.
pub const QUESTION_TERM_WEIGHT: f32 = 0.3;

// Collections.

/// Passages of one file among those that answer a question: enough for one that answers it alone, few enough that
/// others are seen.
pub const FOUND_PER_FILE_MAX: usize = 3;

/// Files that are read at once. Each reader is a process with memory of its own, and the models' cores are not theirs.
pub const READERS: usize = 2;

/// Bytes that are read of a file at once: more than a model takes in one step, and little beside an answer's bound.
/// A single passage may be longer, as its own bound is in tokens.
pub const READ_BYTES_MAX: usize = 128 << 10;
