//! What comes by standard input.

use std::io::Read;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway::NewText;

use crate::limits::TEXT_BYTES_MAX;

/// Reads it to its end.
///
/// # Errors
/// It cannot be read, or is too long.
pub(super) fn read(name: &str, input: impl Read) -> anyhow::Result<NewText> {
    let mut bytes = Vec::new();
    let most = TEXT_BYTES_MAX as u64;
    input.take(most + 1).read_to_end(&mut bytes).context("cannot read standard input")?;
    if bytes.len() > TEXT_BYTES_MAX {
        bail!(
            "standard input has more than {} MiB; write it into a file, and add that",
            TEXT_BYTES_MAX >> 20
        );
    }
    // A control character takes six bytes in JSON.
    let is_rare = |byte: &u8| byte.is_ascii_control() && !b"\t\n\r".contains(byte);
    let (text, base64) = match String::from_utf8(bytes) {
        Ok(text) if !text.as_bytes().iter().any(is_rare) => (Some(text), None),
        Ok(other) => (None, Some(STANDARD.encode(other))),
        Err(other) => (None, Some(STANDARD.encode(other.as_bytes()))),
    };
    Ok(NewText { name: name.to_owned(), text, base64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_everything_else_is_base64() {
        let text = read("a.md", &b"Words."[..]).unwrap();
        assert_eq!((text.text.as_deref(), text.base64), (Some("Words."), None));
        let bytes = read("a.pdf", &[0, 255][..]).unwrap();
        assert_eq!((bytes.text, bytes.base64.as_deref()), (None, Some("AP8=")));
        assert!(read("a.txt", &b"U\0T\0F"[..]).unwrap().base64.is_some());
        let refused = read("a.md", std::io::repeat(b'x')).unwrap_err().to_string();
        assert!(refused.contains("more than 20 MiB"), "{refused}");
    }
}
