//! What must hold after every event. Checked in builds with debug assertions; the simulated
//! machine in the tests checks the promises to the outside with its own books.

use std::collections::BTreeSet;

use super::{
    Fleet, Phase,
    limits::{LEASES_PER_WORKER_MAX, WAITING_MAX},
    planted,
    room::Need,
    word::{Model, RequestId},
};

impl Fleet {
    pub(super) fn assert_invariants(&self) {
        // What a bug on purpose breaks is for the simulated machine to find.
        if cfg!(debug_assertions) && !planted::any() {
            self.assert_requests();
            self.assert_workers();
        }
    }

    /// A worker starts only within the budget, and alone in its group.
    pub(super) fn assert_start(&self, need: &Need) {
        if cfg!(debug_assertions) && !planted::any() {
            let booked = self.ledger.booked_bytes();
            let budget = self.ledger.budget_bytes();
            let fits = booked.checked_add(need.bytes).is_some_and(|sum| sum <= budget);
            assert!(fits, "{} bytes beside {booked} are over the budget of {budget}", need.bytes);
            let staying = self.workers.iter().filter(|(_, worker)| worker.phase != Phase::Leaving);
            let mut groups = staying.filter_map(|(id, _)| self.group_of(*id));
            let alone =
                need.group.is_none() || groups.all(|group| Some(&group) != need.group.as_ref());
            assert!(alone, "another of {:?} is resident", need.group);
        }
    }

    /// A request waits, or is leased once, never both.
    fn assert_requests(&self) {
        assert!(self.waiting.len() <= WAITING_MAX, "{} requests wait", self.waiting.len());
        let mut seen: BTreeSet<RequestId> = BTreeSet::new();
        let leased = self.workers.values().flat_map(|worker| worker.leases.keys());
        for request in self.waiting.iter().map(|waiting| &waiting.request).chain(leased) {
            assert!(seen.insert(*request), "{request:?} is in two places");
        }
        let ordered = self.waiting.is_sorted_by_key(|waiting| waiting.turn_at);
        assert!(ordered, "requests are not in the order of their turns");
    }

    fn assert_workers(&self) {
        let mut live: BTreeSet<&Model> = BTreeSet::new();
        for (id, worker) in &self.workers {
            let leases = worker.leases.len();
            assert!(leases <= LEASES_PER_WORKER_MAX, "{id:?} has {leases} leases");
            let ready = worker.phase == Phase::Ready;
            assert!(ready || leases == 0, "{id:?} has leases while it is {:?}", worker.phase);
            let alone = worker.phase == Phase::Leaving || live.insert(&worker.model);
            assert!(alone, "two workers serve {:?}", worker.model);
            assert!(self.habits.of(&worker.model).is_some(), "{id:?} runs under no terms");
        }
        let known = self.ledger.workers().eq(self.workers.keys().copied());
        assert!(known, "the ledger books others than those that were not seen to exit");
    }
}
