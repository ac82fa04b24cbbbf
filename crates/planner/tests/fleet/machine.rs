//! A simulated machine: processes that load slowly, fail, crash and leave late, requests that use
//! them for a while. It checks every action of the fleet against its own books: bytes are counted
//! by process, from the start until the exit has happened, and every refusal has a condition that
//! must be true by these books.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use planner::fleet::{
    Action, Event, Fleet, Model, Refusal, RequestId, StopReason, When, WorkerId,
    limits::{
        COOL_OFF, FAILURE_WINDOW, LEASES_PER_WORKER_MAX, LOAD_FAILURES_MAX, WAIT_MAX, WAITING_MAX,
    },
};

/// What a model is like when it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nature {
    /// What it is said to need.
    pub(crate) promised_bytes: u64,
    /// What it really takes once it is loaded.
    pub(crate) real_bytes: u64,
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

pub(crate) struct Machine {
    fleet: Fleet,
    budget_bytes: u64,
    idle_unload: Duration,
    now: Duration,
    natures: Vec<Nature>,
    /// Fates of the processes to come; then the default.
    pub(crate) fates: Vec<Fate>,
    processes: BTreeMap<WorkerId, Process>,
    requests: BTreeMap<RequestId, Request>,
    /// What will happen, ordered by time and then by when it was set up.
    agenda: BTreeMap<(Duration, u64), Happening>,
    agenda_length: u64,
    failures: BTreeMap<usize, Vec<Duration>>,
    shut_down: bool,
    /// What may be refused or stopped as an answer to the event in hand.
    cause: Cause,
    pub(crate) log: Vec<(Duration, Action)>,
    pub(crate) longest_wait: Duration,
}

#[derive(Debug)]
struct Process {
    model: usize,
    state: State,
    /// Bytes that are not free because of it, as far as anyone could know.
    held_bytes: u64,
    fate: Fate,
    users: BTreeSet<RequestId>,
    unused_since: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Loading,
    Ready,
    /// It was told to stop.
    Told,
}

#[derive(Debug)]
struct Request {
    model: usize,
    uses_for: Duration,
    since: Duration,
    state: RequestState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestState {
    Waiting,
    Using(WorkerId),
    Over,
}

#[derive(Debug, Clone, Copy)]
enum Happening {
    LoadEnds(WorkerId),
    Exit(WorkerId),
    UseEnds(RequestId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Nothing,
    LoadFailed(usize),
    OperatorStops(usize),
}

impl Machine {
    pub(crate) fn new(budget_bytes: u64, idle_unload: Duration, natures: &[Nature]) -> Self {
        Self {
            fleet: Fleet::new(budget_bytes, idle_unload),
            budget_bytes,
            idle_unload,
            now: Duration::ZERO,
            natures: natures.to_vec(),
            fates: Vec::new(),
            processes: BTreeMap::new(),
            requests: BTreeMap::new(),
            agenda: BTreeMap::new(),
            agenda_length: 0,
            failures: BTreeMap::new(),
            shut_down: false,
            cause: Cause::Nothing,
            log: Vec::new(),
            longest_wait: Duration::ZERO,
        }
    }

    /// A request arrives that will use the model for a while once it may.
    pub(crate) fn want(&mut self, model: usize, uses_for: Duration) -> RequestId {
        let request = RequestId(self.requests.len() as u64);
        let state = RequestState::Waiting;
        self.requests.insert(request, Request { model, uses_for, since: self.now, state });
        let bytes = self.natures[model].promised_bytes;
        self.tell(Event::Wanted { request, model: name(model), bytes });
        let hopeless = bytes > self.budget_bytes || self.shut_down;
        assert!(!hopeless || !self.waits(request), "{request:?} waits although it is hopeless");
        request
    }

    /// The nth of those that wait, if there are so many, gives up.
    pub(crate) fn abandon(&mut self, nth: usize) {
        let Some(request) = self.waiting().get(nth).copied() else { return };
        self.request(request).state = RequestState::Over;
        self.tell(Event::Abandoned { request });
    }

