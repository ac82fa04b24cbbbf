//! What must hold by the machine's own books: for each action when it is carried out, and for the
//! whole after each event.

use std::{collections::BTreeSet, time::Duration};

use planner::fleet::{
    Action, Fleet, Model, Pressure, Priority, Refusal, RequestId, StopReason, Turn, Verdict,
    WorkerId,
    limits::{BACKGROUND_WAITING_MAX, LEASES_PER_WORKER_MAX, WAIT_MAX, WAITING_MAX},
};

use crate::machine::{
    Cause, Machine, Nature, Process, RequestState, State, fair_wait, name, number, terms,
};

/// How the machine stood before an event was answered.
struct Before {
    over_budget: bool,
    /// Whether two that stay shared an exclusive group.
    crowded: bool,
    anyone_told: bool,
    /// The first in turn of those without a process, if nothing but exits was in its way.
    heir: Option<usize>,
}

impl Machine {
    /// Carries out what the fleet decided, and checks it.
    pub(crate) fn obey(&mut self, actions: Vec<Action>) {
        let before = self.before();
        let mut evicted = Vec::new();
        let mut started = Vec::new();
        for action in actions {
            self.log.push((self.now, action.clone()));
            match action {
                Action::Start { worker, model } => {
                    self.start(worker, &model, &before);
                    started.push(number(&model));
                }
                Action::Stop { worker, why } => {
                    self.stop(worker, why, &before);
                    if why == StopReason::Evicted {
                        evicted.push(worker);
                    }
                }
                Action::Grant { request, worker } => self.grant(request, worker),
                Action::Refuse { request, reason } => self.refuse(request, &reason),
                Action::Trim { worker } => self.trim(worker),
            }
        }
        self.check_eviction(&evicted, &started, &before);
        self.check_priorities(&started);
        self.check_relief();
        self.check_service();
        self.check_hopeless();
        self.check_return(&started);
        self.check_deadline();
        let waiting = &self.waiting;
        let requests = &self.requests;
        let waits = |model| waiting.iter().any(|request| requests[request].want.model == model);
        for (_, known) in self.known.iter_mut().filter(|(model, _)| !waits(**model)) {
            known.made_room.clear();
        }
    }

    /// The short way to a verdict leads where the long one does, for each model.
    pub(crate) fn check_verdicts(&self) {
        for (model, nature) in self.natures.iter().enumerate() {
            let (model, terms) = (name(model), terms(nature));
            let long = self.fleet().what_if(self.when(), &model, &terms).verdict;
            assert_eq!(self.fleet().verdict(self.when(), &model, &terms), long, "{model:?}");
        }
    }

    /// Written down and read again, the fleet is what it was: journals go on from that.
    pub(crate) fn check_written_down(&self) {
        let text = serde_json::to_string(self.fleet()).unwrap();
        let read: Fleet = serde_json::from_str(&text).unwrap();
        assert!(read == *self.fleet(), "what was read again is not {text}");
    }

    /// What was foretold of a request is what became of it.
    pub(crate) fn check_foretold(
        &self,
        request: RequestId,
        foretold: &Verdict,
        done_before: usize,
    ) {
        let done: Vec<&Action> = self.log[done_before..].iter().map(|(_, action)| action).collect();
        let model = self.requests[&request].want.model;
        let starts = |action: &&&Action| matches!(action, Action::Start { model: started, .. } if number(started) == model);
        let started = done.iter().any(|action| starts(&action));
        let as_foretold = match foretold {
            Verdict::Served(worker) => done.contains(&&Action::Grant { request, worker: *worker }),
            Verdict::Refused(reason) => {
                done.contains(&&Action::Refuse { request, reason: reason.clone() })
            }
            Verdict::Started => started,
            Verdict::StartedAfterStopping(victims) => victims.iter().all(|worker| {
                done.contains(&&Action::Stop { worker: *worker, why: StopReason::Evicted })
            }),
            Verdict::Queued(_)
            | Verdict::StartedAfterExits
            | Verdict::Pressed(_)
            | Verdict::Held { .. }
            | Verdict::Sparing { .. }
            | Verdict::Blocked { .. }
            | Verdict::Behind(_) => self.waits(request) && !started,
        };
        assert!(as_foretold, "{foretold:?} was foretold of {request:?}, but then came {done:?}");
    }

