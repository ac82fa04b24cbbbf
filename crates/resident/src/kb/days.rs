//! Days, as a person writes them.

use jiff::{civil::Date, tz::TimeZone};

/// When a day such as `2026-11-30` begins here, in seconds since 1970.
///
/// # Errors
/// It is none.
pub(super) fn begin(day: &str) -> Result<i64, String> {
    let refused = |_| format!("'{day}' is no day; write it as 2026-11-30");
    let date = Date::strptime("%Y-%m-%d", day).map_err(refused)?;
    let begin = date.to_zoned(TimeZone::system()).map_err(refused)?;
    Ok(begin.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_one_after_the_other() {
        let one = begin("2026-03-01").unwrap();
        assert_eq!(begin("2026-03-02").unwrap() - one, 86_400);
        let offset = one - 1_772_323_200;
        assert!(
            offset.abs() <= 14 * 3600 && offset % 900 == 0,
            "{offset} s from that day's begin in UTC"
        );
        for wrong in ["", "yesterday", "2026-02-30", "30.11.2026", "2026-11-30T18:00"] {
            assert!(begin(wrong).unwrap_err().contains("2026-11-30"), "{wrong}");
        }
    }
}
