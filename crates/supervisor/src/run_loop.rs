//! The one task that owns the fleet: takes messages in, asks the fleet, has its actions carried
//! out.

use planner::fleet::RequestId;
use tokio::sync::{mpsc, oneshot};

use crate::{
    config::Config,
    error::{AcquireError, StopError},
    lease::Grant,
    preflight::Launch,
    report::{Metrics, Resident},
};

/// What the run loop is told.
pub(crate) enum Message {
    /// A request wants to use a model.
    Wanted { request: RequestId, launch: Box<Launch>, reply: oneshot::Sender<Result<Grant, AcquireError>> },
    /// The operator wants a model stopped.
    Stop { name: String, reply: oneshot::Sender<Result<(), StopError>> },
    /// Someone wants to see who is resident.
    Residents { reply: oneshot::Sender<Vec<Resident>> },
    /// Someone wants the counters.
    Metrics { reply: oneshot::Sender<Metrics> },
    /// Everything is to be stopped; answered when it is.
    Shutdown { reply: oneshot::Sender<()> },
}

/// Runs until everything was stopped.
pub(crate) async fn run(
    config: Config,
    inbox: mpsc::Sender<Message>,
    mut messages: mpsc::Receiver<Message>,
    mut requests_ended: mpsc::Receiver<RequestId>,
) {
    drop((config, inbox));
    loop {
        tokio::select! {
            message = messages.recv() => if message.is_none() { return },
            ended = requests_ended.recv() => if ended.is_none() { return },
        }
    }
}