    /// Where the fleet says that a request stands is where it stands.
    pub(crate) fn check_told(&self, request: RequestId) {
        let turn = self.fleet().explain_request(self.when(), request);
        let stands = match (&turn, self.requests[&request].state) {
            (Some(Turn::Using(told)), RequestState::Using(worker)) => *told == worker,
            (Some(Turn::Waiting(wait)), RequestState::Waiting) => {
                let waited = self.now - self.requests[&request].since;
                let before = |other: &&RequestId| {
                    (self.turn(**other), **other) < (self.turn(request), request)
                };
                let place = self.waiting.iter().filter(before).count() + 1;
                wait.waited == waited && wait.place == place
            }
            (None, RequestState::Over) => true,
            (Some(_) | None, _) => false,
        };
        assert!(stands, "{request:?} is told {turn:?}");
    }

    fn before(&self) -> Before {
        let groups: Vec<char> =
            self.staying().filter_map(|(_, process)| self.group(process.model)).collect();
        let distinct: BTreeSet<&char> = groups.iter().collect();
        Before {
            over_budget: self.staying_bytes() > self.policy.budget_bytes,
            crowded: distinct.len() < groups.len(),
            anyone_told: self.processes.values().any(|process| process.state == State::Told),
            heir: self.heir(),
        }
    }

    /// The first in turn of those without a process, if only exits are in its way.
    fn heir(&self) -> Option<usize> {
        let first =
            self.unserved().into_iter().min_by_key(|request| (self.turn(*request), *request))?;
        let model = self.requests[&first].want.model;
        let fits = self.staying_bytes() + self.need(model) <= self.policy.budget_bytes;
        (fits && self.rivals(model).is_empty()).then_some(model)
    }

    fn start(&mut self, id: WorkerId, model: &Model, before: &Before) {
        let model = number(model);
        let need = self.need(model);
        let budget_bytes = self.policy.budget_bytes;
        assert!(!self.shut_down, "{id:?} starts after the shutdown");
        assert!(
            self.held_bytes() + need <= budget_bytes,
            "{id:?} starts although only {} of {budget_bytes} bytes are free",
            budget_bytes.saturating_sub(self.held_bytes()),
        );
        assert!(
            !self.has_live(model),
            "{id:?} starts although a process of model {model} is there"
        );
        assert!(self.rivals(model).is_empty(), "{id:?} starts beside another of its group");
        if self.pressure == Pressure::Full {
            let gone_some_time =
                |process: &&Process| process.state == State::Told || !self.is_pinned(process.model);
            let beside = self.processes.values().find(gone_some_time);
            assert!(beside.is_none(), "{id:?} starts beside {beside:?} while the machine swaps");
        }
        assert!(!self.is_cooling(model), "{id:?} starts although its model keeps failing");
        let still_waits = |heir: &usize| {
            let mut waiting = self.waiting.iter();
            let waits = waiting.any(|request| self.requests[request].want.model == *heir);
            *heir != model && waits && !self.has_live(*heir)
        };
        if let Some(heir) = before.heir.filter(still_waits) {
            let left = self.staying_bytes() + need + self.need(heir) <= budget_bytes;
            assert!(left, "{id:?} takes the memory that is kept for model {heir}");
            let same_group = self.group(model).is_some() && self.group(model) == self.group(heir);
            assert!(!same_group, "{id:?} takes the place in its group of model {heir}");
        }
        let sponsors =
            self.waiting.iter().filter(|request| self.requests[request].want.model == model);
        let sponsor = sponsors.min_by_key(|request| (self.turn(**request), **request)).copied();
        if sponsor.is_none() {
            let is_warm = self.warm.is_some_and(|warm| warm.model == model && !warm.stopped);
            let comes_back = self.known[&model].was_evicted;
            assert!(!self.known[&model].withdrawn, "{id:?} starts unasked and is withdrawn");
            assert!(is_warm || comes_back, "{id:?} starts for nobody");
            assert!(comes_back || self.warm_is_due(), "{id:?} is warmed too early");
            assert_eq!(self.pressure, Pressure::Calm, "{id:?} starts unasked under pressure");
            assert!(self.unserved().is_empty(), "{id:?} starts unasked while others wait");
        }
        let fate = if self.fates.is_empty() { Default::default() } else { self.fates.remove(0) };
        let known = self.known.entry(model).or_default();
        let process = Process {
            model,
            state: State::Loading,
            held_bytes: need,
            fate,
            users: BTreeSet::new(),
            unused_since: self.now,
            keep_alive: sponsor.and_then(|request| self.requests[&request].want.keep_alive),
            was_used: false,
            has_served: false,
            was_trimmed: false,
            made_room: std::mem::take(&mut known.made_room),
        };
        let known = self.processes.insert(id, process);
        assert!(known.is_none(), "{id:?} starts twice");
        self.load_starts(id, fate.load);
    }

