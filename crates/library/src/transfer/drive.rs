//! The loop of one transfer: events of its connections and of the hash go into the plan, its steps are carried out.
//!
//! Decisions are in `plan` and `origins`; here is what a fault means for them, and the way from the last byte to a
//! file with the right digest.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc as std_mpsc},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    Error, Seen, Terms, Wanted,
    follow::{Followed, Told, follow},
    journal::{Identity, Pieces},
    keep::Keep,
    lane::{Event, Fault, Lane, Outcome, Reach},
    origins::Origins,
    plan::{End, Plan, Step},
    progress::Progress,
    ranges::Ranges,
};
use crate::{digest::Sha256, limits, outside::Outside};

/// One transfer that is under way.
pub(super) struct Drive<'a> {
    outside: &'a Outside,
    wanted: Arc<Wanted>,
    terms: &'a Terms,
    keep: Arc<Keep>,
    began: Instant,
    plan: Plan,
    origins: Origins,
    /// What is there.
    done: Ranges,
    whole: Option<u64>,
    /// How much was there when the disk was asked last whether more finds room.
    room_seen_at: u64,
    lanes: JoinSet<()>,
    busy: Vec<Option<Busy>>,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    hash: Hash,
    trust: Trust,
    /// The file that takes the place of this one, once all connections have ended.
    replacement: Option<Identity>,
    changes: u32,
    /// Whether an answer has come in this run.
    has_answer: bool,
    progress: Progress<'a>,
}

/// A connection, as it is seen from here.
struct Busy {
    origin: usize,
    since: Instant,
    bytes: u64,
    reach: Arc<Reach>,
    stop: watch::Sender<bool>,
}

/// The hash that follows what comes.
struct Hash {
    told: std_mpsc::Sender<Told>,
    followed: mpsc::UnboundedReceiver<Followed>,
    is_told_of_end: bool,
    /// How far it is, or a little farther.
    bytes: u64,
    digest: Option<Sha256>,
}

