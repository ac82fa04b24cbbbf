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
        }
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
        let fits = |origin: &Origin| origin.gone.is_none() && !(with_ranges && origin.lacks_ranges);
        let mut all: Vec<usize> = (0..self.all.len()).filter(|at| fits(&self.all[*at])).collect();
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
        let living = self.all.iter().filter(|origin| origin.gone.is_none());
        let first = living.map(|origin| origin.not_before).min()?;
        (first > now).then_some(first)
    }

    /// Whether any address that is left knows ranges.
    pub(super) fn has_ranges(&self) -> bool {
        self.all.iter().any(|origin| origin.gone.is_none() && !origin.lacks_ranges)
    }

    /// Why none is left.
    pub(super) fn all_gone(&self) -> Option<Error> {
        if self.all.iter().any(|origin| origin.gone.is_none()) {
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

    /// The content that came is wrong: others are asked first.
    pub(super) fn doubt_best(&mut self) {
        let most = self.all.iter_mut().max_by_key(|origin| origin.bytes);
        if let Some(origin) = most {
            origin.failures += 1;
        }
    }
}

impl Origin {
    /// Bytes per second of one of its connections.
    fn rate(&self) -> u64 {
        (self.bytes as f64 / self.busy.as_secs_f64().max(0.001)) as u64
    }
}