    fn stop(&mut self, id: WorkerId, why: StopReason, before: &Before) {
        let Some(process) = self.processes.get(&id) else { panic!("{id:?} is gone already") };
        let model = process.model;
        assert_ne!(process.state, State::Told, "{id:?} is told twice");
        match why {
            StopReason::Operator => {
                assert_eq!(self.cause, Cause::OperatorStops(model), "nobody asked for this");
            }
            StopReason::Shutdown => assert!(self.shut_down),
            StopReason::Evicted
            | StopReason::Idle
            | StopReason::Pressure
            | StopReason::Withdrawn => {
                assert_eq!(process.users, BTreeSet::new(), "{id:?} is in use");
                assert!(!self.is_pinned(model), "{id:?} is pinned");
            }
        }
        match why {
            StopReason::Idle => {
                let due = self.unload_due(process);
                assert!(due.is_some_and(|due| due <= self.now), "{id:?} leaves too early");
            }
            StopReason::Pressure => {
                assert_eq!(self.pressure, Pressure::Full, "{id:?} leaves, and nothing presses");
                assert!(!before.anyone_told, "{id:?} leaves before another is gone");
                let settled = |exit| self.now - exit >= Duration::from_secs(2);
                assert!(
                    self.last_exit.is_none_or(settled),
                    "{id:?} leaves before it is seen to help"
                );
            }
            StopReason::Evicted => self.check_hold(id, before),
            StopReason::Withdrawn => {
                assert!(self.known[&model].withdrawn, "{id:?} leaves though it is served");
            }
            StopReason::Operator | StopReason::Shutdown => {}
        }
        let process = self.processes.get_mut(&id).unwrap();
        process.state = State::Told;
        let exit = process.fate.exit;
        let users = std::mem::take(&mut process.users);
        for request in users {
            self.requests.get_mut(&request).unwrap().state = RequestState::Over;
        }
        self.exit_starts(id, exit);
    }

    /// The first time that a model is in somebody's way just after it was used, it stays for as long
    /// as it takes to load, or until the other has waited for half of its fair wait.
    fn check_hold(&self, id: WorkerId, before: &Before) {
        let process = &self.processes[&id];
        let known = &self.known[&process.model];
        let unserved = self.unserved();
        let relieves = before.over_budget || before.crowded || unserved.is_empty();
        if relieves || known.was_evicted || !process.was_used || process.state != State::Ready {
            return;
        }
        let load_time = known.terms.map_or(Duration::ZERO, |terms| terms.load_time);
        let is_cold = self.now - process.unused_since >= load_time;
        let waited = |request: &RequestId| {
            let request = &self.requests[request];
            self.now - request.since >= fair_wait(request.want.priority) / 2
        };
        let was_wanted = unserved.iter().any(waited);
        assert!(is_cold || was_wanted, "{id:?} leaves at the first chance");
    }

    fn grant(&mut self, request: RequestId, id: WorkerId) {
        assert!(self.waits(request), "{request:?} is answered twice, or was not asked");
        let want = self.requests[&request].want;
        let process = self.processes.get_mut(&id).unwrap();
        assert_eq!(process.state, State::Ready, "{request:?} may use {process:?}");
        assert_eq!(process.model, want.model);
        process.users.insert(request);
        process.was_used = true;
        assert!(process.users.len() <= LEASES_PER_WORKER_MAX);
        self.answered(request, RequestState::Using(id));
        self.use_starts(request, want.uses_for);
    }

    fn trim(&mut self, id: WorkerId) {
        assert_ne!(self.pressure, Pressure::Calm, "{id:?} is trimmed, and nothing presses");
        let process = self.processes.get_mut(&id).unwrap();
        assert_eq!(process.state, State::Ready, "{id:?} is trimmed");
        assert!(!process.was_trimmed, "{id:?} is trimmed again");
        process.was_trimmed = true;
    }

