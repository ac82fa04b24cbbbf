//! Bounds of the header reader, each with its reason. They hold for one parse of one file.

/// A header holds the vocabulary and the tensor table. Vocabularies of 260,000 tokens with their
/// merges make about 20 MB. What a reader holds of a hostile file stays under 64 MB together with
/// what is kept of it: this, 4 MB of text, and some 25 MB for the most tensors, keys and elements
/// that the bounds below allow.
pub const HEADER_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Real files have 20 to 80 keys. The bound keeps a hostile count from costing time and memory.
pub(super) const METADATA_KEYS_MAX: u64 = 4_096;

/// Keys, chat templates, licences and short arrays of words, all together; 200 kB in real files.
pub(super) const TEXT_KEPT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The largest models are published in some hundred parts. The bound keeps a name of a few bytes
/// from making millions of others.
pub(super) const PARTS_MAX: u64 = 1_024;

/// The largest models have a few thousand tensors, and old ones with one tensor per expert under
/// fifty thousand.
pub const TENSORS_MAX: u64 = 65_536;

/// The format says that a key has at most 65,535 bytes.
pub(super) const KEY_BYTES_MAX: u64 = 65_535;

/// llama.cpp keeps a name in 64 bytes with a closing zero.
pub(super) const TENSOR_NAME_BYTES_MAX: u64 = 63;

/// ggml's tensors have at most four dimensions.
pub(super) const TENSOR_DIMENSIONS_MAX: u32 = 4;

/// Chat templates are the longest strings the hub needs, and stay under 100 kB. Longer strings
/// (some files carry a whole tokenizer.json) are passed over and only their place is kept.
pub(super) const STRING_KEPT_BYTES_MAX: u64 = 1024 * 1024;

/// Arrays by layer are what the formulas need, and llama.cpp allows 512 layers. Longer arrays are
/// tokens, scores and merges: their place is kept, their content is not.
pub(super) const ARRAY_KEPT_ELEMENTS_MAX: u64 = 1024;

/// The longest architecture's name there is has 16 bytes. The name is part of most keys, so a long
/// one would make every look at the metadata slow.
pub(super) const ARCHITECTURE_BYTES_MAX: u64 = 64;

/// llama.cpp's own bound on layers (`LLAMA_MAX_LAYERS`); beyond it, it aborts.
pub(super) const LAYERS_MAX: u64 = 512;

/// Alignments in use are 32 and, rarely, a memory page. More would let a tiny file claim a huge
/// padded size.
pub(super) const ALIGNMENT_BYTES_MAX: u64 = 65_536;

/// A kept element takes fifty times its bytes in the file. Real files have a few thousand at most;
/// the bound keeps thousands of small arrays from adding up to gigabytes.
pub(super) const ARRAYS_KEPT_ELEMENTS_MAX: u64 = 65_536;
