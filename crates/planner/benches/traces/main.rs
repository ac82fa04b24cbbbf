//! What switching costs on traces made from seeds: the fleet, plain LRU and FIFO, and the least that
//! anyone could who knew the future. Run with `cargo bench -p planner --bench traces`.
//!
//! Not here: what must hold of it (`tests/traces`).
#![expect(clippy::print_stdout, reason = "a bench shows its table")]
#![expect(clippy::expect_used, reason = "a bench fails by panicking")]

mod optimum;
mod plain;
mod race;
mod random;
mod table;
mod trace;

fn main() {
    println!("{}", table::HEADING);
    for family in trace::Family::ALL {
        println!("{}", table::row(family));
    }
}
