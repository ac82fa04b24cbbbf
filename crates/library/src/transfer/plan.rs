//! Which connection fetches which range, which one is slow, and when a new one takes its place.
//!
//! A state machine that is told the time and what arrived, and says what to do: no clock, no connection, no file.
//! A connection is slow beside the others (a quarter of their median), or all are beside the best that a new one did
//! in this transfer: then a single one is replaced as a probe, and the rest only if that one is faster. Connections
//! that slow down behind so many bytes teach how many to ask one for. Not here: from which address a range comes.

mod meter;
#[cfg(test)]
mod tests;

use std::{ops::Range, time::Duration};

use super::{pace::Pace, ranges::Ranges};
use crate::limits;
use meter::Meter;

/// A connection is slow below this share of the others' median rate.
const SLOW_SHARE: f64 = 0.25;
/// All have slowed down below this share of the best rate that a new connection had.
const DECAYED_SHARE: f64 = 0.5;
/// A new connection is worth it if it is so many times as fast.
const GAIN: f64 = 1.5;
/// So many bytes on a connection prove that it works.
const PROGRESS_BYTES: u64 = 64 << 10;
/// Of what connections bore before they slowed down, so much is asked for.
const BORNE_SHARE: f64 = 0.9;
/// Two connections slowed down behind the same number of bytes if one is within this share of the other.
const ALIKE_SHARE: f64 = 0.75;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Fetch `range` in `slot`, on a connection for this range alone if `is_alone`.
    Open { slot: usize, range: Range<u64>, is_alone: bool },
    /// Let `slot` end at `at`, and if it is not beyond that, tell [`Plan::split`].
    Split { slot: usize, at: u64, thief: usize },
    /// Drop the connection of `slot`; what it received counts.
    Close { slot: usize },
}

/// How the work of a slot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As it should, or because it was to be closed.
    Well,
    /// By a fault of the connection or the server.
    Failed,
    /// By one that another address, or the same one asked anew, may not have.
    Elsewhere,
}

/// Who fetches what.
pub(super) struct Plan {
    pace: Pace,
    /// What is missing and nobody fetches.
    free: Ranges,
    slots: Vec<Slot>,
    /// How many slots may be used.
    wide: usize,
    /// How many are used.
    used: usize,
    /// When that was changed because a server is asked too much.
    narrowed: Option<Duration>,
    /// Whether ranges can be asked for; else one connection fetches all from the beginning on.
    has_ranges: bool,
    /// The best rate that a connection had when it was new, in bytes per second.
    best: f64,
    /// Replacements in a row that were no faster than what they replaced.
    in_vain: u32,
    probe: Option<Probe>,
    probe_wait: Duration,
    probe_from: Duration,
    /// Behind how many bytes connections slowed down, the latest two.
    falls: [u64; 2],
    /// The most that is asked of one connection, once that is known to matter.
    borne: Option<u64>,
}

/// A place for one connection after another.
#[derive(Default)]
struct Slot {
    work: Option<Work>,
    meter: Option<Meter>,
    /// Failures in a row without progress.
    failures: u32,
    not_before: Duration,
    /// The rate of what this connection replaced, until it is known whether that was in vain.
    replaced: Option<f64>,
}

struct Work {
    at: u64,
    end: u64,
    /// What came by this piece of work.
    bytes: u64,
    is_closing: bool,
}

/// One connection that shows whether new ones are faster.
struct Probe {
    slot: usize,
    /// The median rate before it.
    before: f64,
    /// What the replaced connection had brought when it slowed down.
    fall: u64,
}

impl Plan {
    /// A plan to fetch `missing` on one connection, until [`Self::widen`] allows more.
    pub(super) fn new(pace: Pace, missing: Ranges) -> Self {
        Self {
            pace,
            free: missing,
            slots: (0..limits::CONNECTIONS_MAX).map(|_| Slot::default()).collect(),
            wide: 1,
            used: 1,
            narrowed: None,
            has_ranges: true,
            best: 0.0,
            in_vain: 0,
            probe: None,
            probe_wait: pace.probe,
            probe_from: Duration::ZERO,
            falls: [0; 2],
            borne: None,
        }
    }

    /// Allows so many connections.
    pub(super) fn widen(&mut self, connections: usize) {
        self.wide = connections.clamp(1, self.slots.len());
        self.used = self.wide;
    }

    /// The server is asked too much: half as many connections from now on, and one more again after a while.
    pub(super) fn narrow(&mut self, now: Duration) {
        // All connections hear it at about the same time.
        if self.narrowed.is_none_or(|at| now >= at + self.pace.window) {
            self.used = (self.used / 2).max(1);
            self.narrowed = Some(now);
        }
    }

