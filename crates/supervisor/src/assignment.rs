//! What the task of one engine is given, and what it tells the run loop: the same for every kind.

use std::sync::Arc;

use planner::fleet::WorkerId;
use tokio::sync::{mpsc, watch};
use worker_protocol::{Failure, FailureKind, Loaded, Stats};

use crate::{
    config::Config,
    foreign::Errands,
    link::{Closed, Link},
    preflight::Launch,
    run_loop::Message,
};

/// Everything that the task of an engine needs.
pub(crate) struct Assignment {
    pub(crate) worker: WorkerId,
    pub(crate) launch: Launch,
    pub(crate) config: Config,
    pub(crate) link: Arc<Link>,
    pub(crate) inbox: mpsc::Sender<Message>,
    /// Where the share of the model that is loaded is shown.
    pub(crate) fraction: watch::Sender<f32>,
}

/// What the task of an engine tells the run loop.
pub(crate) enum Report {
    /// The process exists.
    Started { pid: u32 },
    /// The model can be asked.
    Ready { opened: Opened, measured_bytes: Option<u64> },
    /// The process was measured again.
    Measured { bytes: u64 },
    /// New counters.
    Stats(Stats),
    /// The process is gone, or never was; why, for the person who asked for the model.
    Exited { reason: String },
}

/// What an engine that is ready said about its model.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Context cells that all its requests share, where it says so.
    pub(crate) context_tokens: Option<u32>,
    /// All that our own worker says.
    pub(crate) loaded: Option<Box<Loaded>>,
    /// Whether it can be asked for memory that it can do without.
    pub(crate) trims: bool,
    /// Whether it can be asked how many tokens a prompt has.
    pub(crate) counts: bool,
    /// Where work is sent on whose answer is bytes; only servers do any.
    pub(crate) errands: Option<Errands>,
}

impl Assignment {
    pub(crate) async fn report(&self, report: Report) {
        // An error means that the run loop is gone, and nobody is interested any more.
        self.inbox.send(Message::Worker { worker: self.worker, report }).await.ok();
    }

    /// The last report, after the end was seen. In this order, so that whoever hears of the end and
    /// asks again is behind it in the run loop's inbox, and is not sent to what is gone.
    pub(crate) async fn exited(&self, reason: String) {
        self.report(Report::Exited { reason: reason.clone() }).await;
        self.close(&reason, true);
    }

    /// Ends every open request. `unasked` when nobody wanted the engine gone.
    pub(crate) fn close(&self, reason: &str, unasked: bool) {
        let name = &self.launch.model.name;
        let message = format!("model '{name}' broke off: {reason}; send the request again");
        let failure = Failure { kind: FailureKind::Broken, message };
        self.link.close(Closed { failure, unasked });
    }
}