    fn refuse(&mut self, request: RequestId, reason: &Refusal) {
        assert!(self.waits(request), "{request:?} is answered twice, or was not asked");
        let want = self.requests[&request].want;
        let (model, since) = (want.model, self.requests[&request].since);
        let budget_bytes = self.policy.budget_bytes;
        let waiting = self.waiting.len();
        let legitimate = match reason {
            Refusal::TooLarge { needed_bytes, budget_bytes: budget } => {
                (*needed_bytes, *budget) == (self.need(model), budget_bytes)
                    && *needed_bytes > budget_bytes
            }
            Refusal::Pins { needed_bytes, pinned_bytes, .. } => {
                let sum = needed_bytes + pinned_bytes;
                (*needed_bytes, *pinned_bytes) == (self.need(model), self.pinned_bytes(model))
                    && sum > budget_bytes
            }
            Refusal::PinnedGroup { .. } => self.has_pinned_rival(model),
            // The one that is refused waits by these books until now.
            Refusal::QueueFull { limit } => {
                let limit_is = match want.priority {
                    Priority::Interactive => WAITING_MAX,
                    Priority::Background => BACKGROUND_WAITING_MAX,
                };
                *limit == limit_is && waiting > limit_is
            }
            Refusal::WaitedTooLong { limit } => *limit == WAIT_MAX && self.now - since >= WAIT_MAX,
            Refusal::LoadFailed { .. } => {
                matches!(&self.cause, Cause::LoadFailed { model: failed, .. } if *failed == model)
            }
            Refusal::CoolingOff { retry_in, .. } => {
                let known = &self.known[&model];
                let last = known.failures.last().copied();
                last.is_some_and(|last| self.now + *retry_in == last + known.cool_off)
            }
            Refusal::Stopped => self.cause == Cause::OperatorStops(model),
            Refusal::ShuttingDown => self.shut_down,
        };
        assert!(legitimate, "{request:?} is refused without cause: {reason:?}");
        self.answered(request, RequestState::Over);
    }

    /// Evicting must serve someone who waits and must be needed for that, unless processes are over
    /// the budget together or two of a group stay.
    fn check_eviction(&mut self, evicted: &[WorkerId], started: &[usize], before: &Before) {
        if evicted.is_empty() {
            return;
        }
        let mut wanted: BTreeSet<usize> =
            self.unserved().iter().map(|request| self.requests[request].want.model).collect();
        // One starts beside another of its group that leaves, where there is memory for both.
        wanted.extend(started);
        let models: Vec<usize> = evicted.iter().map(|id| self.processes[id].model).collect();
        for model in &models {
            self.known.entry(*model).or_default().was_evicted = true;
        }
        if before.over_budget || before.crowded {
            return;
        }
        if wanted.is_empty() {
            wanted.extend(self.warm.filter(|_| self.warm_is_due()).map(|warm| warm.model));
        } else if wanted.len() == 1 {
            for model in &wanted {
                // What is used once has no reason to come back.
                let models = models.iter().filter(|model| !self.natures[**model].once);
                match self.processes.values_mut().find(|process| started == [process.model]) {
                    Some(process) => process.made_room.extend(models),
                    None => self.known.entry(*model).or_default().made_room.extend(models),
                }
            }
        }
        let staying_bytes = self.staying_bytes();
        let fits = |model: &usize, bytes: u64| {
            let needs = if started.contains(model) { 0 } else { self.need(*model) };
            bytes + needs <= self.policy.budget_bytes
        };
        let any_fits = wanted.iter().any(|model| fits(model, staying_bytes));
        assert!(any_fits, "{evicted:?} left, and nothing fits for that");
        let [model] = wanted.iter().copied().collect::<Vec<_>>()[..] else { return };
        for id in evicted {
            let spared = &self.processes[id];
            let rival =
                self.group(model).is_some() && self.group(model) == self.group(spared.model);
            let needed = rival || !fits(&model, staying_bytes + spared.held_bytes);
            assert!(needed, "{id:?} left although it was not in the way");
        }
    }

