//! Bounds of the reader of importance matrices, each with its reason.

/// One entry for each matrix of a model, which has no more tensors than this.
pub(super) const ENTRIES_MAX: usize = crate::gguf::TENSORS_MAX as usize;

/// A tensor's name has at most 63 bytes, for llama.cpp keeps it in 64 with a closing zero.
pub(super) const NAME_BYTES_MAX: usize = 63;
