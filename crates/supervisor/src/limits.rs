//! Every bound of the supervisor, with its reason.

use std::time::Duration;

use worker_protocol::limits::EVENT_CREDIT;

/// Context of a model for which nobody chose one. Long enough for a coding agent's system prompt
/// with its tools; much longer would cost gigabytes of cache that most conversations never fill.
pub const CONTEXT_TOKENS_DEFAULT: u32 = 16_384;

/// Tokens a worker computes in one step; the footprint's compute buffers follow from it.
pub const STEP_TOKENS_MAX: u32 = 512;

/// Bytes of a header that are read before the file counts as hostile: what the planner accepts. The
/// largest honest headers hold a vocabulary of 260,000 tokens with merges, some 20 MB.
pub const HEADER_BYTES_MAX: usize = planner::gguf::HEADER_BYTES_MAX as usize;

/// Bytes of a header that are read first; enough for a model without a vocabulary.
pub const HEADER_BYTES_FIRST: usize = 1 << 20;

/// Entries that one onlooker may be behind before it loses the oldest. A page that is reloaded or a
/// slow terminal catches up within seconds.
pub const HAPPENINGS_WAITING_MAX: usize = 1_024;

/// Entries that wait to be written to the journal.
pub const JOURNAL_ENTRIES_WAITING_MAX: usize = 4_096;

/// Bytes of one file of a journal: some ten thousand requests, which are read and decided once more in
/// a second. Then the next file begins with all that the fleet knows.
pub const JOURNAL_FILE_BYTES: u64 = 16 << 20;

/// Bytes of one file that are read: what was waiting to be written when it was full, and what the fleet
/// knew at its beginning, are far less than as much again.
pub const JOURNAL_READ_BYTES_MAX: u64 = 2 * JOURNAL_FILE_BYTES;

/// Files of journals that are kept, half a gigabyte in all; the oldest leaves for the next.
pub const JOURNAL_FILES_MAX: usize = 32;

/// Messages that wait for the run loop. Each is handled in microseconds, so a longer queue would
/// only hide a loop that stands still.
pub const INBOX_MESSAGES_MAX: usize = 1_024;

/// Requests that may wait or hold a lease at once, over all models. Far above what one machine can
/// serve, low enough that their book-keeping is no burden.
pub const REQUESTS_MAX: usize = 4_096;

/// Frames that wait to be written to one worker. An open answer holds one place for its cancel, so
/// this also bounds the answers that may be open on one worker.
pub const COMMANDS_WAITING_MAX: usize = 1_024;

/// Events of one request that were read from the worker and not yet taken: the credit, the last
/// event, which needs none, and one to notice a worker that does not count.
pub const EVENTS_WAITING_MAX: usize = EVENT_CREDIT as usize + 2;

/// Bytes read from a worker's pipe at once; the size of a pipe on Linux.
pub const READ_BYTES: usize = 64 << 10;

/// To connect to a server. One on this machine answers at once, one in the house within
/// milliseconds; a machine that is asleep or unplugged does not answer at all.
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Silence of a server in the middle of a request after which it counts as broken: nothing is said
/// while a long prompt is computed, or while the server first loads the model.
pub const SILENCE_WAIT_MAX: Duration = Duration::from_secs(600);

/// For the body of a refusal to come, which is a few hundred bytes.
pub const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Bytes of a refusal's body that are read; what is shown of it is far less.
pub const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// For a server to show that it is ready or well. A completion may stand behind the load of the
/// model; whoever waits for that asks again.
pub const PROBE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Between two looks at the servers of a pool or a single one. A server that comes back gets requests
/// this late, one that is gone while nobody asks it shows as gone this late, and each look costs it
/// one small request.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(10);

/// Answers in a row that a server breaks until it is left alone for a while. One may be the fault of
/// the request, and two may be the same one put again by its client.
pub const FAULTS_MAX: usize = 3;

