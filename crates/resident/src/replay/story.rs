//! A journal's entries in words, one line each.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};
use planner::fleet::{
    Action, Event, Fleet, Model, Policy, Pressure, RequestId, Terms, Turn, When, WorkerId,
};
use supervisor::Happening;

use crate::{duration, explain::words, size, terminal};

/// Columns of the moments before the words; a run of eleven days fits.
const MOMENT_COLUMNS: usize = 13;

/// What has to be remembered, so that workers and requests can be called by their models.
#[derive(Debug, Default)]
pub(super) struct Story {
    workers: BTreeMap<WorkerId, Arc<str>>,
    requests: BTreeMap<RequestId, Arc<str>>,
    clock: Clock,
}

/// How moments of the calendar are shown.
#[derive(Debug)]
pub(super) struct Clock(TimeZone);

impl Default for Clock {
    /// As clocks show it where the program runs.
    fn default() -> Self {
        Self(TimeZone::system())
    }
}

impl Clock {
    fn of(&self, unix_s: u64) -> String {
        let timestamp =
            i64::try_from(unix_s).ok().and_then(|unix_s| Timestamp::from_second(unix_s).ok());
        match timestamp {
            Some(timestamp) => {
                timestamp.to_zoned(self.0.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
            }
            // No clock is that wrong.
            None => "an unknown day".to_owned(),
        }
    }
}

impl Story {
    /// A story whose moments are shown in this zone.
    #[cfg(test)]
    pub(super) fn in_zone(zone: TimeZone) -> Self {
        Self { clock: Clock(zone), ..Self::default() }
    }

    /// The entries, one line each.
    pub(super) fn lines(&mut self, entries: &[Happening]) -> Vec<String> {
        entries.iter().map(|entry| terminal::inert(&self.line(entry)).replace('\n', " ")).collect()
    }

    fn line(&mut self, entry: &Happening) -> String {
        match entry {
            Happening::Began { version, policy, unix_s } => format!(
                "{:>MOMENT_COLUMNS$}  a hub of version {version} began on {}, with {}",
                When::default().to_string(),
                self.clock.of(*unix_s),
                budget(policy)
            ),
            Happening::Continues { version, unix_s, at, fleet } => {
                self.knows(When(*at), fleet);
                format!(
                    "{:>MOMENT_COLUMNS$}  a hub of version {version} goes on at {}: {} of {} are booked, \
                     {} {}",
                    When(*at).to_string(),
                    self.clock.of(*unix_s),
                    size::format(fleet.booked_bytes()),
                    size::format(fleet.budget_bytes()),
                    words::requests(fleet.waiting()),
                    words::verb(fleet.waiting(), "waits", "wait")
                )
            }
            Happening::Ended { reason } => {
                format!("{:>MOMENT_COLUMNS$}  nothing is written after this: {reason}", "")
            }
            Happening::Lost { entries } => {
                format!("{:>MOMENT_COLUMNS$}  {entries} entries are missing", "")
            }
            Happening::Told { at, event, actions } => {
                let told = self.told(event);
                let decided = self.decided(actions);
                format!("{:>MOMENT_COLUMNS$}  {told}: {decided}", When(*at).to_string())
            }
        }
    }

    /// Who there is when a file begins in the middle of a run.
    fn knows(&mut self, now: When, fleet: &Fleet) {
        let rows = fleet.ledger().explain().into_iter();
        self.workers.extend(rows.map(|row| (row.worker, row.entry.model.name)));
        for (request, turn) in fleet.turns(now) {
            let model = match turn {
                Turn::Waiting(wait) => Some(wait.model.name),
                Turn::Using(worker) => self.workers.get(&worker).cloned(),
            };
            self.requests.extend(model.map(|model| (request, model)));
        }
    }