    /// The nth process dies on its own.
    pub(crate) fn crash(&mut self, nth: usize) {
        if let Some(id) = self.processes.keys().nth(nth).copied() {
            self.exit(id);
        }
    }

    pub(crate) fn operator_stops(&mut self, model: usize) {
        self.cause = Cause::OperatorStops(model);
        self.tell(Event::StopAsked { name: name(model).name });
        for process in self.processes.values().filter(|process| process.model == model) {
            assert_eq!(process.state, State::Told, "the operator's stop was ignored");
        }
    }

    pub(crate) fn shut_down(&mut self) {
        self.shut_down = true;
        self.tell(Event::ShutdownAsked);
        assert!(self.processes.values().all(|process| process.state == State::Told));
        assert_eq!(self.waiting(), []);
    }

    /// Time passes, and what is due happens in its order.
    pub(crate) fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let due = self.agenda.first_key_value().map(|((when, _), _)| *when);
            let deadline = self.fleet.next_deadline().map(|(when, _)| when.0);
            match due.into_iter().chain(deadline).min() {
                Some(next) if next <= until => self.advance_to(next, due == Some(next)),
                Some(_) | None => break,
            }
        }
        self.now = until;
    }

    /// Until nothing more can happen but time: nobody may wait then.
    pub(crate) fn settle(&mut self) {
        let mut steps = 0;
        while let Some(((when, _), _)) = self.agenda.first_key_value() {
            let when = *when;
            self.advance(when - self.now);
            steps += 1;
            assert!(steps < 100_000, "it never comes to rest");
        }
        assert_eq!(self.waiting(), [], "someone waits for nothing");
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

    pub(crate) fn now(&self) -> When {
        When(self.now)
    }

    /// Every start is for somebody's sake, so there are never more than requests.
    pub(crate) fn starts(&self) -> usize {
        self.log.iter().filter(|(_, action)| matches!(action, Action::Start { .. })).count()
    }

    pub(crate) fn wanted(&self) -> usize {
        self.requests.len()
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
        let measured_bytes = self.natures[process.model].real_bytes;
        process.held_bytes = process.held_bytes.max(measured_bytes);
        // One that was told to stop in the meantime may still say that it is ready.
        if process.state == State::Loading {
            process.state = State::Ready;
            process.unused_since = now;
            self.failures.remove(&process.model);
        }
        self.tell(Event::Ready { worker: id, measured_bytes });
    }

    fn exit(&mut self, id: WorkerId) {
        let Some(process) = self.processes.remove(&id) else { return };
        if process.state == State::Loading {
            self.failures.entry(process.model).or_default().push(self.now);
            self.cause = Cause::LoadFailed(process.model);
        }
        let users = process.users.clone();
        for request in &users {
            self.request(*request).state = RequestState::Over;
        }
        self.tell(Event::Exited { worker: id, reason: format!("exit of {}", id.0) });
        // They notice later, when the fleet knows already.
        for request in users {
            self.tell(Event::Released { request });
        }
    }

    fn use_ends(&mut self, request: RequestId) {
        let now = self.now;
        if let RequestState::Using(id) = self.requests[&request].state {
            self.request(request).state = RequestState::Over;
            if let Some(process) = self.processes.get_mut(&id) {
                process.users.remove(&request);
                process.unused_since = now;
            }
            self.tell(Event::Released { request });
        }
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.fleet.handle(When(self.now), event, &mut actions);
        let evicted = self.evicted_by(&actions);
        for action in actions {
            self.log.push((self.now, action.clone()));
            match action {
                Action::Start { worker, model } => self.start(worker, &model),
                Action::Stop { worker, why } => self.stop(worker, why),
                Action::Grant { request, worker } => self.grant(request, worker),
                Action::Refuse { request, reason } => self.refuse(request, &reason),
            }
        }
        self.check_eviction(&evicted);
        self.check_relief();
        // A deadline that is over once it was handled would be asked for at once, for ever.
        let deadline = self.fleet.next_deadline();
        assert!(deadline.is_none_or(|(when, _)| when.0 > self.now), "{deadline:?} is over");
        self.cause = Cause::Nothing;
    }

    fn start(&mut self, id: WorkerId, model: &Model) {
        let model = number(model);
        let promised_bytes = self.natures[model].promised_bytes;
        assert!(!self.shut_down, "{id:?} starts after the shutdown");
        assert!(
            self.held_bytes() + promised_bytes <= self.budget_bytes,
            "{id:?} starts although only {} of {} bytes are free",
            self.budget_bytes.saturating_sub(self.held_bytes()),
            self.budget_bytes
        );
        let wanted = self.waiting().iter().any(|request| self.requests[request].model == model);
        assert!(wanted, "{id:?} starts for nobody");
        let alone = self
            .processes
            .values()
            .all(|process| process.model != model || process.state == State::Told);
        assert!(alone, "{id:?} starts although a process of model {model} is there");
        let fate = if self.fates.is_empty() { Fate::default() } else { self.fates.remove(0) };
        let process = Process {
            model,
            state: State::Loading,
            held_bytes: promised_bytes,
            fate,
            users: BTreeSet::new(),
            unused_since: self.now,
        };
        let known = self.processes.insert(id, process);
        assert!(known.is_none(), "{id:?} starts twice");
        self.set_up(fate.load, Happening::LoadEnds(id));
    }

    fn stop(&mut self, id: WorkerId, why: StopReason) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&id) else { panic!("{id:?} is gone already") };
        assert_ne!(process.state, State::Told, "{id:?} is told twice");
        process.state = State::Told;
        match why {
            StopReason::Operator => {
                assert_eq!(
                    self.cause,
                    Cause::OperatorStops(process.model),
                    "nobody asked for this"
                );
            }
            StopReason::Shutdown => assert!(self.shut_down),
            StopReason::Evicted => assert!(process.users.is_empty(), "{id:?} is in use"),
            StopReason::Idle => {
                assert!(process.users.is_empty(), "{id:?} is in use");
                assert!(now - process.unused_since >= self.idle_unload, "{id:?} leaves too early");
            }
        }
        let users = std::mem::take(&mut process.users);
        let exit = process.fate.exit;
        for request in users {
            self.request(request).state = RequestState::Over;
        }
        self.set_up(exit, Happening::Exit(id));
    }

    fn grant(&mut self, request: RequestId, id: WorkerId) {
        assert!(self.waits(request), "{request:?} is answered twice, or was not asked");
        let process = self.processes.get_mut(&id).unwrap();
        assert_eq!(process.state, State::Ready, "{request:?} may use {process:?}");
        assert_eq!(process.model, self.requests[&request].model);
        process.users.insert(request);
        assert!(process.users.len() <= LEASES_PER_WORKER_MAX);
        let Request { uses_for, since, .. } = self.requests[&request];
        self.longest_wait = self.longest_wait.max(self.now - since);
        self.request(request).state = RequestState::Using(id);
        if uses_for < Duration::MAX {
            self.set_up(uses_for, Happening::UseEnds(request));
        }
    }

    fn refuse(&mut self, request: RequestId, reason: &Refusal) {
        assert!(self.waits(request), "{request:?} is answered twice, or was not asked");
        let Request { model, since, .. } = self.requests[&request];
        let waiting = self.waiting().len();
        self.longest_wait = self.longest_wait.max(self.now - since);
        self.request(request).state = RequestState::Over;
        let legitimate = match reason {
            Refusal::TooLarge { needed_bytes, budget_bytes } => {
                (*needed_bytes, *budget_bytes)
                    == (self.natures[model].promised_bytes, self.budget_bytes)
                    && needed_bytes > budget_bytes
            }
            // The one that is refused waits by these books until now.
            Refusal::QueueFull { limit } => *limit == WAITING_MAX && waiting > WAITING_MAX,
            Refusal::WaitedTooLong { limit } => *limit == WAIT_MAX && self.now - since >= WAIT_MAX,
            Refusal::LoadFailed { .. } => self.cause == Cause::LoadFailed(model),
            Refusal::CoolingOff { retry_in, .. } => self.is_cooling(model, *retry_in),
            Refusal::Stopped => self.cause == Cause::OperatorStops(model),
            Refusal::ShuttingDown => self.shut_down,
        };
        assert!(legitimate, "{request:?} is refused without cause: {reason:?}");
    }

    fn is_cooling(&self, model: usize, retry_in: Duration) -> bool {
        let Some(failures) = self.failures.get(&model) else { return false };
        let Some(first) = failures.len().checked_sub(LOAD_FAILURES_MAX) else { return false };
        let last = failures[failures.len() - 1];
        last - failures[first] <= FAILURE_WINDOW && self.now + retry_in == last + COOL_OFF
    }

    /// Evicting must serve someone who waits and must be needed for that, unless processes grew
    /// over the budget together.
    fn check_eviction(&self, evicted: &Evicted) {
        if evicted.ids.is_empty() || evicted.over_budget {
            return;
        }
        let staying = self.processes.values().filter(|process| process.state != State::Told);
        let staying_bytes: u64 = staying.map(|process| process.held_bytes).sum();
        let without = |model: &usize| {
            let live = |process: &Process| process.model == *model && process.state != State::Told;
            !self.processes.values().any(live)
        };
        let wanted: BTreeSet<usize> = self
            .waiting()
            .iter()
            .map(|request| self.requests[request].model)
            .filter(without)
            .collect();
        let fits = |bytes: u64| {
            let needs = |model: &usize| self.natures[*model].promised_bytes;
            wanted.iter().any(|model| bytes + needs(model) <= self.budget_bytes)
        };
        assert!(fits(staying_bytes), "{:?} left, and nothing fits for that", evicted.ids);
        if wanted.len() == 1 {
            for id in &evicted.ids {
                let spared_bytes = staying_bytes + self.processes[id].held_bytes;
                assert!(!fits(spared_bytes), "{id:?} left although it was not in the way");
            }
        }
    }

    /// While processes hold more than the budget together, none of them stays for nothing.
    fn check_relief(&self) {
        let staying = || self.processes.values().filter(|process| process.state != State::Told);
        let staying_bytes: u64 = staying().map(|process| process.held_bytes).sum();
        if staying_bytes > self.budget_bytes {
            let waiting = self.waiting();
            let wanted =
                |model| waiting.iter().any(|request| self.requests[request].model == model);
            let needed = |process: &Process| !process.users.is_empty() || wanted(process.model);
            assert!(staying().all(needed), "someone idle stays although memory has run over");
        }
    }

    fn evicted_by(&self, actions: &[Action]) -> Evicted {
        let evicted = |action: &Action| match action {
            Action::Stop { worker, why: StopReason::Evicted } => Some(*worker),
            Action::Stop { .. }
            | Action::Start { .. }
            | Action::Grant { .. }
            | Action::Refuse { .. } => None,
        };
        let staying = self.processes.values().filter(|process| process.state != State::Told);
        let staying_bytes: u64 = staying.map(|process| process.held_bytes).sum();
        Evicted {
            ids: actions.iter().filter_map(evicted).collect(),
            over_budget: staying_bytes > self.budget_bytes,
        }
    }

    fn held_bytes(&self) -> u64 {
        self.processes.values().map(|process| process.held_bytes).sum()
    }

    fn waiting(&self) -> Vec<RequestId> {
        self.requests.keys().copied().filter(|request| self.waits(*request)).collect()
    }

    fn request(&mut self, request: RequestId) -> &mut Request {
        self.requests.get_mut(&request).unwrap()
    }

    fn set_up(&mut self, wait: Duration, happening: Happening) {
        self.agenda_length += 1;
        self.agenda.insert((self.now + wait, self.agenda_length), happening);
    }
}

/// Who was evicted by one event, and whether memory had run over before.
struct Evicted {
    ids: Vec<WorkerId>,
    over_budget: bool,
}

pub(crate) fn name(model: usize) -> Model {
    Model { name: model.to_string().into(), version: 0 }
}

fn number(model: &Model) -> usize {
    model.name.parse().unwrap()
}
