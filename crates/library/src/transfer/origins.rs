//! The addresses of a file: which one is asked next, which one waits, and which one is given up.

use std::time::Duration;

use super::{Error, Wanted, pace::Pace};
use crate::{
    limits,
    outside::{self, Place, shown},
};

/// All addresses of one file.
pub(super) struct Origins {
    name: String,
    /// Whether all addresses have the same content, which only a digest proves in the end.
    is_guarded: bool,
    all: Vec<Origin>,
    /// The one that is asked for everything by itself, since what came from all of them had the wrong content.
    alone: Option<usize>,
    /// Whether another one was asked alone before it, and brought a part.
    is_mixed: bool,
}

/// One address.
#[derive(Default)]
struct Origin {
    url: String,
    /// Where it led to last.
    place: Option<Place>,
    not_before: Duration,
    has_answered: bool,
    lacks_ranges: bool,
    /// In a row.
    failures: u32,
    refusals: u32,
    refused_at: Option<Duration>,
    lies: u32,
    /// Why it is not asked any more.
    gone: Option<Error>,
    /// How often it was asked, and what that brought.
    asked: u32,
    bytes: u64,
    busy: Duration,
}

impl Origins {
    pub(super) fn new(wanted: &Wanted) -> Self {
        let origin = |url| Origin { url: shown(url), ..Origin::default() };
        Self {
            name: wanted.name.clone(),
            is_guarded: wanted.digest.is_some(),
            all: wanted.addresses.iter().map(origin).collect(),
            alone: None,
            is_mixed: false,
        }
    }

    /// Those that may be asked, with their numbers.
    fn living(&self) -> impl Iterator<Item = (usize, &Origin)> {
        let all = self.all.iter().enumerate();
        all.filter(|(at, origin)| origin.gone.is_none() && self.alone.is_none_or(|one| one == *at))
    }

    /// Which address to ask now, for ranges or for everything.
    ///
    /// Those that failed least, among them those that were never asked, so that each shows how fast it is on a
    /// range of its own; then the fastest.
    pub(super) fn pick(
        &mut self,
        now: Duration,
        with_ranges: bool,
    ) -> Option<(usize, Option<Place>)> {
        let fits = |origin: &Origin| !(with_ranges && origin.lacks_ranges);
        let mut all: Vec<usize> =
            self.living().filter(|(_, origin)| fits(origin)).map(|(at, _)| at).collect();
        if !self.is_guarded {
            all.truncate(1);
        }
        all.retain(|at| self.all[*at].not_before <= now);
        let rank = |at: &usize| {
            let origin = &self.all[*at];
            (origin.failures, origin.asked.min(1), std::cmp::Reverse(origin.rate()), *at)
        };
        let best = all.into_iter().min_by_key(rank)?;
        let origin = &mut self.all[best];
        origin.asked += 1;
        Some((best, origin.place.clone()))
    }

    /// When somebody can be asked, if nobody can now.
    pub(super) fn waits_until(&self, now: Duration) -> Option<Duration> {
        let first = self.living().map(|(_, origin)| origin.not_before).min()?;
        (first > now).then_some(first)
    }

    /// Whether any address that is left knows ranges.
    pub(super) fn has_ranges(&self) -> bool {
        self.living().any(|(_, origin)| !origin.lacks_ranges)
    }

    /// Why none is left. Where the one that is asked alone is gone, the next one takes its place.
    pub(super) fn all_gone(&mut self) -> Option<Error> {
        if self.living().next().is_some() {
            return None;
        }
        if self.next_alone() {
            self.is_mixed = true;
            return None;
        }
        let first = self.all.iter().find_map(|origin| origin.gone.clone());
        Some(first.unwrap_or_else(|| Error::Nowhere { name: self.name.clone() }))
    }

    pub(super) fn answered(&mut self, at: usize, place: Place) {
        let origin = &mut self.all[at];
        origin.place = Some(place);
        origin.has_answered = true;
        (origin.refusals, origin.lies) = (0, 0);
    }

    /// A connection to it is over, which brought `bytes` in `busy`.
    pub(super) fn brought(&mut self, at: usize, bytes: u64, busy: Duration) {
        let origin = &mut self.all[at];
        (origin.bytes, origin.busy) = (origin.bytes + bytes, origin.busy + busy);
        if bytes > 0 {
            origin.failures = 0;
        }
    }

