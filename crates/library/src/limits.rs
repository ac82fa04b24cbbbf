//! Every bound of what is read from elsewhere, with its reason.

use std::time::Duration;

/// Everything that one question may download, lists and headers together. A vocabulary of 260,000
/// tokens with its merges makes a header of some 12 MB; nothing honest needs more than this.
pub const DOWNLOAD_BYTES_MAX: u64 = 20_000_000;

/// What is asked for first of a file with a vocabulary. Headers have 1 to 12 MB, so that less would
/// cost most models another round trip.
pub const FIRST_BYTES: u64 = 1 << 20;

/// What is asked for first of the further parts of a split model, which hold a table of some hundred
/// tensors at a hundred bytes each, and no vocabulary.
pub const FIRST_BYTES_OF_FURTHER_PARTS: u64 = 64 << 10;

/// A request asks for as much again as is there, but for no more than this: so much may be read in
/// vain behind the end of the header.
pub const STEP_BYTES_MAX: u64 = 4 << 20;

/// To connect, with the TLS handshake. A server on the other side of the world takes a second.
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Silence of a server before it counts as stalled. Busy ones take some seconds to their first byte.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// For one question in all. A server that sends a byte now and then is never silent, so silence
/// alone bounds nothing; a line of 1 Mbit/s takes under three minutes for the most there is to read.
pub const WHOLE_WAIT_MAX: Duration = Duration::from_secs(300);

/// Redirects of one request. Hugging Face needs one, for the server that has the file.
pub const REDIRECTS_MAX: usize = 5;

/// Pages of a list of files, each of a thousand; repositories of models have under a hundred files.
pub const LIST_PAGES_MAX: usize = 4;

/// Bytes of one page of such a list; a thousand files make about 400 kB.
pub const LIST_BYTES_MAX: u64 = 4 << 20;

/// Characters of a model's name. Ollama allows 350 for a server and 80 for each further part; a file's name has
/// room for 255, in which a slash takes three.
pub const NAME_CHARACTERS_MAX: usize = 200;

/// Pulls that go on at once and that nobody attends. One has all of the line, and is here soonest.
pub const PULLS_AT_ONCE_MAX: usize = 1;

/// Pulls that go on at once because somebody attends them; more wait.
pub const PULLS_ATTENDED_MAX: usize = 4;

/// Pulls that are not done. A person asks for some tens.
pub const PULLS_MAX: usize = 256;

/// Pulls that have ended and are told for whoever looks now and then.
pub const PULLS_ENDED_MAX: usize = 32;

/// Bytes of the file in which pulls are written down: [`PULLS_MAX`] of them, each with a long address, the keys of
/// [`PULL_KEYS_MAX`] files at 75 bytes, and [`FAILURE_CHARACTERS_MAX`].
pub const PULLS_FILE_BYTES_MAX: u64 = 32 << 20;

/// Files of one pull that are remembered, so that what is half here of them can be removed: those of two versions of
/// the largest model.
pub const PULL_KEYS_MAX: usize = 2 * MODEL_FILES_MAX;

/// Characters of the reason why a pull failed that are kept. A sentence has some hundred.
pub const FAILURE_CHARACTERS_MAX: usize = 2_000;

/// How long a pull of the queue that could not reach its servers waits before it is tried again: a network that is
/// back should be noticed within a minute, and meanwhile others go on.
pub const PULL_RETRY_WAIT: Duration = Duration::from_secs(45);

/// Bytes of a manifest. Licences are its greatest part, some tens of kilobytes each; what was said before the
/// first request may be a document.
pub const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// Models of one library. The folder is listed whenever somebody asks for them.
pub const MANIFESTS_MAX: usize = 10_000;

/// Files of one model. The greatest open models come in some two hundred parts.
pub const FILES_MAX: usize = 4096;

/// Bytes of a file's name on every system that matters.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// What is read or written of a file at once: enough that the system is not asked for every page.
pub const PIECE_BYTES: usize = 1 << 20;

/// How long a blob that no model names is kept: a client that uploads one makes the model of it within hours,
/// and a pull has its manifest within a second of its last file.
pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// How deep folders of models are looked through below the one that is named: a publisher, a repository, a
/// quantization, and one more.
pub const FOLDER_DEPTH_MAX: usize = 4;