    /// Nothing is started for the background where it takes the place of someone interactive.
    fn check_priorities(&self, started: &[usize]) {
        let of = |model: usize| {
            let waiting = self.waiting.iter().map(|request| &self.requests[request]);
            waiting.filter(move |request| request.want.model == model)
        };
        for model in started.iter().copied().filter(|model| of(*model).count() > 0) {
            let fresh = of(model).all(|request| {
                let turn = request.since + fair_wait(Priority::Background);
                request.want.priority == Priority::Background
                    && turn > self.now + fair_wait(Priority::Interactive)
            });
            if !fresh {
                continue;
            }
            let unserved = self.unserved().into_iter();
            let first = unserved.min_by_key(|request| (self.turn(*request), *request));
            if let Some(request) = first {
                let want = self.requests[&request].want;
                let instead = self.held_bytes() - self.need(model) + self.need(want.model);
                let fits = instead <= self.policy.budget_bytes;
                let mut rivals = self.rivals(want.model);
                rivals.retain(|rival| *rival != model);
                let passed_over = fits && rivals.is_empty();
                let passed_over = passed_over && want.priority == Priority::Interactive;
                assert!(!passed_over, "{request:?} is interactive, but model {model} was started");
            }
        }
    }

    /// While processes hold more than the budget together, or two of a group stay, none of them
    /// stays for nothing, nor does what is not served any more. Under pressure all were asked to trim.
    fn check_relief(&self) {
        let over = self.staying_bytes() > self.policy.budget_bytes;
        for (id, process) in self.staying() {
            let free = self.is_unneeded(process) && !self.is_pinned(process.model);
            let withdrawn = self.known[&process.model].withdrawn && self.is_unneeded(process);
            assert!(!withdrawn, "{id:?} is idle and stays although it is not served any more");
            let crowded = free && !self.rivals(process.model).is_empty();
            assert!(!(over && free), "{id:?} is idle and stays although memory has run over");
            assert!(!crowded, "{id:?} is idle and stays beside another of its group");
            let asked = process.was_trimmed || process.state != State::Ready;
            assert!(asked || self.pressure == Pressure::Calm, "{id:?} was not asked to trim");
        }
    }

    /// Whoever wants a model that is ready is served, unless another's turn has come.
    fn check_service(&self) {
        let someones_turn = self.waiting.iter().any(|request| self.turn(*request) <= self.now);
        if someones_turn {
            return;
        }
        for request in &self.waiting {
            let model = self.requests[request].want.model;
            let open = self.processes.values().any(|process| {
                let has_place = process.users.len() < LEASES_PER_WORKER_MAX;
                process.model == model && process.state == State::Ready && has_place
            });
            assert!(!open, "{request:?} waits although its model is there");
        }
    }

    /// Nobody waits for what can never be.
    fn check_hopeless(&self) {
        for request in self.unserved() {
            let model = self.requests[&request].want.model;
            let needed = self.need(model) + self.pinned_bytes(model);
            assert!(
                needed <= self.policy.budget_bytes,
                "{request:?} waits although it is hopeless"
            );
            assert!(!self.has_pinned_rival(model), "{request:?} waits for a pinned one to leave");
        }
    }

    /// Whoever waited for a load that failed was told. What left for it is back, where it fits and
    /// nobody else wants anything.
    fn check_return(&self, started: &[usize]) {
        let Cause::LoadFailed { model, made_room } = &self.cause else { return };
        let mut waiting = self.waiting.iter().map(|request| self.requests[request].want.model);
        assert!(
            !waiting.any(|other| other == *model),
            "a load of {model} failed, and no one is told"
        );
        let alone = self.processes.values().all(|process| process.state != State::Told)
            && self.waiting.is_empty()
            && self.pressure == Pressure::Calm;
        let &[model] = &made_room[..] else { return };
        let held = self.processes.values().filter(|process| process.model != model);
        let held_bytes: u64 = held.map(|process| process.held_bytes).sum();
        let fits = held_bytes + self.need(model) <= self.policy.budget_bytes;
        let may = self.rivals(model).is_empty() && !self.is_cooling(model);
        if alone && fits && may && started.len() <= 1 {
            assert!(
                self.has_live(model),
                "model {model} left for a load that failed, and stays away"
            );
        }
    }