/// Servers of a pool that one request is put to while nobody has seen any of its answer. Each that
/// hangs costs the client [`CONNECT_WAIT_MAX`].
pub const SERVERS_TRIED_MAX: usize = 3;

/// Age at which a server's list of models is asked for again when somebody wants to know. Whoever
/// adds a model there sees it here this late.
pub const LIST_AGE_MAX: Duration = Duration::from_secs(30);

/// The same for a name that is not on the list: it may have been added a moment ago, and whoever
/// asks for such names again and again bothers the server no more often than this.
pub const LIST_AGE_MIN: Duration = Duration::from_secs(2);

/// For the lists of models elsewhere to come, while somebody waits for the list of all. A server in
/// the house answers within milliseconds.
pub const LIST_WAIT_MAX: Duration = Duration::from_secs(2);

/// Names of a pool's models in the message that another is not there.
pub const LISTED_IN_ERROR_MAX: usize = 12;

/// Names of models for which what was found is kept: more than any person has, and within
/// [`LOOKUP_AGE_MAX`] nobody asks for as many.
pub const LOOKUPS_MAX: usize = 1_024;

/// Models of servers elsewhere that are in use at once. Each is a task that looks after its servers;
/// none holds memory that would bound them. Far more than people turn to within
/// [`UPSTREAM_IDLE_MAX`].
pub const UPSTREAMS_MAX: usize = 128;

/// How long a model of servers elsewhere is looked after when nobody asks for it. To take it up again
/// costs one look at its servers.
pub const UPSTREAM_IDLE_MAX: Duration = Duration::from_secs(600);

/// Models whose counters are kept after they have left. A person has fewer; of a pool that takes any
/// name there is no end to them.
pub const MODELS_COUNTED_MAX: usize = 1_024;

/// Bytes of what a server says about itself; a list of some thousand models is a few hundred
/// thousand.
pub const PROBE_BYTES_MAX: usize = 4 << 20;

/// Requests that are under way at one foreign engine; more wait in the hub. Each takes a socket,
/// and many systems allow a program only 256.
pub const EXCHANGES_MAX: usize = 64;

/// Texts in one request for embeddings to a server; more are asked for in several. It bounds how
/// much is computed for a client that has left, and the size of one answer.
pub const EMBED_INPUTS_MAX: usize = 64;

/// Bytes of one answer with embeddings: [`EMBED_INPUTS_MAX`] vectors of 65,536 numbers, more than
/// any model has, take 15 bytes for each number.
pub const EMBED_BYTES_MAX: usize = 64 << 20;

/// Documents in one request for scores to a server; more are asked for in several. Text Embeddings
/// Inference takes no more at once unless it is told to.
pub const RANK_DOCUMENTS_MAX: usize = 32;

/// Bytes of one answer with scores. An entry has some hundred; a server may send a document of a megabyte
/// back with each.
pub const RANK_BYTES_MAX: usize = 64 << 20;

/// From the start of a worker to its first word. A virus scanner may hold up a new program for many
/// seconds, nothing honest holds it up for longer than this.
pub const HELLO_WAIT_MAX: Duration = Duration::from_secs(60);

/// Between two signs of progress while loading. The last stretch has none: the engine warms up by
/// reading all weights once, which takes minutes for 40 GB on a slow disk.
pub const LOAD_PROGRESS_WAIT_MAX: Duration = Duration::from_secs(600);

/// For one frame to be taken from a worker's standard input. Its reader does nothing else, so one
/// that does not read for this long hangs.
pub const WRITE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Between closing a worker's standard input and killing it. It leaves at end of file without any
/// tidying up, so this is generous.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(3);

/// For all workers to be gone at shutdown; longer than [`STOP_GRACE_MAX`] and a kill.
pub const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(8);

/// For a worker that takes nothing more to be gone; longer than [`STOP_GRACE_MAX`] and
/// [`DRAIN_WAIT_MAX`] together.
pub const LOST_WAIT_MAX: Duration = Duration::from_secs(5);

