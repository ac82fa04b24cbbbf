//! What is started although no request waits for it: the warm model, and what had to leave for a
//! load that failed. Neither takes anything from anyone who waits.

use serde::{Deserialize, Serialize};

use super::{
    Fleet,
    limits::WARM_AFTER_IDLE,
    planted::{Bug, planted},
    room::{Pledges, Room},
    word::{Action, Model, Pressure, Refusal, StopReason, Terms, When},
};

/// The model that is to be there when nobody asked for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Warm {
    pub(super) model: Model,
    /// When to start it, if it is not there then.
    at: When,
    /// It was just chosen, and nothing was wanted since.
    at_once: bool,
    /// That moment has come, and something that only an event can change was in the way.
    overdue: bool,
    /// The operator stopped it, so it stays away until somebody wants it.
    stopped: bool,
}

impl Fleet {
    pub(super) fn warm_chosen(&mut self, now: When, warm: Option<(Model, Terms)>) {
        self.warm = warm.filter(|_| !self.shutting_down).map(|(model, terms)| {
            self.told(&model, terms);
            Warm { model, at: now, at_once: true, overdue: false, stopped: false }
        });
    }

    /// Something is wanted, so the machine is not idle.
    pub(super) fn warm_wanted(&mut self, now: When, model: &Model) {
        if let Some(warm) = &mut self.warm {
            warm.stopped &= warm.model != *model;
            warm.put_off(now);
        }
    }

    /// Whatever made it leave, it does not come back at once.
    pub(super) fn warm_exited(&mut self, now: When, model: &Model) {
        if let Some(warm) = &mut self.warm
            && warm.model == *model
        {
            warm.put_off(now);
        }
    }

    pub(super) fn warm_stopped(&mut self, name: &str) {
        if let Some(warm) = &mut self.warm {
            warm.stopped |= &*warm.model.name == name;
        }
    }

    pub(super) fn is_warm(&self, model: &Model) -> bool {
        self.warm.as_ref().is_some_and(|warm| warm.model == *model)
    }

    /// When the warm model is to be started, if time alone brings that about.
    pub(super) fn warm_at(&self) -> Option<When> {
        let warm = self.warm.as_ref()?;
        let waits = !warm.overdue && !warm.stopped && self.live(&warm.model).is_none();
        waits.then_some(warm.at)
    }

    /// Starts what nobody waits for, when nobody waits for memory either and the machine has enough.
    pub(super) fn start_unasked(&mut self, now: When, actions: &mut Vec<Action>) {
        let calm = self.pressure == Pressure::Calm || planted(Bug::WarmsUnderPressure);
        let contested = !self.wanted_models().is_empty();
        if contested || !calm || planted(Bug::BringsNothingBack) {
            self.returning.clear();
        }
        let comes_back = !self.returning.is_empty();
        self.bring_back(now, actions);
        let free = calm && !contested && !comes_back;
        let is_there = self.warm.as_ref().is_some_and(|warm| self.live(&warm.model).is_some());
        if is_there && let Some(warm) = &mut self.warm {
            warm.put_off(now);
        }
        let due = self.warm_at().is_some_and(|when| when <= now)
            || self.warm.as_ref().is_some_and(|warm| warm.overdue && !warm.stopped);
        if due && let Some(mut warm) = self.warm.take() {
            warm.overdue = true;
            if free {
                self.start_warm(now, &mut warm, actions);
            } else if warm.at_once {
                warm.missed(now);
            }
            self.warm = Some(warm);
        }
    }

    /// What left for a load that failed comes back where it still fits. It is not tried twice.
    fn bring_back(&mut self, now: When, actions: &mut Vec<Action>) {
        let mut pledges = Pledges::default();
        for model in std::mem::take(&mut self.returning) {
            let Some(need) = self.need_of(&model) else { continue };
            let unfit = self.live(&model).is_some()
                || self.hopeless(&need).is_some()
                || self.breaker.cooling(now, &model).is_some();
            if unfit {
                continue;
            }
            match self.room(now, &need, &pledges) {
                Room::Free => self.start(now, &need, actions),
                Room::AfterExits => {
                    pledges.add(&need);
                    self.returning.push(model);
                }
                Room::AfterStopping(_) | Room::Behind | Room::Blocked { .. } => {}
            }
        }
    }

    fn start_warm(&mut self, now: When, warm: &mut Warm, actions: &mut Vec<Action>) {
        let Some(need) = self.need_of(&warm.model) else { return };
        if self.hopeless(&need).is_some() {
            return;
        }
        if let Some(Refusal::CoolingOff { retry_in, .. }) = self.breaker.cooling(now, &warm.model) {
            warm.at = now.checked_add(retry_in).unwrap_or(warm.at);
            warm.overdue = false;
            return;
        }
        match self.room(now, &need, &Pledges::default()) {
            Room::Free => {
                self.start(now, &need, actions);
                warm.overdue = planted(Bug::WarmOnlyOnce);
                warm.stopped = planted(Bug::WarmOnlyOnce);
            }
            Room::AfterStopping(victims) => {
                let model = Some(&warm.model);
                self.stop(now, &victims, StopReason::Evicted, model, actions);
            }
            // What is in use now may be wanted again, so it is not waited for.
            Room::Behind | Room::Blocked { .. } if warm.at_once => warm.missed(now),
            Room::AfterExits | Room::Behind | Room::Blocked { .. } => {}
        }
    }
}

impl Warm {
    /// It could not be started when it was chosen, and waits until the machine was idle since then.
    fn missed(&mut self, now: When) {
        self.put_off(self.at);
        self.overdue = self.at <= now;
    }

    /// It was last disturbed then.
    fn put_off(&mut self, disturbed: When) {
        self.at = disturbed.checked_add(WARM_AFTER_IDLE).unwrap_or(self.at);
        self.at_once = false;
        self.overdue = false;
    }
}