/// Files and folders that are looked at in one import of a folder; a home folder that was named by mistake has more.
pub const FOLDER_ENTRIES_MAX: usize = 100_000;

/// How deep parts of a chat template stand in each other, and how many fields or functions follow each other. Those of
/// Ollama's models go to eight.
pub const TEMPLATE_DEPTH_MAX: usize = 64;

/// Bytes of a chat template, in Go and in Jinja. The longest have some tens of kilobytes; a translation can be
/// longer than what it is of, and a hostile one much longer.
pub const TEMPLATE_BYTES_MAX: usize = 1 << 20;

/// Characters of each part of a model's name in a registry, as Ollama bounds them. Container registries allow 128
/// for a tag, which nobody uses up.
pub const IMAGE_NAME_CHARACTERS_MAX: usize = 80;

/// Parts of such a name. Ollama's have two, those of companies' registries some more.
pub const IMAGE_STEPS_MAX: usize = 8;

/// Tokens of registries that are kept, one for each repository; each is good for some minutes.
pub const TOKENS_MAX: usize = 64;

/// Bytes of an answer that holds such a token; real ones have 1 to 5 kB.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Bytes of a registry's list of what a model is made of. Ollama's have about 1 kB.
pub const IMAGE_MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Parts that such a list may name. A model has about five; those whose weights come tensor by tensor have hundreds
/// to thousands, and are of no use here.
pub const LAYERS_MAX: usize = 1_000;

/// Files of one model, all parts counted. The largest models are published in some sixty.
pub const MODEL_FILES_MAX: usize = 256;

/// Parts that the name of a file may say there are, as many as `planner::gguf::split` takes.
pub const PARTS_MAX: u64 = 1_024;

/// Texts of one model at a registry, such as template and licences; each is a request. Usual are up to five.
pub const SETTINGS_MAX: usize = 32;

/// Bytes of one such text. Licences have 10 to 60 kB, templates up to 20 kB.
pub const SETTING_BYTES_MAX: u64 = 1 << 20;

/// Bytes of all of them together: they are read with each look at the model.
pub const SETTINGS_BYTES_MAX: u64 = 4 << 20;

/// Parameters that a model may bring; there are about thirty that mean anything.
pub const PARAMETERS_MAX: usize = 100;

/// Values of one parameter that is a list; the only one is what ends an answer.
pub const PARAMETER_VALUES_MAX: usize = 100;

/// What a model may say was said before the first request, counted in messages.
pub const MESSAGES_MAX: usize = 1_000;

/// Files in one page of a hub's list. Hugging Face sends a thousand, ModelScope all at once.
pub const LISTED_FILES_MAX: usize = 10_000;

/// Bytes of a file's name. File systems take 255, and a store may put something in front or behind.
pub const PLAIN_NAME_BYTES_MAX: usize = 200;

/// Names that a message lists. A person looks for one among them, and a repository can have tens of thousands.
pub const NAMES_TOLD_MAX: usize = 20;

/// Characters of a name from elsewhere that a message tells.
pub const TOLD_CHARACTERS_MAX: usize = 200;

/// Models that a search answers with at most; ModelScope gives 50 at once.
pub const HITS_MAX: usize = 50;

/// Bytes of such an answer; 50 models with all their tags take about 100 kB.
pub const SEARCH_BYTES_MAX: u64 = 4 << 20;

/// Mirrors of one hub; each that does not answer costs a wait.
pub const MIRRORS_MAX: usize = 8;

/// Bytes of a file at an address that are looked at to tell whether it is a model: enough for the first words of a
/// web page that came instead.
pub const LOOK_BYTES: u64 = 256;

/// Connections of one transfer. Eight fill lines of which a server gives each connection a share, and are few
/// enough that no server takes them for an attack.
pub const CONNECTIONS: usize = 8;

/// The most connections of one transfer, whatever is configured.
pub const CONNECTIONS_MAX: usize = 32;

/// The least that one connection is asked for: below it, asking costs more than waiting.
pub const RANGE_BYTES_MIN: u64 = 8 << 20;

