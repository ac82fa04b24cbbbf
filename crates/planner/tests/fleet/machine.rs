//! A simulated machine: processes that load slowly, fail, crash, grow and leave late, requests that
//! use them for a while or vanish. It keeps its own books and shares no arithmetic with the fleet:
//! bytes are counted by process, from the start until the exit has happened. What must hold by these
//! books is in `checks`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use planner::fleet::{
    Action, Event, Explanation, Fleet, Model, Policy, Pressure, Priority, RequestId, Terms, When,
    WorkerId,
    limits::{BACKGROUND_FAIR_WAIT, FAIR_WAIT, LOAD_FAILURES_MAX},
};

use crate::lies::Lie;

/// What a model is like when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nature {
    /// What it is said to need.
    pub(crate) promised_bytes: u64,
    /// What it really takes once it is loaded.
    pub(crate) real_bytes: u64,
    /// The letter of its group.
    pub(crate) group: Option<char>,
    pub(crate) pinned: bool,
    pub(crate) idle_unload: Option<Duration>,
    /// How long it is said to load.
    pub(crate) load_time: Duration,
    /// Whether it is said to be used once: then nothing may be remembered of it.
    pub(crate) once: bool,
}

impl Nature {
    pub(crate) fn of(bytes: u64) -> Self {
        Self {
            promised_bytes: bytes,
            real_bytes: bytes,
            group: None,
            pinned: false,
            idle_unload: None,
            load_time: Duration::ZERO,
            once: false,
        }
    }
}

/// What will become of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    /// How long it loads.
    pub(crate) load: Duration,
    /// Whether it exits then instead of being ready.
    pub(crate) fails: bool,
    /// How long it takes to be gone once it was told to stop.
    pub(crate) exit: Duration,
}

impl Default for Fate {
    fn default() -> Self {
        Self { load: Duration::from_secs(2), fails: false, exit: Duration::from_secs(1) }
    }
}

/// What a request is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub(crate) model: usize,
    pub(crate) uses_for: Duration,
    pub(crate) priority: Priority,
    pub(crate) keep_alive: Option<Duration>,
}

pub(crate) struct Machine {
    fleet: Fleet,
    pub(crate) policy: Policy,
    pub(crate) now: Duration,
    pub(crate) natures: Vec<Nature>,
    /// Fates of the processes to come; then the default.
    pub(crate) fates: Vec<Fate>,
    pub(crate) processes: BTreeMap<WorkerId, Process>,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    /// Who waits, in the order of arrival.
    pub(crate) waiting: Vec<RequestId>,
    /// What will happen, ordered by time and then by when it was set up.
    agenda: BTreeMap<(Duration, u64), Happening>,
    agenda_length: u64,
    /// What is known of each model, by its number.
    pub(crate) known: BTreeMap<usize, Known>,
    pub(crate) warm: Option<Warm>,
    pub(crate) pressure: Pressure,
    pub(crate) last_exit: Option<Duration>,
    pub(crate) shut_down: bool,
    /// What may be refused or stopped as an answer to the event in hand.
    pub(crate) cause: Cause,
    /// What the fleet is told wrongly, or heard wrongly.
    pub(crate) lie: Option<Lie>,
    pub(crate) log: Vec<(Duration, Action)>,
    pub(crate) longest_wait: Duration,
    /// The longest wait beyond a request's own fair wait.
    pub(crate) longest_excess: Duration,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) model: usize,
    pub(crate) state: State,
    /// Bytes that are not free because of it, as far as anyone could know.
    pub(crate) held_bytes: u64,
    pub(crate) fate: Fate,
    pub(crate) users: BTreeSet<RequestId>,
    pub(crate) unused_since: Duration,
    /// How long it is to stay unused by the word of whoever used it last.
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) was_used: bool,
    pub(crate) has_served: bool,
    pub(crate) was_trimmed: bool,
    /// Models that left while only its own was waited for.
    pub(crate) made_room: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Loading,
    Ready,
    /// It was told to stop.
    Told,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) want: Want,
    pub(crate) since: Duration,
    pub(crate) state: RequestState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestState {
    Waiting,
    Using(WorkerId),
    Over,
}

