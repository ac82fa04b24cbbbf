//! The fleet against a simulated machine that keeps its own books and shares no arithmetic with
//! it: random histories, and the stories that taught each rule.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod histories;
mod machine;
mod stories;
