//! Reads the header of a model's file, a piece at a time until it is whole.
//!
//! What the bytes mean is `planner::gguf`'s business; here they are only fetched.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::Context as _;
use planner::gguf::{self, Header};

use crate::limits::{HEADER_BYTES_FIRST, HEADER_BYTES_MAX};

/// The header of the file at `path`.
///
/// # Errors
/// When the file cannot be read or is not a model; names the file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Header> {
    let name = || path.display().to_string();
    let mut file = File::open(path).with_context(name)?;
    let file_bytes = file.metadata().with_context(name)?.len();
    let mut prefix = Vec::new();
    let mut wanted_bytes = HEADER_BYTES_FIRST;
    loop {
        let more_bytes = wanted_bytes.saturating_sub(prefix.len() as u64);
        file.by_ref().take(more_bytes).read_to_end(&mut prefix).with_context(name)?;
        match gguf::parse(&prefix, file_bytes) {
            Err(gguf::Error::Incomplete { needed_bytes })
                if wanted_bytes < HEADER_BYTES_MAX && prefix.len() as u64 >= wanted_bytes =>
            {
                let doubled_bytes = wanted_bytes.saturating_mul(2);
                wanted_bytes = needed_bytes.max(doubled_bytes).min(HEADER_BYTES_MAX);
            }
            result => return result.with_context(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_model_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        for content in [&b""[..], b"GG", b"<html>not a model</html>", &[0; 4096]] {
            std::fs::write(&path, content).unwrap();
            let message = format!("{:#}", read(&path).unwrap_err());
            assert!(message.starts_with(&path.display().to_string()), "{message}");
        }
        let missing = format!("{:#}", read(&folder.path().join("gone.gguf")).unwrap_err());
        assert!(missing.contains("gone.gguf: "), "{missing}");
    }

    #[test]
    fn a_header_longer_than_the_first_piece_is_read_whole() {
        // One string that alone is longer than the first piece.
        let text = vec![b'x'; usize::try_from(HEADER_BYTES_FIRST).unwrap() + 17];
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(3_u64.to_le_bytes());
        let pairs =
            [("general.architecture", &b"llama"[..]), ("long", &text), ("behind", &b"found"[..])];
        for (key, value) in pairs {
            bytes.extend((key.len() as u64).to_le_bytes());
            bytes.extend(key.as_bytes());
            bytes.extend(8_u32.to_le_bytes());
            bytes.extend((value.len() as u64).to_le_bytes());
            bytes.extend(value);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap().str("behind"), Some("found"));
    }
}
