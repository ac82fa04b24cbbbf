//! The words of an explanation: spans, lists, reasons, and what keeps a model or lets it go.

use std::{cmp::Ordering, time::Duration};

use planner::fleet::{
    Cause, Explanation, Holder, Priority, Refusal, Standing, StopReason, Verdict,
};

use crate::{duration, size};

/// A span that has passed.
pub(super) fn ago(span: Duration) -> String {
    duration::format(span)
}

/// A span that is left, never shorter than it is.
pub(super) fn until(span: Duration) -> String {
    let whole = Duration::from_secs(span.as_secs());
    duration::format(if whole < span { whole + Duration::from_secs(1) } else { whole })
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn names(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    let Some(last) = names.pop() else { return String::new() };
    if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
}

/// The verb for so many.
pub(crate) fn verb(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// `1 request`, `2 requests`.
pub(crate) fn requests(count: usize) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

/// Why a model left.
pub(super) fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Stopped { why: StopReason::Evicted, for_model: Some(model) } => {
            format!("{} needed its memory", model.name)
        }
        Cause::Stopped { why: StopReason::Evicted, for_model: None } => {
            "together the models held more than the budget".to_owned()
        }
        Cause::Stopped { why: StopReason::Idle, .. } => {
            "nobody had used it for its time".to_owned()
        }
        Cause::Stopped { why: StopReason::Pressure, .. } => {
            "the machine itself was short of memory".to_owned()
        }
        Cause::Stopped { why: StopReason::Withdrawn, .. } => {
            "its file or its settings are others now".to_owned()
        }
        Cause::Stopped { why: StopReason::Operator, .. } => "it was told to stop".to_owned(),
        Cause::Stopped { why: StopReason::Shutdown, .. } => "the hub is shutting down".to_owned(),
        Cause::Died { reason } => format!("it ended by itself: {}", sentence_end(reason)),
    }
}

/// What keeps a model that is in use, or might.
pub(super) fn held(holder: &Holder) -> String {
    match holder.leases {
        0 => "others wait for it".to_owned(),
        leases => format!("in use by {}", requests(leases)),
    }
}

/// What a model in memory would do for the one that is asked for, and why.
pub(super) fn standing(explanation: &Explanation, holder: &Holder) -> String {
    let price = hourly(holder.cost_ms_per_hour);
    let idle =
        holder.idle_for.map_or_else(String::new, |idle| format!(" (idle for {})", ago(idle)));
    match holder.standing {
        Standing::Itself => "answer".to_owned(),
        Standing::Leaving => "leave: it was told to, and counts until its exit is seen".to_owned(),
        Standing::Chosen => format!("leave{idle}: to be without it costs least, {price}"),
        Standing::ChosenForGroup => {
            let group = explanation.group.as_deref().unwrap_or_default();
            format!("leave{idle}: of the group '{group}' only one is in memory at a time")
        }
        Standing::Pinned => "stay: it is pinned, and never leaves for another".to_owned(),
        Standing::InUse => format!("stay: it is {}", held(holder)),
        Standing::Wanted => "stay: others wait for it".to_owned(),
        Standing::Spared if matches!(explanation.verdict, Verdict::Pressed(_)) => {
            format!("leave{idle}, one after the other: the machine itself is short of memory")
        }
        Standing::Spared => format!("stay{idle}: {}", spared(explanation, holder)),
    }
}

