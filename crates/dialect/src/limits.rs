//! Every bound on what a client may say, with its reason. Whatever is over one is refused with a
//! sentence that names the field and the bound.

/// Nesting of a request body. Tool schemas are the deepest honest content and stay far below; the
/// frame to the worker allows a few levels more for its envelope.
pub const JSON_DEPTH_MAX: usize = 64;

/// Bytes of all earlier items that one request of responses refers to: as much as a body may say itself.
pub const REFERRED_BYTES_MAX: usize = 32 << 20;

/// Values (numbers, strings, lists, …) in a request body. A parsed value takes tens of bytes where
/// its text may take two, so bytes alone do not bound memory. A list of one million token ids,
/// more than any context holds, fits.
pub const JSON_VALUES_MAX: usize = 2_000_000;

/// Bytes of a model's name. File systems end at 255.
pub const MODEL_NAME_BYTES_MAX: usize = 256;

/// Bytes of what names a model to pull, an address with its query among them.
pub const SOURCE_BYTES_MAX: usize = 2048;

/// Files that a model is made of, of each kind. The largest models come in some tens of parts.
pub const LAYERS_MAX: usize = 256;

/// Licences of a model. Those of Ollama's library have one or two.
pub const LICENSES_MAX: usize = 64;

/// Parameters of a model. Ollama knows some thirty.
pub const PARAMETERS_MAX: usize = 128;

/// Messages in a conversation. The longest agent sessions have some hundreds; a chat template is
/// run over all of them for each request.
pub const MESSAGES_MAX: usize = 4096;

/// Pictures and sounds in one request. An agent that looks at a screen sends every earlier look again;
/// each takes some hundreds of tokens, so that more would fit few contexts.
pub const MEDIA_MAX: usize = 128;

/// Bytes of a picture or a sound. OpenAI's own bound for a picture; the body bounds all of them together.
pub const MEDIA_BYTES_MAX: usize = 20 << 20;

/// Pixels of a picture, whoever reads it: a file of some kilobytes may have billions.
pub const PICTURE_PIXELS_MAX: u64 = worker_protocol::limits::PICTURE_PIXELS_MAX;

/// Pixels along a side of a picture, whoever reads it.
pub const PICTURE_SIDE_PIXELS_MAX: u64 = worker_protocol::limits::PICTURE_SIDE_PIXELS_MAX;

/// How many times as long as the other a side of a picture may be, whoever reads it.
pub const PICTURE_RATIO_MAX: u64 = worker_protocol::limits::PICTURE_RATIO_MAX;

/// Seconds of a sound, whoever reads it: a file of some kilobytes may last for years.
pub const SOUND_SECONDS_MAX: u64 = worker_protocol::limits::SOUND_SECONDS_MAX;

/// Tools offered in one request. OpenAI allows 128; agents that speak to many tool servers send some
/// hundreds, and a chat template is run over all of them.
pub const TOOLS_MAX: usize = 1024;

/// Things that may be asked for beside an answer (`include`). OpenAI knows some ten.
pub const INCLUDES_MAX: usize = 64;

/// Items on one page of an answer's input. OpenAI's own bound.
pub const INPUT_ITEMS_MAX: usize = 100;

/// Bytes of the name of a namespace of tools. OpenAI's own bound; it stands before the name of each tool.
pub const NAMESPACE_BYTES_MAX: usize = 64;

/// Bytes of the name of a tool that was called, to be told with its result too. Names that tools may have are
/// shorter; a model may have called anything, and what a request repeats must not grow with it.
pub const CALLED_BYTES_MAX: usize = NAMESPACE_BYTES_MAX + 2 + SHORT_VALUE_BYTES_MAX;

/// Documents offered in one request. More would not fit any context.
pub const DOCUMENTS_MAX: usize = 1024;

/// Parts of other files beside a text to be filled in. Plugins send some tens; what does not fit the
/// context is left out.
pub const SNIPPETS_MAX: usize = 1024;

/// Fields of llama-server's answers that may be named. There are some twenty.
pub const RESPONSE_FIELDS_MAX: usize = 64;

/// Choices (`n`) per prompt. Each is a sequence of its own on the worker.
pub const CHOICES_PER_PROMPT_MAX: u32 = 16;

/// Choices of all prompts of one request together. They are all sent to the worker at once.
pub const CHOICES_MAX: usize = 128;

/// Bytes of body times choices: each choice is sent to the worker with its own copy of the prompt.
pub const CHOICES_BYTES_MAX: usize = 64 << 20;

