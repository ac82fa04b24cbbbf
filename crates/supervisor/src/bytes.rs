//! Sizes as people read them.

const UNITS: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

/// A size with three significant digits, and exact below a kilobyte.
pub(crate) fn readable(bytes: u64) -> String {
    let Some((unit, size)) = UNITS.into_iter().find(|(_, size)| bytes >= *size) else {
        return format!("{bytes} bytes");
    };
    let whole = bytes / size;
    let thousandths = (bytes % size) * 1_000 / size;
    match whole {
        0..10 => format!("{whole}.{:02} {unit}", thousandths / 10),
        10..100 => format!("{whole}.{} {unit}", thousandths / 100),
        100.. => format!("{whole} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn three_digits_and_a_unit() {
        assert_eq!(readable(999), "999 bytes");
        assert_eq!(readable(1_000), "1.00 kB");
        assert_eq!(readable(7_912_345_678), "7.91 GB");
        assert_eq!(readable(48_000_000_000), "48.0 GB");
        assert_eq!(readable(512_000_000), "512 MB");
    }
}
