//! What must hold after every event. Checked in builds with debug assertions; the simulated
//! machine in the tests checks the promises to the outside with its own books.

use std::collections::BTreeSet;

use super::{
    Fleet, Phase,
    limits::{LEASES_PER_WORKER_MAX, WAITING_MAX},
    word::{Model, RequestId},
};

impl Fleet {
    pub(super) fn assert_invariants(&self) {
        if cfg!(debug_assertions) {
            self.assert_requests();
            self.assert_workers();
        }
    }

    /// A request waits, or is leased once, never both.
    fn assert_requests(&self) {
        assert!(self.waiting.len() <= WAITING_MAX, "{} requests wait", self.waiting.len());
        let mut seen: BTreeSet<RequestId> = BTreeSet::new();
        let leased = self.workers.values().flat_map(|worker| &worker.leases);
        for request in self.waiting.iter().map(|waiting| &waiting.request).chain(leased) {
            assert!(seen.insert(*request), "{request:?} is in two places");
        }
        let ordered = self.waiting.is_sorted_by_key(|waiting| waiting.since);
        assert!(ordered, "requests are not in the order of their arrival");
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
        }
        let promised: u64 = self.workers.values().map(|worker| worker.promised_bytes).sum();
        assert!(promised <= self.budget_bytes, "{promised} bytes are over the budget");
    }
}
