//! Linux: the processor's name. Graphics cards are left out, because the worker computes on the
//! processor here unless it was built otherwise; `--machine` plans for a card.

use super::Hardware;

pub(super) fn hardware() -> Hardware {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Hardware { chip: chip(&text), ..Hardware::default() }
}

/// The first processor's name. Processors of the Arm family give none there.
fn chip(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let name = line.split_once(':')?.1.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_counts() {
        let text = "processor\t: 0\nmodel name\t: AMD Ryzen 7 7840U\nmodel name\t: other\n";
        assert_eq!(chip(text).as_deref(), Some("AMD Ryzen 7 7840U"));
        assert_eq!(chip("processor\t: 0\n"), None);
        assert_eq!(chip("model name\t: \n"), None);
    }
}
