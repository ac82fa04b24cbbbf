//! Sizes as people read them, in the units that the command line shows too.

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A size with one digit after the point, and exact below a kibibyte.
pub(crate) fn readable(bytes: u64) -> String {
    let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| bytes >= 1 << shift) else {
        return format!("{bytes} bytes");
    };
    let whole = bytes >> shift;
    let tenths = ((bytes - (whole << shift)) * 10) >> shift;
    format!("{whole}.{tenths} {unit}")
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn one_digit_and_a_unit() {
        assert_eq!(readable(1_023), "1023 bytes");
        assert_eq!(readable(1 << 10), "1.0 KiB");
        assert_eq!(readable(7_912_345_678), "7.3 GiB");
        assert_eq!(readable(512 << 20), "512.0 MiB");
        assert_eq!(readable(u64::MAX), "16777215.9 TiB");
    }
}
