//! A bandwidth limit that any number of transfers share.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A limit in bytes per second. Whoever has received bytes waits until they are within it.
#[derive(Debug)]
pub struct Rate {
    bytes_per_s: u64,
    /// Until when the limit is used up.
    taken_until: Mutex<Option<Instant>>,
}

impl Rate {
    /// A limit of `bytes_per_s`, at least one byte.
    #[must_use]
    pub fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), taken_until: Mutex::new(None) }
    }

    /// Bytes per second.
    pub(super) fn bytes_per_s(&self) -> u64 {
        self.bytes_per_s
    }

    /// Takes `bytes`, and comes back when that many may have come.
    pub(super) async fn take(&self, bytes: u64) {
        let now = Instant::now();
        let until = {
            let mut taken = self.taken_until.lock().unwrap_or_else(PoisonError::into_inner);
            let from = taken.map_or(now, |until| until.max(now));
            let until = from + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
            *taken = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_that_take_share_it() {
        let rate = Arc::new(Rate::new(1000));
        let began = Instant::now();
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let rate = Arc::clone(&rate);
                tokio::spawn(async move {
                    for _ in 0..10 {
                        rate.take(50).await;
                    }
                })
            })
            .collect();
        for taker in takers {
            taker.await.unwrap();
        }
        assert_eq!(began.elapsed().as_secs_f64().round(), 2.0);
    }
}