/// The most that one connection is asked for. It takes seconds on a fast line, beside which asking is nothing, and
/// what comes stays so near to the file's beginning that it is hashed while the page cache has it.
pub const RANGE_BYTES_MAX: u64 = 64 << 20;

/// What a checksum of the journal covers at most, before one write more. What is damaged is fetched again by so much.
pub const PIECE_BYTES_MAX: u64 = 8 << 20;

/// What is written at once: large enough for few calls, small enough that eight connections hold few megabytes.
pub const WRITE_BYTES: usize = 1 << 20;

/// What is read at once for hashing.
pub const HASH_BYTES: usize = 1 << 20;

/// How long received bytes wait for more before they are written. With [`WRITE_BYTES`] it bounds what a kill costs.
pub const FLUSH_WAIT: Duration = Duration::from_millis(50);

/// Over how long a connection's rate is measured. Lines falter for some tenths of a second.
pub const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Over how long the rate is measured that people see.
pub const RATE_SHOWN_WINDOW: Duration = Duration::from_secs(5);

/// How often people see progress.
pub const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// Silence of one connection before it is replaced. Servers that fetch a file for themselves first take some seconds.
pub const STALL_MAX: Duration = Duration::from_secs(15);

/// The wait behind a first failure.
pub const BACK_OFF: Duration = Duration::from_millis(500);

/// The longest wait of ours: a network that is back should be noticed within a minute.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// The longest wait that a server may ask for. Hugging Face counts requests per five minutes.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// How often an address is tried that never answered: a mistyped name is told after half a minute, while a file of
/// which something came waits for its network as long as it takes.
pub const FIRST_TRIES_MAX: u32 = 6;

/// How often in a row a server may say what cannot be before its address counts as wrong.
pub const LIES_MAX: u32 = 3;

/// How often in a row a signed address may be refused although it is new.
pub const REFUSALS_MAX: u32 = 3;

/// How often a file without a digest may change while it comes.
pub const CHANGES_MAX: u32 = 5;

/// The wait between a first and a second probe of whether new connections are faster; it doubles up to
/// [`PROBE_WAIT_MAX`] as long as they are not.
pub const PROBE_WAIT: Duration = Duration::from_secs(10);

/// The longest wait between two such probes.
pub const PROBE_WAIT_MAX: Duration = Duration::from_secs(600);

/// Bytes of a journal that are read. A file of 1 TB has 131,072 pieces at some 50 bytes, and less than as much again
/// is appended before it is written anew.
pub const JOURNAL_BYTES_MAX: u64 = 32 << 20;

/// Lines that are appended to a journal before it is written anew, beyond one for each piece.
pub const JOURNAL_LINES_SPARE: usize = 10_000;

/// How long to wait for another process that pulls the same file, between two looks.
pub const LOCK_WAIT: Duration = Duration::from_millis(250);

/// Bytes of what a lock says of a file that was taken into the library: a digest and a length.
pub const LOCK_BYTES_MAX: u64 = 128;

/// How long files of a pull that was given up may still be held by its own threads, which end what they write or hash.
pub const FORGET_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked whether they are.
pub const FORGET_INTERVAL: Duration = Duration::from_millis(20);

/// What stays free on the disk beside a pulled file, for manifests and the journal.
pub const DISK_SPARE_BYTES: u64 = 32 << 20;

/// After how much more of a file whose length nobody says the disk is asked whether there is room for as much again.
pub const ROOM_BYTES: u64 = 64 << 20;

/// How far a hash goes between two times that it says so.
pub const HASH_TOLD_BYTES: u64 = 32 << 20;

/// How often a pull begins anew because files of the store vanished while it went on. Who removes a model that
/// shares files with the one that comes makes it happen once.
pub const PULL_ROUNDS_MAX: u32 = 3;

/// Addresses that are asked at once for the first bytes.
pub const RACERS_MAX: usize = 3;

/// After how long without complaint a server that was asked too much gets one connection more.
pub const NARROW_WAIT: Duration = Duration::from_secs(60);

/// A transfer with so great a part of the bandwidth limit is one that the limit holds down: others may have the rest.
pub const LIMITED_SHARE: u64 = 4;