/// Stop strings. OpenAI allows 4, which is too few for what role-play clients send.
pub const STOP_STRINGS_MAX: usize = 16;

/// Bytes of one stop string. As much text as that may be held back from the reader while it could
/// still become the stop string.
pub const STOP_BYTES_MAX: usize = 1024;

/// Entries of `logit_bias`. They are applied at every token.
pub const LOGIT_BIAS_MAX: usize = 1024;

/// Alternatives reported per token. OpenAI's own bound for chat.
pub const LOGPROBS_MAX: u32 = 20;

/// Sequence breakers of the DRY sampler. llama.cpp's default has 4.
pub const DRY_BREAKERS_MAX: usize = 64;

/// Bytes of one sequence breaker. llama.cpp cuts them at 40 characters.
pub const DRY_BREAKER_BYTES_MAX: usize = 160;

/// Texts in one request for embeddings. OpenAI's own bound.
pub const EMBED_INPUTS_MAX: usize = 2048;

/// Documents in one request to rank. Cohere advises against more than 1,000; each is computed with the
/// query.
pub const RANK_DOCUMENTS_MAX: usize = 2048;

/// Bytes of a query that documents are ranked by. It is read again with each of them; few models read
/// more than 32 KiB.
pub const RANK_QUERY_BYTES_MAX: usize = 64 << 10;

/// Largest vector width that `dimensions` may name. Wider models than this do not exist.
pub const DIMENSIONS_MAX: u32 = 65_536;

/// Tokens that a raw completion generates when its request does not say. OpenAI's documented
/// default for that route; chat goes on until the model stops.
pub const COMPLETION_TOKENS_DEFAULT: u32 = 16;

/// Bytes of a text to read out. OpenAI stops at 4096 characters; a local voice may read a chapter,
/// and its time is bounded besides.
pub const SPEECH_BYTES_MAX: usize = 256 << 10;

/// Slowest speed of speech that may be asked for. OpenAI's own bound.
pub const SPEECH_SPEED_MIN: f64 = 0.25;

/// Fastest speed of speech that may be asked for. OpenAI's own bound.
pub const SPEECH_SPEED_MAX: f64 = 4.0;

/// Bytes of a name or a word in a request: a voice, a language, a form of sound.
pub const SHORT_VALUE_BYTES_MAX: usize = 256;

/// Bytes of the words that help to understand speech. Whisper looks at 224 tokens of them.
pub const LISTEN_PROMPT_BYTES_MAX: usize = 16 << 10;

/// Bytes of a prompt for a picture. OpenAI allows 32,000 characters; on Linux an argument of a
/// program, which a prompt becomes, may have 128 KiB.
pub const IMAGE_PROMPT_BYTES_MAX: usize = 96 << 10;

/// Pictures in one request. OpenAI's own bound.
pub const IMAGES_MAX: u32 = 10;

/// Pixels of a side of a picture. Larger ones take more memory than their models.
pub const IMAGE_SIDE_PIXELS_MAX: u32 = 4096;

/// Characters of what a server says about a failure that are shown. Enough for its sentence; a page
/// of HTML from some proxy is cut.
pub const UPSTREAM_MESSAGE_CHARS_MAX: usize = 500;

/// Bytes of one event in a server's stream. A chunk is a few hundred, with logprobs some thousands;
/// a tool call that writes a whole file in one piece may be a megabyte.
pub const UPSTREAM_EVENT_BYTES_MAX: usize = 4 << 20;

/// Tool calls in one answer of a server. As many as tools may be offered, and each is remembered.
pub const UPSTREAM_TOOL_CALLS_MAX: usize = 128;

/// Characters of a file's name that are passed on to a server, its ending first of all.
pub const FILE_NAME_CHARS_MAX: usize = 64;

/// Collections of files that one request may name; a person has some tens.
pub const KNOWLEDGE_MAX: usize = 64;

/// Passages that one search of a vector store gives. OpenAI's own bound.
pub const FOUND_MAX: u32 = 50;

/// Queries of one search of a vector store. Each is a search of its own; whoever rewrites a question makes some five.
pub const SEARCHES_MAX: usize = 16;

/// Bytes of a query of a vector store: the window of no embedding model holds more.
pub const SEARCH_BYTES_MAX: usize = 32 << 10;

/// Filters in a list of them, and values that one of them allows.
pub const FILTERS_MAX: usize = 64;

/// Seconds between 1970 and the moment that a filter names, before or after: the year 9999.
pub const MOMENT_S_MAX: i64 = 253_402_300_799;

/// Vector stores on one page. OpenAI's own bound.
pub const STORES_PAGE_MAX: usize = 100;