    fn told(&mut self, event: &Event) -> String {
        match event {
            Event::Wanted { request, model, terms, priority, keep_alive } => {
                self.requests.insert(*request, Arc::clone(&model.name));
                let background = words::priority(*priority);
                let stay = keep_alive.map_or_else(String::new, |stay| {
                    format!(", to stay for {}", duration::format(stay))
                });
                format!("request {} wants {}{background}{stay}", request.0, treated(model, terms))
            }
            Event::Abandoned { request } => format!("{} gave up", self.request(*request)),
            Event::Ready { worker, measured_bytes } => format!(
                "{} is loaded and holds {}",
                self.worker(*worker),
                size::format(*measured_bytes)
            ),
            Event::Measured { worker, bytes } => {
                format!("{} holds {}", self.worker(*worker), size::format(*bytes))
            }
            Event::Exited { worker, reason } => {
                format!("{} is gone ({reason})", self.worker(*worker))
            }
            Event::Released { request } => format!("{} is done", self.request(*request)),
            Event::StopAsked { name } => format!("the operator stops {name}"),
            Event::PinAsked { name, pinned } => match pinned {
                Some(true) => format!("the operator pins {name}"),
                Some(false) => format!("the operator unpins {name}"),
                None => format!("the operator takes back any word on pinning {name}"),
            },
            Event::WarmChosen { warm: Some((model, terms)) } => {
                format!("{} is to be kept warm", treated(model, terms))
            }
            Event::WarmChosen { warm: None } => "no model is to be kept warm".to_owned(),
            Event::PolicyChanged { policy, models } => {
                let models = models.iter().map(|(model, terms)| match terms {
                    Some(terms) => format!(", {} is treated so", treated(model, terms)),
                    None => format!(", {} is not served any more as it was", model.name),
                });
                format!("from now on there is {}{}", budget(policy), models.collect::<String>())
            }
            Event::Withdrawn { model } => {
                format!("{} is not served any more as it was", model.name)
            }
            Event::Pressure { level } => match level {
                Pressure::Calm => "the machine has enough memory",
                Pressure::Some => "the machine begins to be short of memory",
                Pressure::Full => "the machine is about to swap",
            }
            .to_owned(),
            Event::ShutdownAsked => "the hub is to stop".to_owned(),
            Event::Tick => "time has passed".to_owned(),
        }
    }

    /// What was decided, in this order.
    pub(super) fn decided(&mut self, actions: &[Action]) -> String {
        if actions.is_empty() {
            return "nothing to do".to_owned();
        }
        let actions: Vec<String> = actions.iter().map(|action| self.action(action)).collect();
        actions.join("; ")
    }

    fn action(&mut self, action: &Action) -> String {
        match action {
            Action::Start { worker, model } => {
                self.workers.insert(*worker, Arc::clone(&model.name));
                format!("load {}", model.name)
            }
            Action::Stop { worker, why } => format!("stop {}, because {why}", self.worker(*worker)),
            Action::Grant { request, worker: _ } => format!("let in {}", self.request(*request)),
            Action::Trim { worker } => {
                format!("ask {} for what it can do without", self.worker(*worker))
            }
            Action::Refuse { request, reason } => {
                format!("refuse {}: {}", self.request(*request), words::refusal(reason))
            }
        }
    }

    fn worker(&self, worker: WorkerId) -> String {
        let name = self.workers.get(&worker);
        name.map_or_else(|| format!("worker {}", worker.0), ToString::to_string)
    }

    fn request(&self, request: RequestId) -> String {
        match self.requests.get(&request) {
            Some(model) => format!("request {} ({model})", request.0),
            None => format!("request {}", request.0),
        }
    }
}

/// A model with what it is treated by.
fn treated(model: &Model, terms: &Terms) -> String {
    let group = terms.group.as_ref().map_or_else(String::new, |group| format!(" of '{group}'"));
    let pinned = if terms.pinned { ", pinned" } else { "" };
    format!("{} ({}{group}{pinned})", model.name, size::format(terms.bytes))
}

fn budget(policy: &Policy) -> String {
    let groups: Vec<&str> = policy.exclusive.iter().map(|group| &**group).collect();
    let one_at_a_time = match groups.len() {
        0 => String::new(),
        _ => format!(", one at a time of each group: {}", groups.join(", ")),
    };
    format!("{} for models{one_at_a_time}", size::format(policy.budget_bytes))
}