    /// The fleet asks to be called in time for all that time alone brings about, and never for
    /// what is over: that would be asked for at once, for ever.
    fn check_deadline(&self) {
        let deadline = self.fleet().next_deadline();
        assert!(deadline.is_none_or(|(when, _)| when.0 > self.now), "{deadline:?} is over");
        let unloads = self.staying().filter(|(_, process)| self.is_unneeded(process));
        let unloads = unloads.filter_map(|(_, process)| self.unload_due(process));
        let loading = |model| {
            let mut staying = self.staying();
            staying.any(|(_, process)| process.model == model && process.state == State::Loading)
        };
        let patient = self.waiting.iter().map(|request| &self.requests[request]);
        let patient = patient.filter(|request| !loading(request.want.model));
        let ends = patient.map(|request| request.since + WAIT_MAX);
        let warm = self.warm.filter(|warm| !warm.stopped && !self.has_live(warm.model));
        let calm = self.pressure == Pressure::Calm && self.unserved().is_empty();
        let warm = warm.filter(|warm| calm && self.could_warm(warm.model));
        let warm = warm.map(|warm| warm.quiet_since + Duration::from_secs(300));
        if let Some(due) = unloads.chain(ends).chain(warm).min() {
            let in_time = deadline.is_some_and(|(when, _)| when.0 <= due);
            assert!(in_time, "the fleet asks for {deadline:?}, but something is due at {due:?}");
        }
    }

    /// Whether idle ones could make room for the warm model, and nothing else is in its way.
    fn could_warm(&self, model: usize) -> bool {
        let stays = |process: &&Process| {
            process.state == State::Told
                || !self.is_unneeded(process)
                || self.is_pinned(process.model)
        };
        let staying = self.processes.values().filter(stays);
        let staying_bytes: u64 = staying.map(|process| process.held_bytes).sum();
        let has_rival = |rival: &usize| {
            let mut of_rival = self.processes.values().filter(|process| process.model == *rival);
            of_rival.any(|process| stays(&process))
        };
        staying_bytes + self.need(model) <= self.policy.budget_bytes
            && !self.rivals(model).iter().any(has_rival)
            && !self.has_failed_lately(model)
            && self.processes.values().all(|process| process.state != State::Told)
    }

    fn warm_is_due(&self) -> bool {
        let quiet = |since: Duration| self.now - since >= Duration::from_secs(300);
        self.warm.is_some_and(|warm| warm.is_fresh || quiet(warm.quiet_since))
    }

    /// When this process is to be told to leave if nobody uses it before.
    fn unload_due(&self, process: &Process) -> Option<Duration> {
        let terms: Nature = self.known[&process.model].terms?;
        let is_warm = self.warm.is_some_and(|warm| warm.model == process.model);
        let idle = process.state == State::Ready && process.users.is_empty();
        if !idle || is_warm || self.is_pinned(process.model) {
            return None;
        }
        let stays = process.keep_alive.or(terms.idle_unload).unwrap_or(self.policy.idle_unload);
        process.unused_since.checked_add(stays)
    }

    /// Whether nobody uses it and nobody waits for it.
    fn is_unneeded(&self, process: &Process) -> bool {
        let mut waiting = self.waiting.iter();
        let wanted = waiting.any(|request| self.requests[request].want.model == process.model);
        process.users.is_empty() && !wanted
    }

    fn staying(&self) -> impl Iterator<Item = (&WorkerId, &Process)> {
        self.processes.iter().filter(|(_, process)| process.state != State::Told)
    }

    fn staying_bytes(&self) -> u64 {
        self.staying().map(|(_, process)| process.held_bytes).sum()
    }

    /// Models that stay and share an exclusive group with this one.
    fn rivals(&self, model: usize) -> Vec<usize> {
        let Some(group) = self.group(model) else { return Vec::new() };
        let models = self.staying().map(|(_, process)| process.model);
        models.filter(|other| *other != model && self.group(*other) == Some(group)).collect()
    }

    fn has_pinned_rival(&self, model: usize) -> bool {
        self.rivals(model).iter().any(|rival| self.is_pinned(*rival))
    }

    /// What pinned processes of other models hold.
    fn pinned_bytes(&self, model: usize) -> u64 {
        let others = self.staying().map(|(_, process)| process);
        let pinned = others.filter(|other| other.model != model && self.is_pinned(other.model));
        pinned.map(|process| process.held_bytes).sum()
    }

    /// Requests whose model has no process that stays.
    fn unserved(&self) -> Vec<RequestId> {
        let unserved = |request: &RequestId| !self.has_live(self.requests[request].want.model);
        self.waiting.iter().copied().filter(unserved).collect()
    }

    fn is_cooling(&self, model: usize) -> bool {
        let known = &self.known[&model];
        known.failures.last().is_some_and(|last| self.now < *last + known.cool_off)
    }

    fn has_failed_lately(&self, model: usize) -> bool {
        !self.known[&model].failures.is_empty()
    }
}
