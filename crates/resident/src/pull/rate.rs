//! How much of the line pulls may take, as people write it: `10MB`, `10MB/s`.

use crate::size;

/// Bytes a second.
///
/// # Errors
/// What was written and what would be accepted.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let bytes = text.trim();
    let bytes = bytes.strip_suffix("/s").unwrap_or(bytes);
    match size::parse(bytes) {
        Ok(0) => {
            Err(format!("'{text}' lets nothing through; write for example 10MB/s, or leave it out"))
        }
        Ok(bytes) => Ok(bytes),
        Err(size::Error::NoNumber { .. }) => {
            Err(format!("'{text}' does not start with a number; write for example 10MB/s"))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_people_write() {
        for (text, bytes) in
            [("10MB", 10_000_000), ("10MB/s", 10_000_000), (" 1.5 MiB/s ", 1_572_864), ("1", 1)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_says_why() {
        for (text, message) in [
            ("0/s", "'0/s' lets nothing through; write for example 10MB/s, or leave it out"),
            ("/s", "'/s' does not start with a number; write for example 10MB/s"),
            ("10M", "'M' could mean MB (powers of 1000) or MiB (powers of 1024); write one"),
            ("10Mbit/s", "'Mbit' is not a unit; use B, kB, MB, GB, TB or KiB, MiB, GiB, TiB"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }
}
