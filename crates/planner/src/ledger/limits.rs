//! Every bound of the ledger, with its reason.

/// Models whose real size is remembered; the one that was measured longest ago is forgotten first. A
/// person has fewer, so this only stops a client that keeps changing a file.
pub const LEARNED_MODELS_MAX: usize = 256;