/// What is known of one model.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Its terms as the fleet was last told; `None` before that.
    pub(crate) terms: Option<Nature>,
    /// The operator's word on pinning it.
    pub(crate) pin: Option<bool>,
    /// It is not served any more, and nobody has wanted it since.
    pub(crate) withdrawn: bool,
    /// The most that a process of it was seen to hold.
    pub(crate) peak_bytes: u64,
    /// When it failed since it last served.
    pub(crate) failures: Vec<Duration>,
    /// For how long it is left alone after the last failure.
    pub(crate) cool_off: Duration,
    /// Whether a process of it ever made room for another.
    pub(crate) was_evicted: bool,
    /// Models that left while only this one was waited for, and it has not started since.
    pub(crate) made_room: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Warm {
    pub(crate) model: usize,
    /// Since when nothing has spoken against starting it.
    pub(crate) quiet_since: Duration,
    /// It was chosen, and nothing was wanted since.
    pub(crate) is_fresh: bool,
    /// The operator stopped it, and nobody has wanted it since.
    pub(crate) stopped: bool,
}

#[derive(Debug, Clone, Copy)]
enum Happening {
    LoadEnds(WorkerId),
    Exit(WorkerId),
    UseEnds(RequestId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    Nothing,
    LoadFailed { model: usize, made_room: Vec<usize> },
    OperatorStops(usize),
}

impl Machine {
    pub(crate) fn new(budget_bytes: u64, idle_unload: Duration, natures: &[Nature]) -> Self {
        let policy = Policy { budget_bytes, idle_unload, exclusive: BTreeSet::new() };
        Self {
            fleet: Fleet::new(policy.clone()),
            policy,
            now: Duration::ZERO,
            natures: natures.to_vec(),
            fates: Vec::new(),
            processes: BTreeMap::new(),
            requests: BTreeMap::new(),
            waiting: Vec::new(),
            agenda: BTreeMap::new(),
            agenda_length: 0,
            known: BTreeMap::new(),
            warm: None,
            pressure: Pressure::Calm,
            last_exit: None,
            shut_down: false,
            cause: Cause::Nothing,
            lie: None,
            log: Vec::new(),
            longest_wait: Duration::ZERO,
            longest_excess: Duration::ZERO,
        }
    }

    /// A request arrives that will use the model for a while once it may.
    pub(crate) fn want(&mut self, model: usize, uses_for: Duration) -> RequestId {
        let priority = Priority::Interactive;
        self.want_so(Want { model, uses_for, priority, keep_alive: None })
    }

    pub(crate) fn want_so(&mut self, want: Want) -> RequestId {
        let request = RequestId(self.requests.len() as u64);
        let state = RequestState::Waiting;
        self.requests.insert(request, Request { want, since: self.now, state });
        self.waiting.push(request);
        let nature = self.natures[want.model];
        let known = self.known.entry(want.model).or_default();
        let was_withdrawn = std::mem::take(&mut known.withdrawn);
        let before = known.terms.replace(nature);
        if let Some(warm) = &mut self.warm {
            warm.quiet_since = self.now;
            warm.is_fresh = false;
            warm.stopped &= warm.model != want.model;
        }
        let foretold = self.fleet.what_if(self.when(), &name(want.model), &terms(&nature)).verdict;
        let done_before = self.log.len();
        self.tell(Event::Wanted {
            request,
            model: name(want.model),
            terms: terms(&nature),
            priority: want.priority,
            keep_alive: want.keep_alive,
        });
        // Other terms may change what becomes of others first.
        let same_terms = before.is_none_or(|before| before == nature) && !was_withdrawn;
        if want.priority == Priority::Interactive && same_terms {
            self.check_foretold(request, &foretold, done_before);
        }
        // Each fourth is enough, and saves a third of the time.
        if request.0.is_multiple_of(4) {
            self.check_told(request);
            self.check_verdicts();
        }
        request
    }

    /// The nth of those that wait, if there are so many, gives up.
    pub(crate) fn abandon(&mut self, nth: usize) {
        let Some(request) = self.waiting.get(nth).copied() else { return };
        self.answered(request, RequestState::Over);
        self.tell(Event::Abandoned { request });
    }

    /// The nth process dies on its own.
    pub(crate) fn crash(&mut self, nth: usize) {
        if let Some(id) = self.processes.keys().nth(nth).copied() {
            self.exit(id);
        }
    }

