//! Every bound of the command line, with its reason.

use std::time::Duration;

/// Characters a model's name may have; more than any model on the hubs of the world uses.
pub(crate) const NAME_CHARACTERS_MAX: usize = 128;

/// Names less alike than this are a guess, not a slip of the finger.
pub(crate) const LIKENESS_MIN: f64 = 0.7;

/// Digits after the point of a size that count; more are finer than a byte of any unit.
pub(crate) const FRACTION_DIGITS_MAX: usize = 15;

/// The longest span of time that counts as one; what is longer is "never" in effect, and adding it
/// to a clock could overflow.
pub(crate) const SPAN_SECONDS_MAX: u64 = 366 * 24 * 3600;

/// To connect to a hub on this machine; a listening one takes microseconds.
pub(crate) const CONNECT_WAIT_MAX: Duration = Duration::from_secs(2);

/// For whatever listens at the address to show that it is a hub. A busy machine may take a second;
/// another program may never answer.
pub(crate) const PROOF_WAIT_MAX: Duration = Duration::from_secs(5);

/// For the answer to a control request, which nothing slow stands behind.
pub(crate) const CONTROL_WAIT_MAX: Duration = Duration::from_secs(20);

/// Requests that wait which `resident ps` lists; more than fit a screen beside the models help nobody.
pub(crate) const WAITING_LISTED_MAX: usize = 16;

/// For a model that is to be loaded: it may wait ten minutes for memory and then load as long from a
/// slow disk. The hub has ends of its own before that.
pub(crate) const LOAD_WAIT_MAX: Duration = Duration::from_secs(1_800);

/// Silence on a stream after which it counts as broken. The hub sends a comment every 15 s while it
/// has nothing else to say.
pub(crate) const STREAM_SILENCE_MAX: Duration = Duration::from_secs(60);

/// Bytes of an answer that is read whole; a list of thousands of models is far below.
pub(crate) const REPLY_BYTES_MAX: usize = 16 << 20;

/// Bytes of a prompt from standard input; the gateway accepts bodies of at most twice as many.
pub(crate) const PROMPT_BYTES_MAX: u64 = 16 << 20;

/// Headers of a repository that are read to tell its model from files that belong to it. Few
/// repositories have more than a projector, an adapter and a vocabulary beside their model.
pub(crate) const HEADERS_READ_MAX: usize = 8;

/// For the worker to lay a model out without loading it, which takes a second or two; a disk that has
/// to start up first takes ten more.
pub(crate) const MEASURE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Connections of one pull that may be asked for. More than a few gain nothing, and servers take many for an attack.
pub(crate) const PULL_CONNECTIONS_MAX: usize = 32;

/// Servers that may be named beside a hub of models; each is asked once when a pull begins.
pub(crate) const MIRRORS_MAX: usize = 8;

/// Between two looks at a pull that the hub does, and between two lines of it for a program.
pub(crate) const PULL_LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Bars of files under each other: more would push what was said before off a small screen.
pub(crate) const BARS_MAX: usize = 6;

/// Between two lines of a pull that nobody watches.
pub(crate) const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Parts of a hundred after which such a line comes sooner.
pub(crate) const LINE_PERCENT: u64 = 10;

/// Models of a hub that are listed when nobody says how many: what fits a screen.
pub(crate) const HITS_DEFAULT: u64 = 10;

/// Models of a hub that are listed at most. The files of each are asked for.
pub(crate) const HITS_MAX: u64 = 50;

/// Bytes of a Modelfile that are read; licences in them have some tens of thousands.
pub(crate) const MODELFILE_BYTES_MAX: u64 = 4 << 20;

/// Between two looks at how far a model is loaded.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Between two pictures of the spinner.
pub(crate) const SPIN_INTERVAL: Duration = Duration::from_millis(100);

/// Lines of the chat's history that are kept; some weeks of chatting.
pub(crate) const HISTORY_LINES_MAX: usize = 1_000;

/// From the first signal to the end of the program. Longer than the supervisor's own bound for its
/// workers, so that this one only matters when something is broken.
pub(crate) const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(12);

/// Wishes to read the configuration again that wait while one is looked at. Whoever comes later waits
/// at the door.
pub(crate) const CHANGES_WAITING_MAX: usize = 4;

/// One part in so many of the budget: a model that needs more is large, and large models take turns
/// (group `main`). Three that need just less fit side by side.
pub(crate) const LARGE_MODEL_PARTS: u64 = 3;

/// Servers that one pool may have; a household has two or three.
pub(crate) const POOL_SERVERS_MAX: usize = 64;

/// Bytes a file with a key may have; the longest keys of today have some hundreds.
pub(crate) const KEY_BYTES_MAX: u64 = 4096;

