//! Every bound of the engine, with its reason.

use std::time::Duration;

/// What the hub books for kept prefixes is what the store takes.
const _: () = {
    assert!(kv_store::BLOCK_TOKENS as u64 == worker_protocol::limits::KEPT_BLOCK_TOKENS);
    assert!(kv_store::limits::SEGMENTS_MAX as u64 == worker_protocol::limits::KEPT_SEGMENTS_MAX);
    assert!(kv_store::limits::READ_AHEAD_BYTES == worker_protocol::limits::KEPT_READ_AHEAD_BYTES);
};

/// Requests of one worker at a time, waiting and running. The hub grants fewer; this is the second
/// lock on the same door.
pub const REQUESTS_MAX: usize = 1024;

/// Counters are reported at most this often while work goes on.
pub const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a rendered chat template. The gateway accepts bodies of at most 32 MiB; a template that
/// grows its input more than this is a bomb.
pub const RENDERED_BYTES_MAX: usize = 64 << 20;

/// Instructions a chat template may execute. Long conversations take some hundred thousand; an
/// endless loop in a hostile template ends here in well under a second.
pub const TEMPLATE_FUEL: u64 = 20_000_000;

/// Longest stop string that is searched for, in bytes; text up to this long is held back.
pub const STOP_BYTES_MAX: usize = 4096;

/// Stop strings of one request.
pub const STOPS_MAX: usize = 64;

/// Bytes at the beginning of a tool call in which its name must stand, so that its arguments can be passed on
/// as they come; what comes before them is read again with each token.
pub const CALL_HEAD_BYTES_MAX: usize = 1024;

/// Brackets in brackets in the arguments of a tool call: as many as `serde_json` reads.
pub const CALL_DEPTH_MAX: usize = 127;

/// Bytes of the words with which a model says what it is about to write: a channel, a recipient. Longer ones
/// are text.
pub const HEADER_BYTES_MAX: usize = 256;

/// Alternatives reported per token.
pub const LOGPROBS_MAX: u8 = 20;

/// Weight of the newest measurement in the estimate of the prefill speed.
pub const SPEED_WEIGHT: f32 = 0.3;

/// A step with fewer prompt tokens than this says nothing about the prefill speed.
pub const SPEED_TOKENS_MIN: u32 = 16;

/// Time between two steps that prefixes which come back may take: no longer than a prompt may hold up
/// those who stream.
pub const RESTORE_TURN: Duration = Duration::from_millis(100);

/// Weight of the newest measurement in the estimate of how fast prefixes come back.
pub const RESTORE_WEIGHT: f32 = 0.3;

/// A part of a block that is read by itself has a multiple of so many tokens, so that there are few sizes;
/// the first block of a worker, of whose cells nothing is known yet, has parts of so many.
pub const SEGMENT_TOKENS_STEP: u32 = 16;

/// A block of such parts can be kept as it is cut.
const _: () = assert!(
    kv_store::BLOCK_TOKENS <= kv_store::limits::SEGMENTS_MAX * SEGMENT_TOKENS_STEP as usize
);

/// How long a restore waits for its next part while others stream: a part takes less from most disks, and
/// waiting for the next step costs more.
pub const RESTORE_PART_WAIT: Duration = Duration::from_millis(5);

/// Share of the time that saving may take beside work: half of the 2 % that the cache may cost when
/// nothing of it is used again.
pub const SAVE_SHARE: f32 = 0.01;

/// What is about to be lost is saved when that takes at most this share of the time that computing it
/// took: together with [`SAVE_SHARE`] the cache costs at most 2 % when nothing of it is used again.
pub const RESCUE_SHARE: f32 = 0.01;

/// A look whether there is room again, while nobody asks for anything: short, since a request may come.
pub const FLUSH_LOOK: Duration = Duration::from_millis(20);

/// A look whether the tiers are there by now, while nobody asks for anything: hashing a model for the first
/// time takes seconds.
pub const TIERS_LOOK: Duration = Duration::from_millis(100);

/// From the end of the hub's words until the process leaves: what is worth keeping is written by then.
/// The hub kills a worker that takes longer to leave.
pub const LEAVE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Requests at a time whose answers are constrained, waiting and running; those beyond are refused. Each holds
/// its compiled grammar and what the lexer has seen of it, which for hostile grammars is 20 MB
/// ([`LEXER_STATES_MAX`]), so that all together stay below 640 MB; usual ones take some hundred kilobytes.
pub const CONSTRAINED_MAX: usize = 32;

/// Compiled grammars that are kept for the next request that wants the same. Some tens of agents with tools
/// of their own share a model; each takes as much as its schema, at most a few megabytes.
pub const COMPILED_KEPT_MAX: usize = 16;

/// Tools whose schemas were found not to be enforceable that are remembered, so that none is tried again with
/// each request of another conversation: some for each of some tens of agents, of 32 bytes each.
pub(crate) const HARD_TOOLS_KEPT_MAX: usize = 256;

/// Tools that are compiled one by one to find those that cannot be enforced. Each takes a thread and a grammar of
/// its own, and streams wait for all of them. Vendors allow 128 tools; of any beyond only names and kinds of
/// parameters are enforced then.
pub(crate) const TRIED_ALONE_MAX: usize = 128;

