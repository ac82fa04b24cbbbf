//! Spans of time as people write and read them: `90s`, `10m`, `1h`, `never`.

use std::time::Duration;

use crate::limits::SPAN_SECONDS_MAX;

/// Why a text is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a span of time; write for example 90s, 10m, 1h or never")]
pub(crate) struct Error {
    text: String,
}

/// The span that `text` says; `None` is "never".
///
/// # Errors
/// [`Error`] when it is neither a whole number with a unit nor `never`.
pub(crate) fn parse(text: &str) -> Result<Option<Duration>, Error> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("never") {
        return Ok(None);
    }
    let wrong = || Error { text: text.to_owned() };
    let unit_start = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_start);
    let unit_s: u64 = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_s));
    match seconds {
        Some(seconds) if seconds <= SPAN_SECONDS_MAX => Ok(Some(Duration::from_secs(seconds))),
        Some(_) | None => Err(wrong()),
    }
}

/// A span to read: its two largest units, `1h 5m`.
pub(crate) fn format(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if hours > 0 {
        format!("{hours}h {}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_people_write() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("10 min", 600), ("1h", 3600), ("0s", 0)]
        {
            assert_eq!(parse(text), Ok(Some(Duration::from_secs(seconds))), "{text}");
        }
        assert_eq!(parse("never"), Ok(None));
    }

    #[test]
    fn what_is_not_a_span_is_refused_by_name() {
        for text in
            ["", "10", "m", "-5m", "1.5h", "10 parsecs", "99999999999999999999s", "9999999h"]
        {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("'{text}' is not a span")), "{message}");
        }
    }

    #[test]
    fn spans_people_read() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3900, "1h 5m")] {
            assert_eq!(format(Duration::from_secs(seconds)), text);
        }
    }
}