/// How what is there is believed, while its digest is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// What this run wrote is there.
    Written,
    /// Each piece is held against its checksum: the disk may have lost something.
    Checked,
    /// Everything is fetched once more and compared, from one address after the other: they may have sent something else.
    Compared,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        outside: &'a Outside,
        wanted: &Wanted,
        terms: &'a Terms,
        keep: Keep,
        seen: &'a watch::Sender<Seen>,
    ) -> Self {
        let keep = Arc::new(keep);
        let (done, identity) = (keep.done(), keep.identity());
        let whole = identity.bytes.or(wanted.bytes);
        let (sender, events) = mpsc::unbounded_channel();
        let hash = Hash::new(&keep, keep.pieces(), done.prefix());
        let mut plan = Plan::new(terms.pace, done.missing(whole.unwrap_or(u64::MAX)));
        if wanted.digest.is_some() && wanted.bytes.is_some() {
            // The first of them that answers is the first that is asked for more.
            plan.widen(wanted.addresses.len().min(limits::RACERS_MAX).min(terms.connections));
        }
        Self {
            outside,
            wanted: Arc::new(wanted.clone()),
            terms,
            began: Instant::now(),
            plan,
            origins: Origins::new(wanted),
            progress: Progress::new(seen, done.bytes(), whole),
            done,
            whole,
            room_seen_at: 0,
            lanes: JoinSet::new(),
            busy: (0..limits::CONNECTIONS_MAX).map(|_| None).collect(),
            sender,
            events,
            hash,
            keep,
            trust: Trust::Written,
            replacement: None,
            changes: 0,
            has_answer: false,
        }
    }

    /// Works until the whole file is there with the right digest: where it is, its digest and its length.
    pub(super) async fn run(mut self) -> Result<(PathBuf, Sha256, u64, Arc<Keep>), Error> {
        self.is_room()?;
        loop {
            self.replace()?;
            if let Some((digest, bytes)) = self.settle()? {
                return self.finish(digest, bytes).await;
            }
            self.act()?;
            self.show();
            self.wait().await?;
        }
    }

    /// Another file takes the place of the one that has changed.
    fn replace(&mut self) -> Result<(), Error> {
        if self.plan.connections() > 0 {
            return Ok(());
        }
        let Some(identity) = self.replacement.take() else { return Ok(()) };
        self.whole = identity.bytes;
        self.keep.begin(identity)?;
        self.done = Ranges::default();
        self.plan.restart(self.done.missing(self.whole.unwrap_or(u64::MAX)));
        self.hash = Hash::new(&self.keep, Pieces::new(), 0);
        self.trust = Trust::Written;
        self.is_room()
    }

    /// The digest and the length of the whole, once both are as they should be.
    fn settle(&mut self) -> Result<Option<(Sha256, u64)>, Error> {
        let Some(whole) = self.whole.filter(|_| self.plan.is_done()) else { return Ok(None) };
        if !self.hash.is_told_of_end {
            self.hash.is_told_of_end = true;
            self.hash.tell(Told::Prefix(self.done.prefix()));
            self.hash.tell(Told::End(whole));
        }
        let Some(found) = self.hash.digest.take() else { return Ok(None) };
        let expected = self.wanted.digest.unwrap_or(found);
        if found == expected {
            return Ok(Some((found, whole)));
        }
        match self.trust {
            Trust::Written => {
                self.trust = Trust::Checked;
                self.hash = Hash::new(&self.keep, self.keep.pieces(), self.done.prefix());
            }
            Trust::Checked | Trust::Compared => {
                let wrong = Error::Digest { name: self.wanted.name.clone(), expected, found };
                if !self.origins.suspect(wrong.clone()) {
                    return Err(wrong);
                }
                self.trust = Trust::Compared;
                self.keep.compare();
                self.plan.restart(Ranges::of(0..whole));
                self.hash = Hash::new(&self.keep, Pieces::new(), 0);
            }
        }
        Ok(None)
    }

    /// Does what the plan says.
    fn act(&mut self) -> Result<(), Error> {
        if self.plan.connections() == 0 && !self.plan.is_done() {
            if let Some(error) = self.origins.all_gone() {
                return Err(error);
            }
            if self.plan.has_ranges() && !self.origins.has_ranges() {
                self.plan.without_ranges();
            }
        }
        let now = self.began.elapsed();
        let may_open = self.replacement.is_none() && self.origins.waits_until(now).is_none();
        let is_limited = self.is_limited();
        for step in self.plan.steps(now, may_open, is_limited) {
            self.carry_out(step, now);
        }
        Ok(())
    }

    /// Whether the bandwidth limit is what holds the rate down, as far as can be seen from one transfer of several.
    fn is_limited(&mut self) -> bool {
        let Some(limit) = &self.terms.rate else { return false };
        self.progress.rate(Instant::now()) >= limit.bytes_per_s() / limits::LIMITED_SHARE
    }

    fn carry_out(&mut self, step: Step, now: Duration) {
        match step {
            Step::Close { slot } => {
                if let Some(busy) = &self.busy[slot] {
                    busy.stop.send_replace(true);
                }
            }
            Step::Split { slot, at, thief } => {
                if self.busy[slot].as_ref().is_some_and(|busy| busy.reach.cut(at)) {
                    let open = self.plan.split(slot, at, thief, now);
                    self.carry_out(open, now);
                }
            }
            Step::Open { slot, range, is_alone } => {
                let Some((origin, place)) = self.origins.pick(now, self.plan.has_ranges()) else {
                    return self.plan.ended(slot, End::Elsewhere, now);
                };
                let reach = Arc::new(Reach::new(range.clone()));
                let (stop, stopped) = watch::channel(false);
                let lane = Lane {
                    outside: self.outside.clone(),
                    wanted: Arc::clone(&self.wanted),
                    keep: Arc::clone(&self.keep),
                    slot,
                    origin,
                    place,
                    range,
                    reach: Arc::clone(&reach),
                    has_ranges: self.plan.has_ranges(),
                    is_alone,
                    rate: self.terms.rate.clone(),
                    flush: self.terms.pace.flush,
                    stop: stopped,
                    events: self.sender.clone(),
                };
                self.lanes.spawn(lane.run());
                self.busy[slot] =
                    Some(Busy { origin, since: Instant::now(), bytes: 0, reach, stop });
            }
        }
    }

    /// Waits for something to happen, and takes all that has.
    async fn wait(&mut self) -> Result<(), Error> {
        let now = self.began.elapsed();
        let wake = self.plan.wakes_at(now).min(now + limits::SHOWN_EVERY);
        tokio::select! {
            Some(event) = self.events.recv() => self.take(event)?,
            Some(followed) = self.hash.followed.recv() => self.take_followed(followed)?,
            () = tokio::time::sleep_until(self.began + wake) => {}
        }
        while let Ok(event) = self.events.try_recv() {
            self.take(event)?;
        }
        // Ended ones are of no more interest: what they did, they said.
        while self.lanes.try_join_next().is_some() {}
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Answered { slot, place, whole } => {
                if let Some(busy) = &self.busy[slot] {
                    self.origins.answered(busy.origin, place);
                }
                self.answered(whole)
            }
            Event::Wrote { slot, range } => {
                let bytes = range.end - range.start;
                self.plan.arrived(slot, bytes, self.began.elapsed());
                if let Some(busy) = &mut self.busy[slot] {
                    busy.bytes += bytes;
                }
                self.progress.arrived(bytes);
                if self.trust != Trust::Compared {
                    self.done.insert(range);
                    self.hash.tell(Told::Prefix(self.done.prefix()));
                }
                self.is_room_for_more()
            }
            Event::Ended { slot, outcome } => self.ended(slot, outcome),
        }
    }

    /// Something is known of the file: how long it is, and that asking for more of it makes sense.
    fn answered(&mut self, said: Option<u64>) -> Result<(), Error> {
        self.progress.waits_for(None);
        if self.has_answer && self.whole.is_some() {
            return Ok(());
        }
        self.has_answer = true;
        self.whole = self.keep.identity().bytes.or(said).or(self.whole);
        let Some(whole) = self.whole else { return Ok(()) };
        self.plan.bound(whole);
        if self.done.end() > whole {
            return self.changed(Identity { bytes: Some(whole), ..self.keep.identity() });
        }
        if self.plan.has_ranges() {
            let missing = self.done.missing(whole).bytes();
            let useful = missing / self.terms.pace.range_bytes_min.max(1);
            let useful = usize::try_from(useful).unwrap_or(usize::MAX);
            self.plan.widen(self.terms.connections.min(useful));
        }
        self.is_room()
    }

    /// Whether the disk has room for what is missing.
    fn is_room(&self) -> Result<(), Error> {
        let Some(whole) = self.whole else { return Ok(()) };
        self.has_room_for(self.done.missing(whole).bytes())
    }

    fn has_room_for(&self, bytes: u64) -> Result<(), Error> {
        let spare_bytes = self.terms.pace.spare_bytes;
        super::is_room_beside(self.keep.folder(), &self.wanted.name, bytes, spare_bytes)
    }

    /// Looks now and then whether more of a file of unknown length finds room.
    fn is_room_for_more(&mut self) -> Result<(), Error> {
        let (done, step) = (self.done.bytes(), self.terms.pace.room_bytes);
        if self.whole.is_some() || done < self.room_seen_at.saturating_add(step) {
            return Ok(());
        }
        self.room_seen_at = done;
        self.has_room_for(step)
    }

    fn ended(&mut self, slot: usize, outcome: Result<Outcome, Fault>) -> Result<(), Error> {
        let now = self.began.elapsed();
        let Some(busy) = self.busy[slot].take() else { return Ok(()) };
        self.origins.brought(busy.origin, busy.bytes, busy.since.elapsed());
        let end = match outcome {
            Ok(Outcome::Over) => End::Well,
            Ok(Outcome::EndsAt(whole)) if self.done.end() > whole => {
                self.changed(Identity { bytes: None, ..self.keep.identity() })?;
                End::Well
            }
            Ok(Outcome::EndsAt(whole)) => {
                self.whole = Some(whole);
                self.plan.bound(whole);
                End::Well
            }
            Err(fault) => self.faulty(busy.origin, fault)?,
        };
        self.plan.ended(slot, end, now);
        Ok(())
    }

    /// What a fault means for the address.
    fn faulty(&mut self, origin: usize, fault: Fault) -> Result<End, Error> {
        let now = self.began.elapsed();
        match fault {
            Fault::Passing { why, after, is_crowded } => {
                let until = after.map(|after| now + after.min(self.terms.pace.retry_after_max));
                let is_first = self.keep.identity().address.is_empty();
                self.progress.waits_for(Some(why.to_string()));
                self.origins.failed(origin, &why, until, is_first, &self.terms.pace);
                if is_crowded {
                    self.plan.narrow(now);
                }
                Ok(End::Failed)
            }
            Fault::Refused { why, was_known_place } => {
                self.progress.waits_for(Some(why.to_string()));
                self.origins.refused(origin, why, was_known_place, now, &self.terms.pace);
                Ok(if was_known_place { End::Elsewhere } else { End::Failed })
            }
            Fault::NoRanges => {
                let counts = self.origins.lacks_ranges(origin);
                Ok(if counts { End::Elsewhere } else { End::Failed })
            }
            Fault::Lie(what) => {
                self.progress.waits_for(Some(what.clone()));
                self.origins.lied(origin, what);
                Ok(End::Failed)
            }
            Fault::Changed(identity) => {
                self.changed(identity)?;
                Ok(End::Elsewhere)
            }
            Fault::Final(error) => Err(error),
        }
    }

    fn changed(&mut self, identity: Identity) -> Result<(), Error> {
        if self.replacement.is_some() {
            return Ok(());
        }
        self.changes += 1;
        if self.changes > limits::CHANGES_MAX {
            let name = self.wanted.name.clone();
            return Err(Error::Changing { name, times: self.changes });
        }
        self.replacement = Some(identity);
        let now = self.began.elapsed();
        for step in self.plan.close_all() {
            self.carry_out(step, now);
        }
        Ok(())
    }

    fn take_followed(&mut self, followed: Followed) -> Result<(), Error> {
        match followed {
            Followed::Hashed(bytes) => self.hash.bytes = bytes,
            Followed::Whole(digest) => self.hash.digest = Some(digest),
            Followed::Damaged(range) => {
                self.done.remove(range.clone());
                self.plan.lost(range);
                self.hash.is_told_of_end = false;
                self.hash.tell(Told::Again(self.done.prefix()));
            }
            Followed::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn show(&mut self) {
        let now = self.began.elapsed();
        let wait = self.plan.waits_until(now).max(self.origins.waits_until(now));
        let state = if self.plan.is_done() {
            let percent = self.hash.bytes * 100 / self.whole.unwrap_or(1).max(1);
            Some(format!("checking its digest: {percent} %"))
        } else if self.trust == Trust::Compared {
            Some("its digest is wrong: comparing it with what comes a second time".to_owned())
        } else {
            None
        };
        let wait = wait.filter(|_| self.plan.connections() == 0).map(|until| until - now);
        self.progress.show(self.done.bytes(), self.whole, self.plan.connections(), wait, state);
    }

    async fn finish(
        mut self,
        digest: Sha256,
        bytes: u64,
    ) -> Result<(PathBuf, Sha256, u64, Arc<Keep>), Error> {
        self.progress.end(bytes);
        let keep = Arc::clone(&self.keep);
        let path = match tokio::task::spawn_blocking(move || keep.finish(digest, bytes)).await {
            Ok(path) => path?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        Ok((path, digest, bytes, self.keep))
    }
}

impl Hash {
    fn new(keep: &Arc<Keep>, doubtful: Pieces, prefix: u64) -> Self {
        let (sender, followed) = mpsc::unbounded_channel();
        let told = follow(keep, doubtful, move |followed| {
            // Nobody listens any more when the transfer was dropped or began anew.
            let _gone = sender.send(followed);
        });
        let hash = Self { told, followed, is_told_of_end: false, bytes: 0, digest: None };
        hash.tell(Told::Prefix(prefix));
        hash
    }

    fn tell(&self, told: Told) {
        // It has ended only when it has said why.
        let _ended = self.told.send(told);
    }
}
