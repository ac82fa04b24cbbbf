//! How well passages are found, as one table.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(clippy::unwrap_used, reason = "a bench fails where it cannot measure")]

#[path = "../tests/it/sets.rs"]
mod sets;

use std::time::Instant;

use sets::Set;

fn main() {
    println!(
        "{:<12}{:<12}{:>8}{:>8}{:>10}{:>11}",
        "set", "by", "nDCG@10", "wanted", "index s", "query ms"
    );
    for (name, wanted) in [("scifact", 0.68), ("cmrc", 0.97), ("drcd", 0.97)] {
        let Some(set) = Set::load(name) else { continue };
        let start = Instant::now();
        let index = set.indexed(None, None);
        let index_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let found = set.lexical(&index);
        let query_ms = start.elapsed().as_secs_f64() * 1e3 / set.queries.len() as f64;
        println!("{name:<12}{:<12}{found:>8.4}{wanted:>8}{index_s:>10.2}{query_ms:>11.2}", "terms");
    }
    let set = Set::identifiers();
    let missed = set.missed(&set.indexed(None, None)).len();
    println!("identifiers: {} of {} found first", set.queries.len() - missed, set.queries.len());
}