    /// The server knows no ranges.
    pub(super) fn without_ranges(&mut self) {
        self.has_ranges = false;
        self.widen(1);
    }

    pub(super) fn has_ranges(&self) -> bool {
        self.has_ranges
    }

    /// The file ends at `whole`.
    pub(super) fn bound(&mut self, whole: u64) {
        self.free.remove(whole..u64::MAX);
        for work in self.slots.iter_mut().filter_map(|slot| slot.work.as_mut()) {
            work.end = work.end.min(whole.max(work.at));
        }
    }

    /// Everything ends: what was begun is free again.
    pub(super) fn close_all(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            close(number, slot, &mut steps);
        }
        steps
    }

    /// Nothing but `missing` is missing, now that more is known. Nobody may be fetching.
    pub(super) fn restart(&mut self, missing: Ranges) {
        self.free = missing;
    }

    /// A range that was there turned out wrong.
    pub(super) fn lost(&mut self, range: Range<u64>) {
        self.free.insert(range);
    }

    /// Connections that fetch now.
    pub(super) fn connections(&self) -> usize {
        self.slots.iter().filter(|slot| slot.work.is_some()).count()
    }

    /// Whether nobody fetches and nothing is left to fetch.
    pub(super) fn is_done(&self) -> bool {
        self.free.is_empty() && self.connections() == 0
    }

    /// What to do at `now`. Nothing is opened unless `may_open`, and nobody is slow while `is_limited`, which is
    /// when somebody here holds the rate down.
    pub(super) fn steps(&mut self, now: Duration, may_open: bool, is_limited: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        self.note_rates(now);
        if !is_limited {
            self.close_stalled(now, &mut steps);
        }
        if self.has_ranges && !is_limited {
            self.close_renewed(now, &mut steps);
            self.close_slow(now, &mut steps);
            self.begin_probe(now, &mut steps);
        }
        if may_open {
            let has_rested = self.narrowed.is_some_and(|at| now >= at + limits::NARROW_WAIT);
            if has_rested && self.used < self.wide {
                self.used += 1;
                self.narrowed = Some(now);
            }
            self.open(now, &mut steps);
        }
        steps
    }

    /// `slot` has written `bytes` more.
    pub(super) fn arrived(&mut self, slot: usize, bytes: u64, now: Duration) {
        let slot = &mut self.slots[slot];
        if let Some(work) = &mut slot.work {
            work.at += bytes;
            work.bytes += bytes;
            if work.bytes >= PROGRESS_BYTES {
                slot.failures = 0;
            }
        }
        if let Some(meter) = &mut slot.meter {
            meter.add(now, bytes);
        }
    }

    /// The work of `slot` is over; what it did not bring is free again.
    pub(super) fn ended(&mut self, slot: usize, end: End, now: Duration) {
        let pace = self.pace;
        let slot = &mut self.slots[slot];
        let Some(work) = slot.work.take() else { return };
        self.free.insert(work.at..work.end);
        if end != End::Well || work.is_closing {
            slot.meter = None;
        }
        let is_failure = end == End::Failed && work.bytes < PROGRESS_BYTES;
        if is_failure {
            slot.failures += 1;
            slot.not_before = now + pace.wait(slot.failures);
        }
    }

    /// `slot` was told to end at `at` in time: the rest is what `thief` fetches.
    pub(super) fn split(&mut self, slot: usize, at: u64, thief: usize, now: Duration) -> Step {
        let mut rest = at..at;
        if let Some(work) = &mut self.slots[slot].work {
            rest.end = work.end;
            work.end = at;
        }
        self.give(thief, rest, now)
    }

    /// When something may have to be done although nothing arrives.
    pub(super) fn wakes_at(&self, now: Duration) -> Duration {
        let tick = now + self.pace.window / 8;
        let opens = self.slots[..self.used].iter().filter(|slot| slot.work.is_none());
        opens.map(|slot| slot.not_before).filter(|at| *at > now).fold(tick, Duration::min)
    }

    /// When the next connection opens, if all wait for that.
    pub(super) fn waits_until(&self, now: Duration) -> Option<Duration> {
        if self.connections() > 0 {
            return None;
        }
        let opens = self.slots[..self.used].iter().map(|slot| slot.not_before);
        opens.min().filter(|at| *at > now)
    }

    fn close_stalled(&mut self, now: Duration, steps: &mut Vec<Step>) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Some(meter) = &slot.meter else { continue };
            let is_working = slot.work.as_ref().is_some_and(|work| !work.is_closing);
            if is_working && meter.silence(now) >= self.pace.stall {
                let wait = self.pace.wait(slot.failures + 1);
                slot.failures += 1;
                slot.not_before = now + wait;
                close(number, slot, steps);
            }
        }
    }

    /// Takes note of how fast new connections are, and whether they were worth it.
    fn note_rates(&mut self, now: Duration) {
        for slot in &mut self.slots {
            let Some(meter) = &mut slot.meter else { continue };
            let Some(rate) = meter.rate(now) else { continue };
            if meter.is_noted {
                continue;
            }
            meter.is_noted = true;
            self.best = self.best.max(rate);
            if let Some(before) = slot.replaced.take() {
                let is_gain = rate >= before * GAIN;
                self.in_vain = if is_gain { 0 } else { (self.in_vain + 1).min(16) };
            }
        }
    }

    /// The rates of all that are old enough for one, and do not end.
    fn rates(&self, now: Duration) -> Vec<(usize, f64)> {
        let working = |slot: &Slot| slot.work.as_ref().is_some_and(|work| !work.is_closing);
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| working(slot));
        let rate = |slot: &Slot| slot.meter.as_ref()?.rate(now);
        slots.filter_map(|(number, slot)| Some((number, rate(slot)?))).collect()
    }

    /// What is slow beside the others is replaced, more patiently the more often that was in vain.
    fn close_slow(&mut self, now: Duration, steps: &mut Vec<Step>) {
        let rates = self.rates(now);
        for &(number, rate) in &rates {
            let others = rates.iter().filter(|(other, _)| *other != number);
            let others: Vec<f64> = others.map(|(_, rate)| *rate).collect();
            let is_slow = others.len() >= 2 && rate < SLOW_SHARE * median(others);
            let patience = self.pace.window * (1 << self.in_vain);
            let is_probe = self.probe.as_ref().is_some_and(|probe| probe.slot == number);
            if is_slow && !is_probe && self.is_judged(number, rate, patience, now) {
                self.replace(number, rate, now, steps);
            }
        }
    }

    /// Whether `slot` is old enough to be called slow, and has enough to do that it matters.
    fn is_judged(&self, slot: usize, rate: f64, patience: Duration, now: Duration) -> bool {
        let slot = &self.slots[slot];
        let Some((work, meter)) = slot.work.as_ref().zip(slot.meter.as_ref()) else { return false };
        let left = (work.end - work.at) as f64;
        meter.age(now) >= patience && left > rate * self.pace.window.as_secs_f64()
    }

    fn replace(&mut self, number: usize, rate: f64, now: Duration, steps: &mut Vec<Step>) {
        let slot = &mut self.slots[number];
        let fall = slot.meter.as_ref().map_or(0, |meter| meter.bytes_before(now));
        slot.replaced = Some(rate);
        close(number, slot, steps);
        self.learn(fall);
    }

    /// Connections slow down behind so many bytes: if that happens twice alike, no more is asked of one.
    fn learn(&mut self, fall: u64) {
        self.falls = [self.falls[1], fall];
        let (less, more) = (self.falls[0].min(self.falls[1]), self.falls[0].max(self.falls[1]));
        if less >= self.pace.range_bytes_min && less as f64 >= ALIKE_SHARE * more as f64 {
            let borne = (less as f64 * BORNE_SHARE) as u64;
            self.borne = Some(self.borne.map_or(borne, |known| known.min(borne)));
        }
    }

    /// When all have slowed down, one is replaced to see whether new ones are faster.
    fn begin_probe(&mut self, now: Duration, steps: &mut Vec<Step>) {
        let rates = self.rates(now);
        let is_quiet = self.probe.is_none() && steps.is_empty() && now >= self.probe_from;
        if !is_quiet || rates.is_empty() || rates.len() < self.connections() {
            return;
        }
        let before = median(rates.iter().map(|(_, rate)| *rate).collect());
        if before >= DECAYED_SHARE * self.best {
            return;
        }
        let slowest = rates.iter().min_by(|left, right| left.1.total_cmp(&right.1));
        let Some(&(number, rate)) = slowest else { return };
        if !self.is_judged(number, rate, self.pace.window, now) {
            return;
        }
        let slot = &mut self.slots[number];
        let fall = slot.meter.as_ref().map_or(0, |meter| meter.bytes_before(now));
        self.probe = Some(Probe { slot: number, before, fall });
        close(number, slot, steps);
    }

    /// When a probe has shown its rate, all others follow it or nobody does.
    fn close_renewed(&mut self, now: Duration, steps: &mut Vec<Step>) {
        let Some(probe) = &self.probe else { return };
        let slot = &self.slots[probe.slot];
        if slot.work.as_ref().is_some_and(|work| work.is_closing) {
            return;
        }
        if slot.work.is_none() {
            // Nothing is left to fetch, or the server lets no new connection in: that is no faster.
            if now >= slot.not_before && !self.free.is_empty() {
                return;
            }
            return self.end_probe(now, None, steps);
        }
        let rate = slot.meter.as_ref().and_then(|meter| meter.rate(now));
        if rate.is_some() {
            self.end_probe(now, rate, steps);
        }
    }

    fn end_probe(&mut self, now: Duration, rate: Option<f64>, steps: &mut Vec<Step>) {
        let Some(probe) = self.probe.take() else { return };
        match rate {
            Some(rate) if rate >= GAIN * probe.before => {
                self.probe_wait = self.pace.probe;
                self.probe_from = now;
                self.learn(probe.fall);
                let slower = self.rates(now).into_iter();
                for (number, slow) in slower.filter(|(_, other)| *other * GAIN <= rate) {
                    self.replace(number, slow, now, steps);
                }
            }
            Some(_) | None => {
                // The line has become slower, or the server: that is the best there is now.
                self.best = rate.unwrap_or(0.0).max(probe.before);
                self.probe_from = now + self.probe_wait;
                self.probe_wait = (self.probe_wait * 2).min(limits::PROBE_WAIT_MAX);
            }
        }
    }

    fn open(&mut self, now: Duration, steps: &mut Vec<Step>) {
        for number in 0..self.used {
            let slot = &self.slots[number];
            if slot.work.is_some() || slot.not_before > now {
                continue;
            }
            if let Some(range) = self.next_range() {
                steps.push(self.give(number, range, now));
            } else if let Some((victim, at)) = self.victim(now) {
                // One at a time: the next sees what became of this one.
                return steps.push(Step::Split { slot: victim, at, thief: number });
            }
        }
    }

    fn next_range(&mut self) -> Option<Range<u64>> {
        if !self.has_ranges {
            return self.free.take_first(u64::MAX);
        }
        let share = self.free.bytes() / (self.used as u64 * 2);
        let bytes = share.clamp(self.pace.range_bytes_min, self.pace.range_bytes_max);
        self.free.take_first(self.borne.map_or(bytes, |borne| bytes.min(borne.max(1))))
    }

    /// Whose range somebody without work takes half of, and from where on: of who needs longest.
    fn victim(&self, now: Duration) -> Option<(usize, u64)> {
        if !self.has_ranges {
            return None;
        }
        let window_s = self.pace.window.as_secs_f64();
        let left = |(number, slot): (usize, &Slot)| {
            let work = slot.work.as_ref().filter(|work| !work.is_closing)?;
            let bytes = work.end - work.at;
            let rate = slot.meter.as_ref().and_then(|meter| meter.rate(now));
            let is_long = rate.is_some_and(|rate| bytes as f64 > 2.0 * window_s * rate);
            let is_much = bytes >= 2 * self.pace.range_bytes_min;
            let is_worth = is_much || is_long && bytes >= 2 * PROGRESS_BYTES;
            let left_s = bytes as f64 / rate.unwrap_or(f64::MAX).max(1.0);
            is_worth.then_some((number, work.at + bytes / 2, left_s, bytes))
        };
        let left = self.slots.iter().enumerate().filter_map(left);
        let longest = left.max_by(|a, b| a.2.total_cmp(&b.2).then(a.3.cmp(&b.3)));
        longest.map(|(number, at, ..)| (number, at))
    }

    fn give(&mut self, number: usize, range: Range<u64>, now: Duration) -> Step {
        let is_alone = self.borne.is_some();
        let slot = &mut self.slots[number];
        let is_reused = |meter: &&mut Meter| !is_alone && meter.silence(now) < self.pace.window;
        match slot.meter.as_mut().filter(is_reused) {
            Some(meter) => meter.asked(now),
            None => slot.meter = Some(Meter::new(now, self.pace.window)),
        }
        slot.work = Some(Work { at: range.start, end: range.end, bytes: 0, is_closing: false });
        Step::Open { slot: number, range, is_alone }
    }
}

fn close(number: usize, slot: &mut Slot, steps: &mut Vec<Step>) {
    if let Some(work) = slot.work.as_mut().filter(|work| !work.is_closing) {
        work.is_closing = true;
        steps.push(Step::Close { slot: number });
    }
}

/// The middle one; of an even number the lower of the two, which accuses fewer.
fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}
