//! The life of a model that servers of somebody else serve: one look whether they are there, then
//! the conversation. Nothing is started and nothing is measured.

use std::{pin::pin, sync::Arc};

use planner::fleet::StopReason;
use tokio::{
    sync::{
        mpsc,
        oneshot::{self, error::RecvError},
    },
    time::{MissedTickBehavior, interval},
};
use worker_protocol::Stats;

use super::conversation::{Probed, Speaker, Waits};
use crate::{
    assignment::{Assignment, Opened, Report},
    engine::Upstream,
    limits::FOREIGN_STATS_INTERVAL,
};

/// Talks to the servers until the run loop wants that to end, or none of them is well: then whoever
/// wants the model next begins anew, and a role goes on to its next model meanwhile.
pub(crate) async fn run(
    assignment: Assignment,
    upstream: Arc<Upstream>,
    frames: mpsc::Receiver<Vec<u8>>,
    mut stop: oneshot::Receiver<StopReason>,
) {
    let speaker = tokio::select! {
        why = &mut stop => return left(&assignment, why).await,
        speaker = ready(&assignment, &upstream) => match speaker {
            Ok(speaker) => speaker,
            Err(reason) => return assignment.exited(reason).await,
        },
    };
    // Pinned here, so that open requests end only after the run loop knows: whoever asks again then
    // is not sent to what is gone.
    let conversation = pin!(speaker.converse(frames, &assignment.link));
    tokio::select! {
        why = &mut stop => left(&assignment, why).await,
        // Its frames end with the run loop.
        () = conversation => left(&assignment, Ok(StopReason::Shutdown)).await,
        () = report_stats(&assignment, &speaker) => {}
        reasons = speaker.all_down() => assignment.exited(format!("it is gone: {reasons}")).await,
    }
}

/// A speaker for servers of which at least one is ready.
async fn ready(assignment: &Assignment, upstream: &Upstream) -> Result<Speaker, String> {
    let name = &assignment.launch.model.name;
    let Upstream { servers, manner, health } = upstream;
    let speaker = Speaker::new(name, None, servers, manner, health, Waits::default())?;
    let probed = speaker.probe().await.map_err(|reason| format!("it is not ready: {reason}"))?;
    let opened = opened(probed, &speaker, manner.context_tokens);
    assignment.report(Report::Ready { opened, measured_bytes: None }).await;
    Ok(speaker)
}

/// Somebody wants it gone. A stop that is dropped means that the run loop is gone, and with it all
/// need.
async fn left(assignment: &Assignment, why: Result<StopReason, RecvError>) {
    let reason = why.unwrap_or(StopReason::Shutdown).to_string();
    assignment.report(Report::Exited { reason: reason.clone() }).await;
    assignment.close(&reason, false);
}

/// What is known of an engine's model once it is ready. What the configuration says wins: it may
/// keep requests shorter than they could be.
pub(super) fn opened(probed: Probed, speaker: &Speaker, configured_tokens: Option<u32>) -> Opened {
    let context_tokens = configured_tokens.or(probed.context_tokens);
    let errands = Some(speaker.errands());
    Opened { context_tokens, loaded: None, trims: false, counts: false, errands }
}

/// Reports the counters whenever they changed, for ever.
pub(super) async fn report_stats(assignment: &Assignment, speaker: &Speaker) {
    let mut look = interval(FOREIGN_STATS_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Stats::default();
    loop {
        look.tick().await;
        let stats = speaker.stats();
        if stats != last {
            assignment.report(Report::Stats(stats)).await;
            last = stats;
        }
    }
}
