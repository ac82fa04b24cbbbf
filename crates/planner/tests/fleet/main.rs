//! The fleet against a simulated machine that keeps its own books and shares no arithmetic with
//! it: random histories, bugs on purpose, and the stories that taught each rule.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bugs;
mod checks;
mod histories;
mod lies;
mod machine;
mod policy;
#[path = "../../benches/traces/random.rs"]
mod random;
mod stories;
