//! Whether the machine itself runs short of memory, whatever the ledger says: other programs take
//! memory too.
//!
//! A reading becomes a level at once when it is worse than the last, and only after a while when it
//! is better, so that what was just trimmed is not taken again at the next breath.
//!
//! Not here: what is done about it (`planner::fleet`).

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod other;

use std::time::Duration;

#[cfg(target_os = "linux")]
use linux::read;
#[cfg(target_os = "macos")]
use macos::read;
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
use other::read;
use planner::fleet::Pressure;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    limits::{
        PRESSURE_CALM_READINGS, PRESSURE_FULL_PERCENT, PRESSURE_HELD_FULL_SHARE,
        PRESSURE_HELD_SOME_SHARE, PRESSURE_LOOK_INTERVAL, PRESSURE_SOME_PERCENT,
    },
    run_loop::Message,
};

/// What the system says at one moment; what it does not say is calm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Reading {
    /// The share of time, in percent, in which some task waited for memory.
    some_percent: f32,
    /// The share of time, in percent, in which all tasks did.
    full_percent: f32,
    /// The share of what this program and its children may hold that they hold, where there is a
    /// limit below the machine's.
    held_share: f32,
}

/// The level that follows from the readings so far.
#[derive(Debug, Default)]
struct Judge {
    level: Pressure,
    /// How many readings in a row were better than the level, and the worst of them.
    better: u32,
    worst_since: Pressure,
}

/// Tells the run loop each change of the level, as it is told or seen, until nobody listens.
pub(crate) async fn watch(told: Option<watch::Receiver<Pressure>>, inbox: mpsc::Sender<Message>) {
    match told {
        Some(told) => repeat(told, inbox).await,
        None => follow(read, PRESSURE_LOOK_INTERVAL, inbox).await,
    }
}

async fn repeat(mut told: watch::Receiver<Pressure>, inbox: mpsc::Sender<Message>) {
    while told.changed().await.is_ok() {
        let level = *told.borrow_and_update();
        if inbox.send(Message::Pressure { level }).await.is_err() {
            return;
        }
    }
}

async fn follow(
    mut read: impl FnMut() -> Option<Reading>,
    look_interval: Duration,
    inbox: mpsc::Sender<Message>,
) {
    let mut judge = Judge::default();
    let mut look = interval(look_interval);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = inbox.closed() => return,
        }
        // A system that does not tell will not tell later either.
        let Some(reading) = read() else { return };
        if let Some(level) = judge.take(&reading)
            && inbox.send(Message::Pressure { level }).await.is_err()
        {
            return;
        }
    }
}

impl Judge {
    /// The new level, if it changed.
    fn take(&mut self, reading: &Reading) -> Option<Pressure> {
        let now = reading.level();
        if now >= self.level {
            self.better = 0;
            self.worst_since = Pressure::Calm;
            return (now > self.level).then(|| {
                self.level = now;
                now
            });
        }
        self.better += 1;
        self.worst_since = self.worst_since.max(now);
        (self.better >= PRESSURE_CALM_READINGS).then(|| {
            self.level = self.worst_since;
            self.better = 0;
            self.worst_since = Pressure::Calm;
            self.level
        })
    }
}

impl Reading {
    fn level(&self) -> Pressure {
        if self.full_percent >= PRESSURE_FULL_PERCENT || self.held_share >= PRESSURE_HELD_FULL_SHARE
        {
            Pressure::Full
        } else if self.some_percent >= PRESSURE_SOME_PERCENT
            || self.held_share >= PRESSURE_HELD_SOME_SHARE
        {
            Pressure::Some
        } else {
            Pressure::Calm
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalls(some_percent: f32, full_percent: f32) -> Reading {
        Reading { some_percent, full_percent, held_share: 0.0 }
    }

    fn held(held_share: f32) -> Reading {
        Reading { held_share, ..Reading::default() }
    }

    const CALM: Reading = Reading { some_percent: 0.0, full_percent: 0.0, held_share: 0.0 };

    #[test]
    fn each_sign_of_a_shortage_counts_alone() {
        for (reading, level) in [
            (CALM, Pressure::Calm),
            (stalls(4.0, 1.0), Pressure::Calm),
            (stalls(12.0, 1.0), Pressure::Some),
            (stalls(60.0, 12.0), Pressure::Full),
            (held(0.80), Pressure::Calm),
            (held(0.95), Pressure::Some),
            (held(0.99), Pressure::Full),
            (held(f32::NAN), Pressure::Calm),
        ] {
            assert_eq!(reading.level(), level, "{reading:?}");
        }
    }

    #[test]
    fn worse_is_believed_at_once_and_better_after_a_while() {
        let mut judge = Judge::default();
        assert_eq!(judge.take(&CALM), None);
        assert_eq!(judge.take(&stalls(50.0, 50.0)), Some(Pressure::Full));
        assert_eq!(judge.take(&stalls(50.0, 50.0)), None);
        for _ in 1..PRESSURE_CALM_READINGS {
            assert_eq!(judge.take(&CALM), None);
        }
        // One relapse, and the wait begins anew.
        assert_eq!(judge.take(&stalls(50.0, 50.0)), None);
        for _ in 1..PRESSURE_CALM_READINGS {
            assert_eq!(judge.take(&CALM), None);
        }
        assert_eq!(judge.take(&CALM), Some(Pressure::Calm));
    }

    #[test]
    fn it_does_not_get_better_than_the_worst_of_the_wait() {
        let mut judge = Judge::default();
        assert_eq!(judge.take(&held(0.99)), Some(Pressure::Full));
        assert_eq!(judge.take(&held(0.95)), None);
        for _ in 2..PRESSURE_CALM_READINGS {
            assert_eq!(judge.take(&CALM), None);
        }
        assert_eq!(judge.take(&CALM), Some(Pressure::Some));
    }

    #[test]
    fn readings_around_a_threshold_change_the_level_once() {
        let mut judge = Judge::default();
        let mut changes = 0;
        for round in 0..1_000 {
            let percent = if round % 3 == 0 { PRESSURE_SOME_PERCENT } else { 0.0 };
            changes += u32::from(judge.take(&stalls(percent, 0.0)).is_some());
        }
        assert_eq!(changes, 1);
    }

    #[tokio::test]
    async fn the_run_loop_hears_changes_and_nothing_else() {
        let (inbox, mut messages) = mpsc::channel(8);
        let calm = std::iter::repeat_n(CALM, PRESSURE_CALM_READINGS as usize);
        let mut readings =
            [CALM, stalls(50.0, 0.0), stalls(50.0, 0.0)].into_iter().chain(calm).chain([CALM]);
        // The system stops telling at the end, so that this has one.
        follow(|| readings.next(), Duration::from_millis(1), inbox).await;
        let mut levels = Vec::new();
        while let Some(message) = messages.recv().await {
            let Message::Pressure { level } = message else { panic!("only levels are told") };
            levels.push(level);
        }
        assert_eq!(levels, [Pressure::Some, Pressure::Calm]);
    }
}
