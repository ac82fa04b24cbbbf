//! Every bound of the gateway, with its reason.

use std::time::Duration;

/// Bytes of a request body. A million tokens are about 4 MB of text; the rest is room for images
/// in base64.
pub const BODY_BYTES_MAX: usize = 32 << 20;

/// Answers of `/v1/responses` that are kept for who goes on from them. An agent makes some hundreds a day.
pub const ANSWERS_KEPT_MAX: usize = 1024;

/// Bytes of what is kept of answers: room for several conversations of a million tokens each. They are in
/// the hub's own memory, which no plan counts, so they stay small beside any model.
pub const ANSWERS_KEPT_BYTES_MAX: usize = 32 << 20;

/// Bytes of an upload for a tool: half an hour of speech as a WAV of 16,000 samples a second, and many
/// hours in any form that squeezes it. OpenAI stops at 25 MB.
pub const UPLOAD_BYTES_MAX: usize = 64 << 20;

/// Parts of a form. OpenAI's own have ten kinds.
pub const FORM_PARTS_MAX: usize = 64;

/// Bytes of a form's fields beside its file: words that help to understand it.
pub const FORM_TEXT_BYTES_MAX: usize = 1 << 20;

/// Time for a whole upload: [`UPLOAD_BYTES_MAX`] at a megabit a second, which is slow for a house.
pub const UPLOAD_WAIT_MAX: Duration = Duration::from_secs(600);

/// Uploads that are under way at once, each on the disk. They have places of their own, so that whoever
/// sends slowly keeps nobody from the tools whose request is there already.
pub const UPLOADS_MAX: usize = 16;

/// Requests for tools at once, from when all of the request is there until the client has all of the
/// answer: each may have an upload and an output on the disk.
pub const TOOL_REQUESTS_MAX: usize = 16;

/// Bytes of a file that comes in as a part of a model. The largest models' parts have some hundred gigabytes; the
/// disk ends it before.
pub const BLOB_BYTES_MAX: usize = 1 << 40;

/// Files that come in as parts of models at once.
pub const BLOBS_MAX: usize = 8;

/// Pieces of such a file between the connection and the disk.
pub const BLOB_PIECES_MAX: usize = 16;

/// Time between two lines about pulls at least, for readers of all of them: a person sees no more.
pub const PULLS_INTERVAL: Duration = Duration::from_millis(250);

/// Pieces of a file between the disk and the connection, each of 64 KiB.
pub const FILE_PIECES_MAX: usize = 2;

/// Bytes of a piece of a collection that is exported: some ten passages.
pub const EXPORT_PIECE_BYTES: usize = 64 << 10;

/// Bytes of a body that is too large anyway which are read and thrown away, so that its sender gets
/// to read the answer instead of a broken pipe.
pub const DRAIN_BYTES_MAX: usize = 1 << 30;

/// Time for throwing them away.
pub const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Time from a connection's first byte to the end of its headers, against clients that hold
/// connections open with a byte now and then.
pub const HEADER_WAIT_MAX: Duration = Duration::from_secs(15);

/// Time between two pieces of a body, for the same reason.
pub const BODY_WAIT_MAX: Duration = Duration::from_secs(30);

/// Connections at once. Each costs some ten kilobytes; one person's clients use a few dozen.
pub const CONNECTIONS_MAX: usize = 1024;

/// Bytes of a question that files are searched for. A page that somebody pastes is no better a question than its
/// beginning.
pub const QUESTION_BYTES_MAX: usize = 4096;

/// Characters of a citation that stand below an answer: a sentence or two.
pub const CITED_CHARACTERS_MAX: usize = 240;

/// Time a stream waits for its first event before it commits to status 200: long enough that a
/// refusal gets its real status, short enough that clients with a time-out see signs of life.
pub const FIRST_EVENT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Silence after which a comment is sent on a stream. Node's fetch gives up after 300 s, proxies
/// after 60 s or even 30 s.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Time between two lines about a model that is being loaded, for readers who want them: as often as
/// a person looks.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Chunks between the task that makes a stream and the connection that sends it. The reader's own
/// pace is kept by the credit of its answer; this only smooths.
pub const STREAM_CHUNKS_MAX: usize = 16;

/// Time a client may take nothing of a stream that has something for it. A reader that is merely
/// slow takes something now and then; a laptop may sleep for some minutes.
pub const CLIENT_WAIT_MAX: Duration = Duration::from_secs(600);

/// Seconds that a keep-alive may say; what is longer is "never" in effect, and is said so.
pub const KEEP_ALIVE_SECONDS_MAX: u64 = 366 * 24 * 3600;

/// What stays until it is told to go, as Ollama's lists say it: its clients read a time more than 20
/// years ahead as "for ever".
pub(crate) const FOR_EVER: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Time for open answers to end when the hub stops.
pub const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(5);
