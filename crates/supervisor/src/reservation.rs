//! Memory that is booked without an engine: for a one-shot tool, a process per request that
//! somebody else starts once there is room for it.
//!
//! Not here: the tools.

use planner::fleet::{StopReason, WorkerId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    assignment::{Assignment, Opened, Report},
    lease::Lease,
    run_loop::Message,
};

/// Booked memory. Dropping it gives the memory back, so whatever holds it must be gone by then.
#[derive(Debug)]
pub struct Reservation {
    /// Its end lets [`hold`] end.
    revoked: watch::Receiver<Option<StopReason>>,
    lease: Lease,
    worker: WorkerId,
    inbox: mpsc::Sender<Message>,
}

/// The hub's end of a reservation: where it says that it wants the memory back, and sees that it has
/// it.
pub(crate) type Hold = watch::Sender<Option<StopReason>>;

impl Reservation {
    pub(crate) fn new(
        lease: Lease,
        revoked: watch::Receiver<Option<StopReason>>,
        inbox: mpsc::Sender<Message>,
    ) -> Self {
        let worker = lease.worker();
        Self { revoked, lease, worker, inbox }
    }

    /// Says how many bytes are really held; the ledger counts the larger of that and the promise.
    pub async fn measured(&self, bytes: u64) {
        let report = Report::Measured { bytes };
        // An error means that the hub is down, and with it the ledger.
        self.inbox.send(Message::Worker { worker: self.worker, report }).await.ok();
    }

    /// Waits until the memory is wanted back, by the operator or because the hub goes down; says
    /// why. Whoever holds the memory then ends it and drops this. Cancel-safe.
    pub async fn revoked(&mut self) -> String {
        match self.revoked.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(why)) => why.to_string(),
            Ok(None) | Err(_) => self.lease.failure().message,
        }
    }
}

/// Stands in the ledger's books until nobody holds the memory any more.
pub(crate) async fn hold(
    assignment: Assignment,
    hold: Hold,
    mut stop: oneshot::Receiver<StopReason>,
) {
    let opened =
        Opened { context_tokens: None, loaded: None, trims: false, counts: false, errands: None };
    assignment.report(Report::Ready { opened, measured_bytes: None }).await;
    tokio::select! {
        why = &mut stop => {
            hold.send_replace(Some(why.unwrap_or(StopReason::Shutdown)));
            hold.closed().await;
        }
        () = hold.closed() => {}
    }
    assignment.exited("its memory was given back".to_owned()).await;
}
