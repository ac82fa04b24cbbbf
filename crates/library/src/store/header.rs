//! The header of a GGUF file of this machine. Not here: what it means (`planner`).

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use planner::gguf::{self, HEADER_BYTES_MAX, Header};

use crate::{limits::FIRST_BYTES, manifest::Role};

/// Reads more and more of a file until its header is whole; else says why it is none.
pub(super) fn read(path: &Path) -> Result<Header, String> {
    let text = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = fs::metadata(path).map_err(text)?;
    // What is no file might never end.
    if !metadata.is_file() {
        return Err("is no file".to_owned());
    }
    let mut file = File::open(path).map_err(text)?;
    let (mut prefix, mut wanted_bytes) = (Vec::new(), FIRST_BYTES);
    loop {
        let had_bytes = prefix.len() as u64;
        (&mut file).take(wanted_bytes - had_bytes).read_to_end(&mut prefix).map_err(text)?;
        let needed_bytes = match gguf::parse(&prefix, metadata.len()) {
            Ok(header) => return Ok(header),
            Err(gguf::Error::Incomplete { needed_bytes }) => needed_bytes,
            Err(error) => return Err(format!("is no model that can be used: {error}")),
        };
        let read_bytes = prefix.len() as u64;
        if read_bytes == had_bytes || needed_bytes > HEADER_BYTES_MAX {
            return Err("has a header that does not end; get it from another source".to_owned());
        }
        wanted_bytes = needed_bytes.max(read_bytes * 2).min(HEADER_BYTES_MAX);
    }
}

/// What a file with this header is for.
pub(super) fn role(header: &Header) -> Role {
    if header.is_projector() {
        Role::Projector
    } else if header.str("general.type") == Some("adapter") {
        Role::Adapter
    } else {
        Role::Model
    }
}

/// The part of a model that a file is, from 0.
pub(super) fn part(header: &Header) -> u64 {
    header.u64("split.no").unwrap_or(0)
}

/// How the weights of these files are encoded; nothing when none of them says.
pub(super) fn quantization(headers: &[(Role, Header)]) -> Option<String> {
    let mut first = headers.iter().filter(|(role, _)| *role == Role::Model);
    first.find(|(_, header)| part(header) == 0).map(|(_, header)| header.quantization())
}