    /// The nth process takes more than before, if it is ready, and is measured.
    pub(crate) fn grow(&mut self, nth: usize, bytes: u64) {
        let Some((id, process)) = self.processes.iter_mut().nth(nth) else { return };
        let (id, model) = (*id, process.model);
        if process.state == State::Loading {
            return;
        }
        process.held_bytes = process.held_bytes.max(bytes);
        self.seen(model, bytes);
        self.tell(Event::Measured { worker: id, bytes });
    }

    pub(crate) fn operator_stops(&mut self, model: usize) {
        self.cause = Cause::OperatorStops(model);
        if let Some(warm) = &mut self.warm {
            warm.stopped |= warm.model == model;
        }
        for known in self.known.values_mut() {
            known.made_room.retain(|gone| *gone != model);
        }
        for process in self.processes.values_mut() {
            process.made_room.retain(|gone| *gone != model);
        }
        self.tell(Event::StopAsked { name: name(model).name });
        for process in self.processes.values().filter(|process| process.model == model) {
            assert_eq!(process.state, State::Told, "the operator's stop was ignored");
        }
    }

    pub(crate) fn pin(&mut self, model: usize, pinned: Option<bool>) {
        self.known.entry(model).or_default().pin = pinned;
        self.tell(Event::PinAsked { name: name(model).name, pinned });
    }

    pub(crate) fn choose_warm(&mut self, model: Option<usize>) {
        let chosen = model.filter(|_| !self.shut_down);
        self.warm = chosen.map(|model| Warm {
            model,
            quiet_since: self.now,
            is_fresh: true,
            stopped: false,
        });
        let warm = model.map(|model| {
            let nature = self.natures[model];
            let known = self.known.entry(model).or_default();
            (known.terms, known.withdrawn) = (Some(nature), false);
            (name(model), terms(&nature))
        });
        self.tell(Event::WarmChosen { warm });
    }

    pub(crate) fn set_policy(&mut self, budget_bytes: u64, exclusive: &[char]) {
        let exclusive = exclusive.iter().map(|letter| group(*letter)).collect();
        self.policy = Policy { budget_bytes, exclusive, ..self.policy.clone() };
        self.tell(Event::PolicyChanged { policy: self.policy.clone(), models: Vec::new() });
    }

    /// The budget is another, and so is what holds for a model, or it is not served any more.
    pub(crate) fn reconfigure(&mut self, budget_bytes: u64, model: usize, terms_now: bool) {
        self.policy.budget_bytes = budget_bytes;
        if terms_now {
            let known = self.known.entry(model).or_default();
            if known.terms.is_some() {
                (known.terms, known.withdrawn) = (Some(self.natures[model]), false);
            }
        } else {
            self.forget_withdrawn(model);
        }
        let now = terms_now.then(|| terms(&self.natures[model]));
        let models = vec![(name(model), now)];
        self.tell(Event::PolicyChanged { policy: self.policy.clone(), models });
    }

    /// A model is not served any more.
    pub(crate) fn withdraw(&mut self, model: usize) {
        self.forget_withdrawn(model);
        self.tell(Event::Withdrawn { model: name(model) });
    }

    fn forget_withdrawn(&mut self, model: usize) {
        let known = self.known.entry(model).or_default();
        known.withdrawn = known.terms.is_some();
        self.warm.take_if(|warm| warm.model == model);
        for known in self.known.values_mut() {
            known.made_room.retain(|gone| *gone != model);
        }
        for process in self.processes.values_mut() {
            process.made_room.retain(|gone| *gone != model);
        }
    }

    pub(crate) fn press(&mut self, level: Pressure) {
        self.pressure = level;
        if level == Pressure::Calm {
            self.processes.values_mut().for_each(|process| process.was_trimmed = false);
        }
        self.tell(Event::Pressure { level });
    }

    pub(crate) fn shut_down(&mut self) {
        self.shut_down = true;
        self.warm = None;
        self.tell(Event::ShutdownAsked);
        assert!(self.processes.values().all(|process| process.state == State::Told));
        assert_eq!(self.waiting, []);
    }

    /// Time passes, and what is due happens in its order.
    pub(crate) fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((next, is_due)) = self.next() {
            if next > until {
                break;
            }
            self.advance_to(next, is_due);
        }
        self.now = until;
    }

