//! What the operator asks for: models stopped, pinned or withdrawn, another policy, the end.

use std::sync::Arc;

use super::{
    Fleet, Phase, Worker,
    habits::Cause,
    word::{Action, Model, Policy, Refusal, StopReason, Terms, When},
};

impl Fleet {
    /// The operator's hand wins over leases, pins and whoever waits.
    pub(super) fn stop_asked(&mut self, now: When, name: &str, actions: &mut Vec<Action>) {
        let named = |worker: &Worker| &*worker.model.name == name;
        self.stop_where(now, named, StopReason::Operator, actions);
        self.refuse_waiting(|waiting| &*waiting.model.name == name, &Refusal::Stopped, actions);
        // Nor does it come back for another reason than that somebody wants it.
        let kept = |model: &Model| &*model.name != name;
        let displaced = self.displaced.values_mut();
        let displaced =
            displaced.chain(self.workers.values_mut().map(|worker| &mut worker.displaced));
        displaced.chain([&mut self.returning]).for_each(|models| models.retain(kept));
        self.warm_stopped(name);
    }

    pub(super) fn shutdown_asked(&mut self, now: When, actions: &mut Vec<Action>) {
        self.shutting_down = true;
        self.stop_where(now, |_| true, StopReason::Shutdown, actions);
        self.refuse_waiting(|_| true, &Refusal::ShuttingDown, actions);
        self.returning.clear();
        self.warm = None;
    }

    pub(super) fn pin_asked(&mut self, name: Arc<str>, pinned: Option<bool>) {
        match pinned {
            Some(pinned) => drop(self.pins.insert(name, pinned)),
            None => drop(self.pins.remove(&name)),
        }
    }

    /// What is over the new budget or beside another of its group leaves when it is idle.
    pub(super) fn policy_changed(&mut self, policy: Policy, models: Vec<(Model, Option<Terms>)>) {
        self.ledger.set_budget(policy.budget_bytes);
        self.idle_unload = policy.idle_unload;
        self.exclusive = policy.exclusive;
        for (model, terms) in models {
            match terms {
                Some(terms) => self.habits.retold(&model, terms),
                None => self.withdrawn(&model),
            }
        }
    }

    /// It is not brought back unasked either.
    pub(super) fn withdrawn(&mut self, model: &Model) {
        self.habits.withdraw(model);
        self.warm.take_if(|warm| warm.model == *model);
        let displaced = self.displaced.values_mut();
        let displaced =
            displaced.chain(self.workers.values_mut().map(|worker| &mut worker.displaced));
        displaced.chain([&mut self.returning]).for_each(|models| models.retain(|it| it != model));
    }

    fn stop_where(
        &mut self,
        now: When,
        mut chosen: impl FnMut(&Worker) -> bool,
        why: StopReason,
        actions: &mut Vec<Action>,
    ) {
        for (id, worker) in &mut self.workers {
            if worker.phase != Phase::Leaving && chosen(worker) {
                worker.phase = Phase::Leaving;
                worker.leases.clear();
                let cause = Cause::Stopped { why, for_model: None };
                self.habits.left(now, &worker.model, cause);
                actions.push(Action::Stop { worker: *id, why });
            }
        }
    }
}