/// Bytes of the grammar of calls. Schemas of [`SCHEMA_BYTES_MAX`] come to three times that where each of some
/// thousand parameters is written by itself, and to any number of times where each comes with the definitions
/// that it refers to; compiling takes five times the bytes.
pub(crate) const CALLS_BYTES_MAX: usize = 4 << 20;

/// Bytes of a JSON Schema, written without blanks. Schemas of large programming interfaces have some
/// ten thousand.
pub const SCHEMA_BYTES_MAX: usize = 256 << 10;

/// Nesting of a JSON Schema. A property in a property is two levels deeper; written by hand or by a
/// library that knows `$defs`, few have twenty.
pub const SCHEMA_DEPTH_MAX: usize = 48;

/// Values in a JSON Schema: keywords, names, entries of `enum`. Each becomes a part of the grammar.
pub const SCHEMA_VALUES_MAX: usize = 20_000;

/// Bytes of a regular expression in a schema. The longest in use, for dates and addresses, have some
/// hundreds.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Nesting of groups in a regular expression.
pub const PATTERN_DEPTH_MAX: usize = 32;

/// Properties of one object, and alternatives of one `anyOf` or `oneOf`, in a schema. What it takes to
/// compile optional ones grows with their square: a thousand take a quarter of a second.
pub const ALTERNATIVES_MAX: usize = 1000;

/// The least common multiple of all `multipleOf` in a schema, in units of the last decimal of any: an
/// automaton with so many states counts remainders. 20,000 take a fifth of a second, ten million take
/// minutes and gigabytes.
pub const MULTIPLE_MAX: u64 = 20_000;

/// Bytes of a grammar in Lark. Those of programming languages have some ten thousand.
pub const LARK_BYTES_MAX: usize = 64 << 10;

/// Nesting of brackets in a grammar in Lark, in rules and in regular expressions. Its parser descends
/// into each.
pub const LARK_DEPTH_MAX: usize = 64;

/// Stack of the thread that compiles a grammar. The compiler descends along chains of `$ref`, which may
/// be as long as [`SCHEMA_VALUES_MAX`] allows, and takes some kilobytes for each; what is not used is
/// not in memory.
pub const COMPILE_STACK_BYTES: usize = 256 << 20;

/// What the lexer may spend on a grammar before its first token, in llguidance's units of 20 ns.
pub const COMPILE_FUEL: u64 = 1_000_000;

/// What the lexer may spend on one token, in llguidance's units of 70 ns.
pub const STEP_FUEL: u64 = 200_000;

/// Items of the parser for one token, of 50 ns each.
pub const STEP_ITEMS_MAX: usize = 50_000;

/// Items of the parser at one place of the text: several for each alternative there.
pub const ROW_ITEMS_MAX: usize = 10_000;

/// Symbols of a compiled grammar, of some ten bytes each. A schema of [`SCHEMA_BYTES_MAX`] stays below.
pub const GRAMMAR_SYMBOLS_MAX: usize = 200_000;

/// States of the lexer of one request, of one to two kilobytes each: 20 MB at most. Schemas in use see
/// some hundreds.
pub const LEXER_STATES_MAX: usize = 10_000;

/// White space between two parts of constrained JSON, in characters: a new line and its indentation. A
/// model without another idea would go on for ever.
pub const JSON_SPACE_MAX: usize = 64;

/// Tokens of white space between the end of reasoning and a constrained answer: models were trained on
/// one or two, and the grammar begins with none.
pub const LEADING_BLANKS_MAX: u8 = 2;

/// Bytes of a token that a constraint can choose. Vocabularies hold lines of hundreds of blanks; the
/// tree that the tokens become is at most 1024 deep.
pub const CONSTRAINED_TOKEN_BYTES_MAX: usize = 512;

/// Characters of llguidance's reason that are shown: its first sentence, and not its state.
pub const REASON_CHARS_MAX: usize = 300;

/// Values that a schema may come to where its parts meet, all such places together, and those of all tools
/// that may be called: of some 250 bytes each while it is compiled.
pub(crate) const EXPANDED_VALUES_MAX: u64 = 200_000;

/// References that are followed from one to the next where parts meet. Honest schemas have a few.
pub(crate) const REFERENCES_DEPTH_MAX: usize = 24;

/// Pairs of patterns of `patternProperties`, all objects of a schema together: each is compared with each
/// other, which takes about a millisecond.
pub(crate) const PATTERN_PAIRS_MAX: usize = 1_024;

/// Tokens that a filling is left room for where its request does not say how long it may be. Editors ask
/// for some lines.
pub(crate) const INFILL_ANSWER_TOKENS: u32 = 256;

/// Pictures and sounds of one conversation. Each takes some hundred tokens of the context.
pub(crate) const MEDIA_FILES_MAX: usize = 256;

/// Bytes of what is known of the layouts of files that were seen lately: of some thousand.
pub(crate) const MEDIA_LAYOUTS_BYTES_MAX: usize = 1 << 20;

/// Of a context, what a conversation that is shortened to fit leaves to its answer: a quarter, or less where the
/// answer may be no longer. Without it the answer would be cut at once.
pub const SHORTENED_ROOM_SHARE: u32 = 4;

/// Sets of scales of a model's adapters whose place among kept prefixes is remembered, beside the model's own.
/// Each has the hashes of one prompt; another set is as good as new, which costs hashing its prompt.
pub(crate) const BRANCHES_MAX: usize = 8;