    /// Until nothing more can happen but time: nobody may wait then.
    pub(crate) fn settle(&mut self) {
        let mut steps = 0;
        while !(self.agenda.is_empty() && self.waiting.is_empty()) {
            let Some((next, is_due)) = self.next() else { break };
            self.advance_to(next, is_due);
            steps += 1;
            assert!(steps < 10_000, "it never comes to rest");
        }
        assert_eq!(self.waiting, [], "someone waits for nothing");
        let waits = self.fleet.waiting();
        assert_eq!(waits, 0);
    }

    pub(crate) fn is_using(&self, request: RequestId) -> bool {
        matches!(self.requests[&request].state, RequestState::Using(_))
    }

    pub(crate) fn waits(&self, request: RequestId) -> bool {
        self.requests[&request].state == RequestState::Waiting
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub(crate) fn when(&self) -> When {
        When(self.now)
    }

    /// What would happen to a request for a model of this nature.
    pub(crate) fn explain(&self, model: usize) -> Explanation {
        let nature = &self.natures[model];
        self.fleet.what_if(self.when(), &name(model), &terms(nature))
    }

    pub(crate) fn starts(&self) -> usize {
        self.log.iter().filter(|(_, action)| matches!(action, Action::Start { .. })).count()
    }

    /// Models that have a process which was not told to stop.
    pub(crate) fn has_live(&self, model: usize) -> bool {
        let live = |process: &Process| process.model == model && process.state != State::Told;
        self.processes.values().any(live)
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.processes.values().map(|process| process.held_bytes).sum()
    }

    /// What is booked for a process of this model when it starts.
    pub(crate) fn need(&self, model: usize) -> u64 {
        let known = &self.known[&model];
        known.terms.map_or(0, |terms| terms.promised_bytes).max(known.peak_bytes)
    }

    pub(crate) fn is_pinned(&self, model: usize) -> bool {
        let known = &self.known[&model];
        let pinned = known.pin.unwrap_or(known.terms.is_some_and(|terms| terms.pinned));
        pinned && !known.withdrawn
    }

    /// Its group, if that is exclusive now.
    pub(crate) fn group(&self, model: usize) -> Option<char> {
        let letter = self.known[&model].terms.and_then(|terms| terms.group)?;
        self.policy.exclusive.contains(&group(letter)).then_some(letter)
    }

    /// When the turn of this request comes.
    pub(crate) fn turn(&self, request: RequestId) -> Duration {
        let Request { want, since, .. } = &self.requests[&request];
        *since + fair_wait(want.priority)
    }

    pub(crate) fn answered(&mut self, request: RequestId, state: RequestState) {
        self.waiting.retain(|waiting| *waiting != request);
        let answered = self.requests.get_mut(&request).unwrap();
        answered.state = state;
        let wait = self.now - answered.since;
        let excess = wait.saturating_sub(fair_wait(answered.want.priority));
        self.longest_wait = self.longest_wait.max(wait);
        self.longest_excess = self.longest_excess.max(excess);
    }

    pub(crate) fn load_starts(&mut self, id: WorkerId, load: Duration) {
        self.set_up(load, Happening::LoadEnds(id));
    }

    pub(crate) fn use_starts(&mut self, request: RequestId, uses_for: Duration) {
        if uses_for < Duration::MAX {
            self.set_up(uses_for, Happening::UseEnds(request));
        }
    }

    pub(crate) fn exit_starts(&mut self, id: WorkerId, exit: Duration) {
        self.set_up(exit, Happening::Exit(id));
    }

    /// What happens next, and whether by the machine's doing or by the fleet's alarm.
    fn next(&self) -> Option<(Duration, bool)> {
        let due = self.agenda.first_key_value().map(|((when, _), _)| *when);
        let deadline = self.fleet.next_deadline().map(|(when, _)| when.0);
        let next = due.into_iter().chain(deadline).min()?;
        Some((next, due == Some(next)))
    }

    fn advance_to(&mut self, when: Duration, is_due: bool) {
        self.now = when;
        if !is_due {
            self.tell(Event::Tick);
            return;
        }
        let Some((_, happening)) = self.agenda.pop_first() else { return };
        match happening {
            Happening::LoadEnds(id) => self.load_ends(id),
            Happening::Exit(id) => self.exit(id),
            Happening::UseEnds(request) => self.use_ends(request),
        }
    }

    fn load_ends(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.fate.fails {
            self.exit(id);
            return;
        }
        let model = process.model;
        let measured_bytes = self.natures[model].real_bytes;
        process.held_bytes = process.held_bytes.max(measured_bytes);
        // One that was told to stop in the meantime may still say that it is ready.
        if process.state == State::Loading {
            process.state = State::Ready;
            process.unused_since = now;
        }
        self.seen(model, measured_bytes);
        self.tell(Event::Ready { worker: id, measured_bytes });
    }

    fn exit(&mut self, id: WorkerId) {
        let Some(process) = self.processes.remove(&id) else { return };
        let model = process.model;
        self.last_exit = Some(self.now);
        if process.state != State::Told && !process.has_served && !self.natures[model].once {
            self.failed(model);
        }
        if process.state == State::Loading {
            self.cause = Cause::LoadFailed { model, made_room: process.made_room };
        }
        if let Some(warm) = &mut self.warm
            && warm.model == model
        {
            warm.quiet_since = self.now;
            warm.is_fresh = false;
        }
        for request in &process.users {
            self.requests.get_mut(request).unwrap().state = RequestState::Over;
        }
        self.tell(Event::Exited { worker: id, reason: format!("exit of {}", id.0) });
        // They notice later, when the fleet knows already.
        for request in process.users {
            self.tell(Event::Released { request });
        }
    }

    /// The first few failures in a row lead to a pause of a minute, each later one doubles it.
    fn failed(&mut self, model: usize) {
        let now = self.now;
        let known = self.known.entry(model).or_default();
        if known.failures.last().is_some_and(|last| now - *last > Duration::from_secs(1_800)) {
            known.failures.clear();
            known.cool_off = Duration::ZERO;
        }
        known.failures.push(now);
        let third_last = known.failures.len().checked_sub(LOAD_FAILURES_MAX);
        let three_soon =
            third_last.is_some_and(|first| now - known.failures[first] <= Duration::from_secs(120));
        if known.cool_off > Duration::ZERO {
            known.cool_off = (known.cool_off * 2).min(Duration::from_secs(900));
        } else if three_soon {
            known.cool_off = Duration::from_secs(60);
        }
    }

    fn use_ends(&mut self, request: RequestId) {
        let now = self.now;
        let RequestState::Using(id) = self.requests[&request].state else { return };
        let ended = self.requests.get_mut(&request).unwrap();
        ended.state = RequestState::Over;
        let keep_alive = ended.want.keep_alive;
        if let Some(process) = self.processes.get_mut(&id) {
            process.users.remove(&request);
            process.unused_since = now;
            process.keep_alive = keep_alive;
            process.has_served = true;
            let known = self.known.entry(process.model).or_default();
            known.failures.clear();
            known.cool_off = Duration::ZERO;
        }
        self.tell(Event::Released { request });
    }

    fn seen(&mut self, model: usize, bytes: u64) {
        if self.natures[model].once {
            return;
        }
        let known = self.known.entry(model).or_default();
        known.peak_bytes = known.peak_bytes.max(bytes);
    }

    fn tell(&mut self, event: Event) {
        let mut heard = Vec::new();
        match self.lie {
            Some(lie) => lie.tell(self.when(), event, &mut self.fleet, &mut heard),
            None => self.fleet.handle(self.when(), event, &mut heard),
        }
        self.obey(heard);
        self.cause = Cause::Nothing;
    }

    fn set_up(&mut self, wait: Duration, happening: Happening) {
        self.agenda_length += 1;
        self.agenda.insert((self.now + wait, self.agenda_length), happening);
    }
}

pub(crate) fn fair_wait(priority: Priority) -> Duration {
    match priority {
        Priority::Interactive => FAIR_WAIT,
        Priority::Background => BACKGROUND_FAIR_WAIT,
    }
}

pub(crate) fn terms(nature: &Nature) -> Terms {
    Terms {
        bytes: nature.promised_bytes,
        group: nature.group.map(group),
        pinned: nature.pinned,
        idle_unload: nature.idle_unload,
        load_time: nature.load_time,
        once: nature.once,
    }
}

pub(crate) fn name(model: usize) -> Model {
    Model { name: model.to_string().into(), version: 0 }
}

pub(crate) fn number(model: &Model) -> usize {
    model.name.parse().unwrap()
}

fn group(letter: char) -> Arc<str> {
    letter.to_string().into()
}
