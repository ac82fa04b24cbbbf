//! Every bound of what models may have of a machine, with its reason.

use super::GIB;

/// The share of RAM that the system and its programs keep when nobody says otherwise. It leaves 12
/// of 16 GiB and 48 of 64, which is what such machines have free with a browser open, and what
/// Metal's older limit for a 64 GB machine was.
pub const RESERVE_SHARE: f64 = 0.25;

/// What a discrete GPU keeps for its driver, the desktop and other programs, in bytes. llama.cpp
/// leaves the same margin on each device when it fits a model by itself (`--fit-target`, pull
/// request 16653).
pub const GPU_RESERVE_BYTES: u64 = GIB;

/// Of a small GPU memory at most one part in so many is kept, so that something is left.
pub(super) const GPU_RESERVE_PART_MAX: u64 = 4;

/// How many names an error offers: more is a list that nobody reads.
pub(super) const NEAREST_MAX: usize = 4;
