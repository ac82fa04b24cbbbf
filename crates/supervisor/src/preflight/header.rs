//! Reads the header of a GGUF file, all parts of a split one, and says what it needs in memory.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use planner::{
    footprint::{self, Layout},
    gguf::{self, Header},
};

use worker_protocol::limits::INTERNAL_SEQUENCES;

use crate::{
    limits::{HEADER_BYTES_FIRST, HEADER_BYTES_MAX, STEP_TOKENS_MAX},
    model::Need,
};

/// Reads the header of a model's file, and of all further files of a split one.
///
/// # Errors
/// A message that names the file, the problem and the way out.
pub fn read_header(path: &Path) -> Result<Header, String> {
    let mut header = read_one(path)?;
    if let Some(count) = header.split_files() {
        // A hostile count ends at the first part that does not exist.
        for number in 2..=count {
            header.tensors.append(&mut read_one(&part(path, number, count)?)?.tensors);
        }
    }
    Ok(header)
}

/// What the model needs in memory when it is loaded.
pub(super) fn needs(header: &Header, context_tokens: u32, sequences_max: u32) -> Vec<Need> {
    let sequences_max = sequences_max.saturating_add(INTERNAL_SEQUENCES);
    let layout = Layout { context_tokens, sequences_max, step_tokens_max: STEP_TOKENS_MAX };
    let items = footprint::predict(header, &layout).items.into_iter();
    items
        .map(|item| Need { what: item.what.to_owned(), bytes: item.bytes, why: item.why })
        .collect()
}

/// Reads more and more of the file until the header is whole.
fn read_one(path: &Path) -> Result<Header, String> {
    let shown = path.display();
    let unreadable = |error: io::Error| {
        let way_out = if error.kind() == io::ErrorKind::NotFound {
            "put the file back, or remove the model"
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "change its permissions"
        } else {
            "check the disk it is on"
        };
        format!("{shown} cannot be read: {error}; {way_out}")
    };
    // Before it is opened: to open a named pipe is to wait for whoever writes to it.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file; name the model's GGUF file"));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut prefix = Vec::new();
    let mut wanted_bytes = HEADER_BYTES_FIRST;
    loop {
        let more = u64::try_from(wanted_bytes.saturating_sub(prefix.len())).unwrap_or(u64::MAX);
        let had_bytes = prefix.len();
        (&mut file).take(more).read_to_end(&mut prefix).map_err(unreadable)?;
        let needed_bytes = match gguf::parse(&prefix, metadata.len()) {
            Ok(header) => return Ok(header),
            Err(gguf::Error::Incomplete { needed_bytes }) => needed_bytes,
            Err(error) => return Err(format!("{shown}: {error}")),
        };
        if prefix.len() == had_bytes {
            return Err(format!("{shown} ends inside its header; download it again"));
        }
        let needed_bytes = usize::try_from(needed_bytes).unwrap_or(usize::MAX);
        if needed_bytes > HEADER_BYTES_MAX || prefix.len() >= HEADER_BYTES_MAX {
            return Err(format!(
                "{shown} has a header of more than {HEADER_BYTES_MAX} bytes, which no real model \
                 has; get it from another source"
            ));
        }
        wanted_bytes = needed_bytes.max(prefix.len().saturating_mul(2)).min(HEADER_BYTES_MAX);
    }
}

/// A further file of a split model, whose first is named `…-00001-of-00003.gguf`.
fn part(first: &Path, number: u64, count: u64) -> Result<PathBuf, String> {
    let name = first.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(&format!("-00001-of-{count:05}.gguf")).ok_or_else(|| {
        format!(
            "{} is one of {count} parts; serve the first, which must keep its name ending in \
             -00001-of-{count:05}.gguf, with the others beside it",
            first.display()
        )
    })?;
    Ok(first.with_file_name(format!("{stem}-{number:05}-of-{count:05}.gguf")))
}
