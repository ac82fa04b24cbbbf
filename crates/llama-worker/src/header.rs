//! Reads the header of a model's file before llama.cpp does, for what must be known beside loading.
//!
//! Not here: what it says (`planner::gguf`), headers of models that are not loaded (`supervisor`).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use planner::gguf::{self, HEADER_BYTES_MAX, Header};

use crate::limits::HEADER_BYTES_FIRST;

/// The header of this file; of a split model, that of its first part. `None` where it cannot be read:
/// loading will say why.
pub(crate) fn read(path: &Path) -> Option<Header> {
    let mut file = File::open(path).ok()?;
    let file_bytes = file.metadata().ok()?.len();
    let mut prefix = Vec::new();
    let mut wanted_bytes = HEADER_BYTES_FIRST;
    loop {
        let had_bytes = prefix.len() as u64;
        let more_bytes = wanted_bytes.saturating_sub(had_bytes);
        (&mut file).take(more_bytes).read_to_end(&mut prefix).ok()?;
        let needed_bytes = match gguf::parse(&prefix, file_bytes) {
            Ok(header) => return Some(header),
            Err(gguf::Error::Incomplete { needed_bytes }) => needed_bytes,
            Err(_) => return None,
        };
        let has_grown = prefix.len() as u64 > had_bytes;
        if !has_grown || had_bytes >= HEADER_BYTES_MAX {
            return None;
        }
        wanted_bytes = needed_bytes.max(wanted_bytes * 2).min(HEADER_BYTES_MAX);
    }
}
