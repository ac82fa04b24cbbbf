//! Sizes in bytes as people write and read them: `12GB`, `1.5GiB`, plain bytes.
//!
//! Decimal units are powers of 1,000 and binary units powers of 1,024, as the standards say. A bare
//! `G` is refused, because half of the programs that accept it mean the one and half the other.

/// A size to read. Plans mix sentences of the planner's with figures of ours, so that both must
/// round alike.
pub(crate) use planner::machine::text as format;

use crate::limits::FRACTION_DIGITS_MAX;

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// There is no number at the front.
    #[error("'{text}' does not start with a number; write for example 12GB, 1.5GiB or 8589934592")]
    NoNumber {
        /// What was written.
        text: String,
    },
    /// The unit is not known.
    #[error("'{unit}' is not a unit; use B, kB, MB, GB, TB or KiB, MiB, GiB, TiB")]
    UnknownUnit {
        /// What was written after the number.
        unit: String,
    },
    /// A unit that means two things.
    #[error("'{unit}' could mean {unit}B (powers of 1000) or {unit}iB (powers of 1024); write one")]
    AmbiguousUnit {
        /// The letter.
        unit: char,
    },
    /// A fraction of a byte.
    #[error("'{text}' is a fraction without a unit; write for example 1.5GiB")]
    Fraction {
        /// What was written.
        text: String,
    },
    /// More than 64 bits.
    #[error("'{text}' is more bytes than a computer can address")]
    TooLarge {
        /// What was written.
        text: String,
    },
}

/// Bytes that `text` says, rounded down.
///
/// # Errors
/// [`Error`], each of which names what was written and what would be accepted.
pub(crate) fn parse(text: &str) -> Result<u64, Error> {
    let text = text.trim();
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || fraction.is_some_and(|fraction| !is_digits(fraction)) {
        return Err(Error::NoNumber { text: text.to_owned() });
    }
    let unit_bytes = unit_bytes(unit.trim())?;
    if fraction.is_some() && unit_bytes == 1 {
        return Err(Error::Fraction { text: text.to_owned() });
    }
    whole_and_fraction(whole, fraction.unwrap_or(""), unit_bytes)
        .ok_or_else(|| Error::TooLarge { text: text.to_owned() })
}

fn unit_bytes(unit: &str) -> Result<u64, Error> {
    let bytes = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "k" | "m" | "g" | "t" => {
            let letter = unit.chars().next().map_or('?', |c| c.to_ascii_uppercase());
            return Err(Error::AmbiguousUnit { unit: letter });
        }
        _ => return Err(Error::UnknownUnit { unit: unit.to_owned() }),
    };
    Ok(bytes)
}

/// `whole.fraction * unit_bytes`, exact and rounded down; `None` above 64 bits.
fn whole_and_fraction(whole: &str, fraction: &str, unit_bytes: u64) -> Option<u64> {
    let whole_bytes = whole.parse::<u64>().ok()?.checked_mul(unit_bytes)?;
    let digits = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let fraction_bytes = match digits.parse::<u64>() {
        Ok(digits_value) => {
            let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
            u64::try_from(u128::from(digits_value) * u128::from(unit_bytes) / scale).ok()?
        }
        Err(_) => 0,
    };
    whole_bytes.checked_add(fraction_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("8589934592", 8_589_934_592),
            ("12GB", 12_000_000_000),
            ("12 gb", 12_000_000_000),
            ("1.5GiB", 1_610_612_736),
            ("1.5gib", 1_610_612_736),
            ("0.1KiB", 102),
            ("512MiB", 536_870_912),
            ("2TB", 2_000_000_000_000),
            ("1.0000000000000000001kB", 1000),
            ("  7B ", 7),
            ("18446744073709551615", u64::MAX),
            ("0.999999999999999999TiB", 1_099_511_627_775),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_says_why() {
        for (text, message) in [
            ("", "'' does not start with a number; write for example 12GB, 1.5GiB or 8589934592"),
            (
                "-1GB",
                "'-1GB' does not start with a number; write for example 12GB, 1.5GiB or 8589934592",
            ),
            (
                "lots",
                "'lots' does not start with a number; write for example 12GB, 1.5GiB or 8589934592",
            ),
            (
                "1.2.3GB",
                "'1.2.3GB' does not start with a number; write for example 12GB, 1.5GiB or 8589934592",
            ),
            (
                ".5GB",
                "'.5GB' does not start with a number; write for example 12GB, 1.5GiB or 8589934592",
            ),
            ("12parsecs", "'parsecs' is not a unit; use B, kB, MB, GB, TB or KiB, MiB, GiB, TiB"),
            ("1e9", "'e9' is not a unit; use B, kB, MB, GB, TB or KiB, MiB, GiB, TiB"),
            ("12g", "'G' could mean GB (powers of 1000) or GiB (powers of 1024); write one"),
            ("1.5", "'1.5' is a fraction without a unit; write for example 1.5GiB"),
            (
                "18446744073709551616",
                "'18446744073709551616' is more bytes than a computer can address",
            ),
            ("99999999999TiB", "'99999999999TiB' is more bytes than a computer can address"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn sizes_people_read() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_063, "1023.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_048_576, "1.0 MiB"),
            (6_442_450_944, "6.0 GiB"),
            (6_388_763_852, "5.9 GiB"),
            (6_388_763_853, "6.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(format(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_an_error(text: String) {
            let _size = parse(&text);
        }

        #[test]
        fn plain_bytes_come_back(bytes: u64) {
            prop_assert_eq!(parse(&bytes.to_string()), Ok(bytes));
        }
    }
}
