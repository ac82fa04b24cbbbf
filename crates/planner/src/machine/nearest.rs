//! The names that look most like a name that does not exist.

use super::limits::NEAREST_MAX;

/// The nearest of `names` to `wanted`, best first, as a list for a message.
pub(super) fn nearest(wanted: &str, names: &[String]) -> String {
    let mut ranked: Vec<(usize, usize, &String)> = names
        .iter()
        .map(|name| (beginnings_differ(wanted, name), distance(wanted, name), name))
        .collect();
    ranked.sort();
    let named: Vec<String> =
        ranked.iter().take(NEAREST_MAX).map(|(_, _, name)| format!("`{name}`")).collect();
    named.join(", ")
}

/// Zero when one begins with the other up to the memory: `m1-max` is all of `m1-max-32gb` that its
/// owner may know.
fn beginnings_differ(wanted: &str, name: &str) -> usize {
    let chip = |text: &str| match text.rsplit_once('-') {
        Some((chip, memory)) if memory.ends_with("gb") => chip.to_owned(),
        Some(_) | None => text.to_owned(),
    };
    usize::from(chip(wanted) != chip(name))
}

/// How many letters must be added, taken away, changed or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    strsim::osa_distance(one, other)
}