/// Why an idle model is not among those that leave.
fn spared(explanation: &Explanation, holder: &Holder) -> String {
    let price = hourly(holder.cost_ms_per_hour);
    match &explanation.verdict {
        Verdict::Served(_) | Verdict::Queued(_) | Verdict::Started | Verdict::StartedAfterExits => {
            "nobody needs to leave".to_owned()
        }
        Verdict::Sparing { .. } => format!("to be without it costs more, {price}"),
        Verdict::Blocked { missing_bytes: 0, .. } => "it is not in the way".to_owned(),
        Verdict::Blocked { .. } => "it could leave, but that is not enough".to_owned(),
        Verdict::Behind(_) | Verdict::Refused(_) | Verdict::Pressed(_) => {
            "nothing is started now".to_owned()
        }
        Verdict::StartedAfterStopping(_) | Verdict::Held { .. } => {
            let chosen = |chosen: &&Holder| chosen.standing == Standing::Chosen;
            let chosen = explanation.holders.iter().filter(chosen);
            let costs = chosen.map(|chosen| chosen.cost_ms_per_hour).reduce(u64::saturating_add);
            let gives_enough = holder.bytes >= missing_bytes(explanation);
            match costs.map(|costs| holder.cost_ms_per_hour.cmp(&costs)) {
                None => "the others give enough".to_owned(),
                Some(Ordering::Greater) => format!("to be without it costs more, {price}"),
                Some(Ordering::Equal | Ordering::Less) if !gives_enough => {
                    format!("it costs only {price}, but does not give enough")
                }
                Some(Ordering::Equal) => format!("it costs as much, {price}, but was used later"),
                Some(Ordering::Less) if explanation.pledged_bytes > 0 => {
                    "it is kept for a request that came earlier".to_owned()
                }
                Some(Ordering::Less) => "cheaper ones together give enough".to_owned(),
            }
        }
    }
}

/// Bytes that idle models have to give, beside those that leave anyway.
fn missing_bytes(explanation: &Explanation) -> u64 {
    let anyway =
        |holder: &&Holder| matches!(holder.standing, Standing::Leaving | Standing::ChosenForGroup);
    let anyway = explanation.holders.iter().filter(anyway);
    let anyway_bytes: u64 = anyway.map(|holder| holder.bytes).sum();
    let wanted = explanation.booked_bytes + explanation.pledged_bytes + explanation.needed_bytes;
    wanted.saturating_sub(anyway_bytes).saturating_sub(explanation.budget_bytes)
}

/// The cost of doing without a model.
fn hourly(cost_ms_per_hour: u64) -> String {
    let tenths = cost_ms_per_hour.div_ceil(100);
    format!("{}.{} s of loading an hour", tenths / 10, tenths % 10)
}

/// Why a request would be refused, and the way out.
pub(crate) fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::TooLarge { needed_bytes, budget_bytes } => format!(
            "It needs {}, and all models together may take {}: {} too much even alone. Take a \
             smaller quantization or a shorter context, or raise the budget.",
            size::format(*needed_bytes),
            size::format(*budget_bytes),
            size::format(needed_bytes.saturating_sub(*budget_bytes))
        ),
        Refusal::Pins { needed_bytes, pinned_bytes, budget_bytes } => format!(
            "It needs {}, pinned models hold {}, and the budget is {}: {} too much. Unpin one.",
            size::format(*needed_bytes),
            size::format(*pinned_bytes),
            size::format(*budget_bytes),
            size::format((needed_bytes + pinned_bytes).saturating_sub(*budget_bytes))
        ),
        Refusal::PinnedGroup { group, holder } => format!(
            "Of the group '{group}' only one model is in memory at a time, and {holder} is pinned. \
             Unpin it with: resident unpin {holder}"
        ),
        Refusal::QueueFull { limit } => {
            format!("{limit} requests wait already, and no more may.")
        }
        Refusal::WaitedTooLong { limit } => format!("It waited {}.", ago(*limit)),
        Refusal::LoadFailed { reason } => format!("Its load failed: {}.", sentence_end(reason)),
        Refusal::CoolingOff { failures, retry_in, reason } => format!(
            "It failed {failures} times, so it is left alone for another {}; the last time because: \
             {}. A file that was changed is tried at once.",
            until(*retry_in),
            sentence_end(reason)
        ),
        Refusal::Stopped => "It was told to stop.".to_owned(),
        Refusal::ShuttingDown => "The hub is shutting down.".to_owned(),
    }
}

/// What is said of a request for which nobody waits just now.
pub(crate) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Interactive => "",
        Priority::Background => ", in the background",
    }
}

/// A worker's last words, without the point that the sentence around them sets, and without what
/// could move the reader's cursor.
fn sentence_end(reason: &str) -> String {
    crate::terminal::inert(reason.trim_end().trim_end_matches('.')).replace('\n', " ")
}
