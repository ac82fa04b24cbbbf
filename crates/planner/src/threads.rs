//! How many threads a step should use on a machine that others use too.
//!
//! Threads of a step meet at barriers, thousands of times a second, and spin while they wait. One
//! thread that another process pushed off its core stalls all of them, so on a shared machine fewer
//! threads are faster: use as many as there are cores to spare, not as many as there are.

/// What was seen since the last decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Cores that a step may use at most: performance cores, or what the user set.
    pub cores_max: u32,
    /// Cores of the machine.
    pub cores: u32,
    /// Cores that other processes kept busy, on average; 1.5 means one and a half.
    pub others_busy: f32,
}

/// A process that wants a whole core but shares it with our spinning thread is seen to use about
/// half of it, so this much of a core counts as a core taken.
const TAKEN_SHARE: f32 = 0.35;

/// Threads for the next steps, at least one.
#[must_use]
pub fn decide(load: Load) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small non-negative count of cores; `as` saturates"
    )]
    let taken = (load.others_busy.max(0.0) + 1.0 - TAKEN_SHARE).floor() as u32;
    load.cores.saturating_sub(taken).min(load.cores_max).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cores_max: u32, cores: u32, others_busy: f32, expected: u32) {
        assert_eq!(decide(Load { cores_max, cores, others_busy }), expected);
    }

    #[test]
    fn a_quiet_machine_gives_every_core_it_may() {
        check(2, 2, 0.0, 2);
        check(2, 2, 0.3, 2);
        check(8, 10, 0.1, 8);
    }

    #[test]
    fn a_busy_neighbour_keeps_its_core_even_when_it_is_seen_squeezed() {
        check(2, 2, 1.0, 1);
        check(2, 2, 0.66, 1);
        check(2, 2, 0.36, 1);
        check(16, 16, 3.0, 13);
    }

    #[test]
    fn efficiency_cores_take_the_neighbours_first() {
        check(8, 10, 2.0, 8);
        check(8, 10, 3.0, 7);
    }

    #[test]
    fn one_thread_is_left_however_busy_the_machine_is() {
        check(4, 4, 9.0, 1);
        check(1, 1, 1.0, 1);
    }

    #[test]
    fn a_nonsense_measurement_is_harmless() {
        check(4, 4, -1.0, 4);
        check(4, 4, f32::NAN, 4);
    }
}
