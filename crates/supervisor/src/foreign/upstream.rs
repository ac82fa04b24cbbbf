//! The life of a model that servers of somebody else serve: one look whether they are there, then
//! the conversation. Nothing is started and nothing is measured.

use std::sync::Arc;

use planner::fleet::StopReason;
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use worker_protocol::Stats;

use super::conversation::{Probed, Speaker, Waits};
use crate::{
    assignment::{Assignment, Opened, Report},
    engine::Upstream,
    limits::FOREIGN_STATS_INTERVAL,
};

/// Talks to the servers until the run loop wants that to end.
pub(crate) async fn run(
    assignment: Assignment,
    upstream: Arc<Upstream>,
    frames: mpsc::Receiver<Vec<u8>>,
    mut stop: oneshot::Receiver<StopReason>,
) {
    // A stop that is dropped means that the run loop is gone, and with it all need.
    let reason = tokio::select! {
        why = &mut stop => why.unwrap_or(StopReason::Shutdown).to_string(),
        reason = live(&assignment, &upstream, frames) => reason,
    };
    assignment.exited(reason).await;
}

/// Returns only when the servers cannot be used.
async fn live(
    assignment: &Assignment,
    upstream: &Upstream,
    frames: mpsc::Receiver<Vec<u8>>,
) -> String {
    let name = &assignment.launch.model.name;
    let Upstream { servers, manner, health } = upstream;
    let speaker = match Speaker::new(name, None, servers, manner, health, Waits::default()) {
        Ok(speaker) => speaker,
        Err(reason) => return reason,
    };
    match speaker.probe().await {
        Ok(probed) => {
            let opened = opened(probed, manner.context_tokens);
            assignment.report(Report::Ready { opened, measured_bytes: None }).await;
        }
        Err(reason) => return format!("it is not ready: {reason}"),
    }
    tokio::select! {
        () = speaker.converse(frames, &assignment.link) => {}
        () = report_stats(assignment, &speaker) => {}
    }
    "nobody can reach it any more".to_owned()
}

/// What is known of an engine's model once it is ready. What the configuration says wins: it may
/// keep requests shorter than they could be.
pub(super) fn opened(probed: Probed, configured_tokens: Option<u32>) -> Opened {
    let context_tokens = configured_tokens.or(probed.context_tokens);
    Opened { context_tokens, loaded: None, trims: false }
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