    /// It failed in a way that passes. `is_first` when nothing of the file ever came.
    pub(super) fn failed(
        &mut self,
        at: usize,
        why: &outside::Error,
        until: Option<Duration>,
        is_first: bool,
        pace: &Pace,
    ) {
        let origin = &mut self.all[at];
        origin.failures += 1;
        origin.not_before = until.unwrap_or(origin.not_before).max(origin.not_before);
        // Where it led to may be what is out of order.
        origin.place = None;
        if is_first && !origin.has_answered && origin.failures >= pace.first_tries_max {
            origin.gone = Some(Error::Outside(why.clone()));
        }
    }

    /// It does not give the file. Where it led to before may have expired, which is no fault. One that gave it
    /// before is asked some times more.
    pub(super) fn refused(
        &mut self,
        at: usize,
        why: outside::Error,
        was_known_place: bool,
        now: Duration,
        pace: &Pace,
    ) {
        let origin = &mut self.all[at];
        origin.place = None;
        // Several connections are refused at once, for one reason.
        let is_counted = origin.refused_at.is_some_and(|at| now < at + pace.back_off);
        if was_known_place || is_counted {
            return;
        }
        origin.refused_at = Some(now);
        origin.refusals += 1;
        if !origin.has_answered || origin.refusals >= limits::REFUSALS_MAX {
            origin.gone = Some(Error::Outside(why));
        }
    }

    /// It says what cannot be.
    pub(super) fn lied(&mut self, at: usize, what: String) {
        let origin = &mut self.all[at];
        origin.lies += 1;
        origin.failures += 1;
        if origin.lies >= limits::LIES_MAX {
            let url = origin.url.clone();
            origin.gone = Some(Error::Lies { name: self.name.clone(), url, what });
        }
    }

    /// It sends everything or nothing, which counts once it did so as often as it may lie. Whether it counts.
    pub(super) fn lacks_ranges(&mut self, at: usize) -> bool {
        let origin = &mut self.all[at];
        origin.lies += 1;
        origin.lacks_ranges = !origin.has_answered || origin.lies >= limits::LIES_MAX;
        origin.lacks_ranges
    }

    /// The content that came is wrong, and `why` says so: from now on one of them is asked alone, since several may
    /// have several files. One that was asked for all of it and still sent another file is asked no more. Whether
    /// any is left.
    pub(super) fn suspect(&mut self, why: Error) -> bool {
        if std::mem::take(&mut self.is_mixed) && self.living().next().is_some() {
            return true;
        }
        if let Some(one) = self.alone {
            self.all[one].gone = Some(why);
        }
        self.next_alone()
    }

    /// Whether there is another one to ask alone.
    fn next_alone(&mut self) -> bool {
        self.alone = self.all.iter().position(|origin| origin.gone.is_none());
        self.alone.is_some()
    }
}

impl Origin {
    /// Bytes per second of one of its connections.
    fn rate(&self) -> u64 {
        (self.bytes as f64 / self.busy.as_secs_f64().max(0.001)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    fn origins(count: usize) -> Origins {
        let addresses =
            (0..count).map(|at| format!("http://127.0.0.1:{at}/").parse().unwrap()).collect();
        Origins::new(&Wanted {
            name: "file".into(),
            addresses,
            bytes: None,
            digest: Some(Sha256::of([0; 32])),
        })
    }

    fn wrong() -> Error {
        let (expected, found) = (Sha256::of([0; 32]), Sha256::of([1; 32]));
        Error::Digest { name: "file".into(), expected, found }
    }

    fn asked(origins: &mut Origins) -> Vec<usize> {
        let ask = |_| origins.pick(Duration::ZERO, true).map(|(at, _)| at);
        let mut all: Vec<usize> = (0..6).filter_map(ask).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn after_wrong_content_each_is_asked_alone_whoever_brought_most() {
        for most in 0..3 {
            let mut origins = origins(3);
            assert_eq!(asked(&mut origins), [0, 1, 2]);
            origins.brought(most, 1000, Duration::from_secs(1));
            for alone in 0..3 {
                assert!(origins.suspect(wrong()), "{alone} is left");
                assert_eq!(asked(&mut origins), [alone]);
                origins.brought(alone, 1000, Duration::from_secs(1));
            }
            assert!(!origins.suspect(wrong()));
            assert!(matches!(origins.all_gone(), Some(Error::Digest { .. })));
        }
    }

    #[test]
    fn one_that_took_over_midway_is_asked_for_all_of_it_before_it_is_given_up() {
        let mut origins = origins(2);
        assert!(origins.suspect(wrong()));
        origins.all[0].gone = Some(Error::Nowhere { name: "file".into() });
        assert!(origins.all_gone().is_none());
        assert_eq!(asked(&mut origins), [1]);
        assert!(origins.suspect(wrong()), "a part was the first one's");
        assert_eq!(asked(&mut origins), [1]);
        assert!(!origins.suspect(wrong()));
    }
}