/// After a worker's exit, for what it wrote before to come out of its pipes. A process that
/// inherited them may hold them open for ever.
pub const DRAIN_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long what was found for a model's name is believed. Whoever replaces a file waits this long
/// for the new one at most.
pub const LOOKUP_AGE_MAX: Duration = Duration::from_secs(1);

/// Between two measurements of a worker's memory while it is in use. Walking the page table of a
/// large process takes a tenth of a second.
pub const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

/// Between two looks at what a tool writes into its folder. A disk takes a few hundred megabytes in
/// that time.
pub const TOOL_LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Between two measurements of a tool's memory. It grows faster than a worker's, and for a large one
/// a measurement takes a tenth of a second.
pub const TOOL_MEASURE_INTERVAL: Duration = Duration::from_secs(2);

/// Bytes of one model's log; at this size it becomes the old log, and the old one is deleted.
pub const LOG_BYTES_MAX: u64 = 4 << 20;

/// Bytes of one line on a worker's standard error; longer ones are cut.
pub const LOG_LINE_BYTES_MAX: usize = 4 << 10;

/// Lines of standard error that wait to be written to disk; more are dropped and counted, so that
/// a full or slow disk never holds up a worker.
pub const LOG_LINES_WAITING_MAX: usize = 1_024;

/// Last lines of standard error that are kept in memory, for the message when the worker dies.
pub const LOG_LINES_KEPT: usize = 40;

#[cfg(not(unix))]
/// Between two looks at a guarded program where a wait cannot be interrupted. It delays only the
/// news of an end.
pub(crate) const GUARD_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Between two looks at the machine's own shortage of memory: as often as Linux's averages change.
pub const PRESSURE_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Share of the last ten seconds, in percent, in which some task waited for memory, from which that
/// is pressure. Reading a model's file makes its own loader wait a little; a machine in which one
/// task waits a tenth of the time is felt to be slow.
pub const PRESSURE_SOME_PERCENT: f32 = 10.0;

/// The same for all tasks at once, which means that the machine does nothing but wait: swapping has
/// begun.
pub const PRESSURE_FULL_PERCENT: f32 = 10.0;

/// Share of a container's or unit's limit in use from which that is pressure. The kernel ends
/// processes at the limit, and a model's next allocation may be some percent of it.
pub const PRESSURE_HELD_SOME_SHARE: f32 = 0.92;

/// The same from which idle models must go: what is left is less than one long prompt may take.
pub const PRESSURE_HELD_FULL_SHARE: f32 = 0.97;

/// Readings in a row that must be better before a level is: as long as the averages look back.
pub const PRESSURE_CALM_READINGS: u32 = 5;

/// Between two looks whether an engine that was started is ready. It is what a load may seem longer
/// than it is.
pub const READY_LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Between two looks at the counters of a foreign engine: as often as our worker sends its own.
pub const FOREIGN_STATS_INTERVAL: Duration = Duration::from_secs(1);

/// Starts of a program whose port was taken by another one in between. Twice in a row is no chance any
/// more.
pub const PORT_TRIES_MAX: u32 = 3;

/// Random bytes of a key or of what ends the parts of a form; nobody guesses them.
pub const UNGUESSABLE_BYTES: usize = 32;

/// From the break of an answer until its engine's own end is seen, if that is why: a stopped process
/// closes its connections a moment before it is gone.
pub const ENGINE_END_WAIT: Duration = Duration::from_millis(500);

/// Bytes of one answer that is sound: more than an hour of it as a WAV of 48,000 samples a second.
pub const ERRAND_BYTES_MAX: u64 = 512 << 20;

/// Pieces of such an answer between the server and its reader; this only smooths.
pub const ERRAND_PIECES_MAX: usize = 4;

/// One part in so many of what a model needs may go to prefixes that its worker keeps in memory: small
/// beside what they save, and no model becomes unfit by it.
pub const KEPT_RAM_PARTS: u64 = 8;

/// Bytes of that which the smallest model gets; some blocks of it fit.
pub const KEPT_RAM_BYTES_MIN: u64 = 4 << 20;