/// How long a tool may run when nobody says: long enough for a page of speech.
pub(crate) const TOOL_TIME_MAX: Duration = Duration::from_secs(120);

/// Bytes a tool may give when nobody says: an hour of compressed speech, or a dozen pictures.
pub(crate) const TOOL_OUTPUT_BYTES_MAX: u64 = 50_000_000;

/// Memory of each worker for prefixes that it keeps outside the context: a conversation or two, and
/// what waits to be written.
pub(crate) const KV_RAM_BYTES: u64 = 256 << 20;

/// One part in so many of the budget is that memory at most, so that it matters on no machine.
pub(crate) const KV_RAM_BUDGET_PARTS: u64 = 32;

/// Files of kept prefixes: the conversations of some weeks, on a disk that has a few hundred.
pub(crate) const KV_SSD_BYTES: u64 = 20 << 30;

/// What the cache leaves free on a disk, for everybody else.
pub(crate) const KV_FREE_FLOOR_BYTES: u64 = 10 << 30;

/// What may be written in a day: 18 TB in a year, where a small SSD is promised to bear 300 in all.
pub(crate) const KV_DAILY_WRITES_BYTES: u64 = 50_000_000_000;

/// How often a hub looks whether something is kept of a model that was deleted. Whoever deletes a model
/// wants its conversations gone too, not this very minute; the look lists a folder.
pub(crate) const FORGET_DELETED_INTERVAL: Duration = Duration::from_secs(3600);

/// Between two looks at the file that tells of a shortage of memory, where a test names one: far
/// shorter than a shortage lasts.
pub(crate) const PRESSURE_FILE_LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Tokens of context below which a coding agent is warned about: its instructions and tools alone take
/// half of that, before it has read a file.
pub(crate) const AGENT_CONTEXT_TOKENS_MIN: u32 = 32_768;

/// Tokens of the shortest window that Claude Code takes; it says so itself when it is told of a shorter one
/// (2.1.332), and takes this.
pub(crate) const CLAUDE_WINDOW_TOKENS_MIN: u32 = 100_000;

/// What clients are told of a context that nobody knows; every model of today has as much.
pub(crate) const CONTEXT_TOKENS_ASSUMED: u32 = 8_192;

/// One part in so many of the context is what clients are told an answer may take, so that three are
/// left for what was said before.
pub(crate) const ANSWER_PARTS: u32 = 4;

/// Bytes of a client's settings that are read; the longest of today have some hundred thousand.
pub(crate) const SETTINGS_BYTES_MAX: u64 = 16 << 20;

/// Copies of a client's settings that are kept; who has so many does not look at them any more.
pub(crate) const BACKUPS_MAX: usize = 100;

/// Steps of a pull that wait for a client to read them. It reads as fast as a person looks; whoever pulls goes on.
pub(crate) const STEPS_WAITING_MAX: usize = 64;

/// Passages that a search gives unless it says how many: what a model reads in a second and a person on one screen.
pub(crate) const FOUND_DEFAULT: u32 = 8;

/// Passages that a search gives at most; further ones share few words with the question.
pub(crate) const FOUND_MAX: u32 = 100;

/// Passages before and after each that a search gives at most; whoever wants more wants the file.
pub(crate) const FOUND_NEIGHBOURS_MAX: u32 = 8;

/// Bytes of the text that is read off one page: a newspaper's has some ten thousand.
pub(crate) const OCR_PAGE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of what a model is given before each text that it embeds; instructions have a sentence.
pub(crate) const PREFIX_BYTES_MAX: usize = 1024;

/// How long the end of the program waits for what blocks a thread, once nobody is served any more.
pub(crate) const BLOCKING_WAIT_MAX: Duration = Duration::from_secs(2);

/// Bytes of the name of a text that stands in no file: as file systems have it.
pub(crate) const TEXT_NAME_BYTES_MAX: usize = 255;

/// Bytes that `resident kb add -` takes: as base64, or as text half of which is line ends, they fit into a request.
pub(crate) const TEXT_BYTES_MAX: usize = 20 << 20;

/// Files that were not read which are listed of a collection; an export has all of them.
pub(crate) const UNREAD_LISTED_MAX: usize = 1000;

/// Reasons of one file that are shown: a scanned book has hundreds of pages that say the same.
pub(crate) const REASONS_SHOWN_MAX: usize = 3;

/// Passages that are read of a file unless somebody says how many: about as many as a search gives.
pub(crate) const READ_DEFAULT: u32 = 8;

/// Passages that are read of a file at once at most: some 25,000 tokens. Whoever wants more goes on behind them.
pub(crate) const READ_MAX: u32 = 64;

/// Between two looks at how far the work on a collection is.
pub(crate) const KNOWLEDGE_LOOK_INTERVAL: Duration = Duration::from_millis(300);
