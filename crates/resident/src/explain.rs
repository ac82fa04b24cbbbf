//! `resident explain NAME|REQUEST`: why it did that, and what it would do, as a person reads it.
//!
//! [`of_model`], [`of_role`] and [`of_request`] turn what the hub says into lines and ask nobody. Not here: the
//! decision itself, and what it knows (`planner::fleet`).

#[cfg(test)]
mod tests;
pub(crate) mod words;

use gateway::control::{CandidateRow, Explained, ExplainedName, ExplainedRole, Requests};
use planner::fleet::{Explanation, Holder, Pressure, Standing, Turn, Verdict, Wait, WorkerId};
use serde::Serialize;

use crate::{
    cli,
    client::{Client, Error},
    config,
    exit::{self, Code},
    serve, size,
    table::{Align, Table},
    terminal::{self, Paint, Tone},
};
use words::{ago, held, names, requests, until, verb};

/// What `--json` prints of a request.
#[derive(Debug, Serialize)]
struct Document<'a> {
    request: u64,
    model: &'a str,
    turn: &'a Turn,
}

/// Explains.
///
/// # Errors
/// When no hub of ours answers, there is no such model, or no such request is open.
pub(crate) fn explain(arguments: &cli::Explain) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &cli::Serving::default())?;
    let number = arguments.subject.trim_start_matches('#').parse::<u64>().ok();
    let (open, explained) = serve::runtime()?
        .block_on(async {
            let client = Client::find(&settings).await?;
            let open = client.get::<Requests>("/resident/v1/requests").await?;
            let is_request = number.is_some_and(|number| row(&open, number).is_some());
            // A model may be named with a number.
            if is_request || arguments.subject.starts_with('#') {
                return Ok((open, None));
            }
            let explained = client.explain(&arguments.subject).await?;
            Ok((open, Some(explained)))
        })
        .map_err(Error::with_code)?;
    match (explained, number) {
        (Some(explained), _) if arguments.json => terminal::json(&explained)?,
        (Some(ExplainedName::Model(explained)), _) => {
            print(of_model(&explained, &open, Paint::stdout()));
        }
        (Some(ExplainedName::Role(explained)), _) => print(of_role(&explained, Paint::stdout())),
        (None, number) => {
            let found = number.and_then(|number| row(&open, number));
            let found = found.ok_or_else(|| {
                let message = format!(
                    "no request {} is open; `resident ps` lists those that wait",
                    arguments.subject
                );
                exit::error(Code::Failure, message)
            })?;
            let gateway::control::RequestRow { request, model, turn } = found;
            if arguments.json {
                return terminal::json(&Document { request: *request, model, turn });
            }
            print(of_request(*request, model, turn, &open));
        }
    }
    Ok(())
}

fn print(lines: Vec<String>) {
    lines.into_iter().for_each(terminal::line);
}

fn row(open: &Requests, number: u64) -> Option<&gateway::control::RequestRow> {
    open.requests.iter().find(|row| row.request == number)
}

/// Why a model is or is not loaded, and what would happen to a request for it now.
pub(crate) fn of_model(explained: &Explained, open: &Requests, paint: Paint) -> Vec<String> {
    let name = paint.tone(Tone::Strong, &explained.model);
    let mut lines = vec![format!("{name} {}", present(&explained.explanation))];
    lines.extend(if_wanted(explained, open, paint));
    lines
}

/// Which of a role's models would serve it now, and why not another.
pub(crate) fn of_role(explained: &ExplainedRole, paint: Paint) -> Vec<String> {
    let ExplainedRole { role, asked_to, candidates } = explained;
    let begin = format!("{} is a role.", paint.tone(Tone::Strong, role));
    let first = candidates.iter().find(|candidate| candidate.tried);
    let goes_to = match first {
        Some(CandidateRow { model, .. }) => format!("would go to {model}."),
        None => "would be refused: none of its models can serve it.".to_owned(),
    };
    let mut lines = vec![format!("{begin} A short request to {asked_to} {goes_to}")];
    if candidates.is_empty() {
        return lines;
    }
    lines.push(String::new());
    let mut table = Table::new(&[("", Align::Right), ("MODEL", Align::Left), ("WHY", Align::Left)]);
    let mut places = 1..;
    for candidate in candidates {
        let place = places.next().filter(|_| candidate.tried);
        let place = place.map_or_else(|| "-".to_owned(), |place: usize| place.to_string());
        let through = match &*candidate.by {
            [] | [_] => String::new(),
            [_, through @ ..] => format!(", through {}", through.join(", ")),
        };
        table.row(vec![place, candidate.model.clone(), format!("{}{through}", candidate.why)]);
    }
    lines.extend(table.lines(paint));
    lines.push(String::new());
    lines.push("`resident explain MODEL` says more of each.".to_owned());
    lines
}

/// What would happen if a model were wanted now.
pub(crate) fn if_wanted(explained: &Explained, open: &Requests, paint: Paint) -> Vec<String> {
    let explanation = &explained.explanation;
    let mut lines = Vec::from_iter(pressure(explanation.pressure));
    let begin = paint.tone(Tone::Strong, "If it were asked for now:");
    lines.push(format!("{begin} {}", outcome(explained, open)));
    if !explanation.holders.is_empty() {
        lines.push(String::new());
        lines.extend(holders(explanation).lines(paint));
    }
    if let Some(sum) = sum(explained) {
        lines.push(String::new());
        lines.extend(sum.lines(paint));
    }
    lines
}

/// Whether it is loaded, and if not, why.
fn present(explanation: &Explanation) -> String {
    let itself = |holder: &&Holder| holder.standing == Standing::Itself;
    if let Some(holder) = explanation.holders.iter().find(itself) {
        let unloads = match (holder.unload_in, holder.idle_for) {
            (Some(left), Some(idle)) => {
                format!(", idle for {}, and unloads in {}", ago(idle), until(left))
            }
            (None, Some(idle)) => format!(", idle for {}, and stays", ago(idle)),
            // Nobody uses it and it is not idle either.
            (_, None) if holder.leases == 0 => " only in part: it is loading".to_owned(),
            (_, None) => format!(", in use by {}", requests(holder.leases)),
        };
        return format!("is loaded{unloads}.");
    }
    match &explanation.departure {
        Some(departure) => format!(
            "is not loaded: it left {} ago, because {}.",
            ago(explanation.at.since(departure.when)),
            words::cause(&departure.cause)
        ),
        None => "is not loaded: nobody has asked this hub for it yet.".to_owned(),
    }
}

fn pressure(level: Pressure) -> Option<String> {
    let words = match level {
        Pressure::Calm => return None,
        Pressure::Some => "begins to be short of memory, whatever is booked here",
        Pressure::Full => {
            "is short of memory, whatever is booked here: idle models leave one by one until it is not"
        }
    };
    Some(format!("The machine itself {words}."))
}

/// What would happen, as the end of a sentence that began.
fn outcome(explained: &Explained, open: &Requests) -> String {
    let explanation = &explained.explanation;
    let called = |workers: &[WorkerId]| names(workers.iter().map(|id| name(explanation, *id)));
    match &explanation.verdict {
        Verdict::Served(_) => "it would be served at once.".to_owned(),
        Verdict::Queued(id) => queued(explanation, *id),
        Verdict::Started => "it would be loaded at once: there is room.".to_owned(),
        Verdict::StartedAfterExits => {
            let of = explanation.holders.iter();
            let of = of.filter(|holder| holder.standing == Standing::Leaving);
            let leaving: Vec<String> = of.map(|holder| holder.model.name.to_string()).collect();
            let verb = verb(leaving.len(), "is", "are");
            let leaving = names(leaving.into_iter());
            format!("it would be loaded as soon as {leaving} {verb} gone, which {verb} leaving.")
        }
        Verdict::StartedAfterStopping(victims) => {
            format!("{} would leave, and then it would be loaded.", called(victims))
        }
        Verdict::Pressed(workers) => format!(
            "it would wait until {} {} gone or the machine has enough memory again: until then \
             nothing is loaded beside another.",
            called(workers),
            verb(workers.len(), "is", "are")
        ),
        Verdict::Held { victims, ends_in } => format!(
            "{} would leave for it in {} at the latest, and {} kept that long for users of {} own, \
             who asked a moment ago.",
            called(victims),
            until(*ends_in),
            verb(victims.len(), "is", "are"),
            verb(victims.len(), "its", "their")
        ),
        Verdict::Sparing { workers, ends_in } => format!(
            "it would wait until {}, for {} at most: what is idle now is dearer to be without.",
            idle(called(workers), workers.len()),
            until(*ends_in)
        ),
        Verdict::Blocked { missing_bytes, workers } => {
            blocked(explanation, *missing_bytes, workers)
        }
        Verdict::Behind(request) => {
            let whose = match row(open, request.0) {
                Some(row) => format!("request {} for {}", request.0, row.model),
                None => format!("request {}", request.0),
            };
            format!("it would wait behind {whose}, which came first.")
        }
        Verdict::Refused(refusal) => {
            format!("it would be refused. {}", words::refusal(refusal))
        }
    }
}

fn queued(explanation: &Explanation, id: WorkerId) -> String {
    let holder = explanation.holders.iter().find(|holder| holder.worker == id);
    match holder.map(|holder| holder.leases) {
        // One that is loading has no users yet; one that is drained has some.
        Some(0) | None => "it would be served when it is loaded, which has begun.".to_owned(),
        Some(leases) => format!(
            "it would wait: {} {} it, and no more are let in for the moment, because it is full or \
             another model's turn has come.",
            requests(leases),
            verb(leases, "uses", "use")
        ),
    }
}

fn blocked(explanation: &Explanation, missing_bytes: u64, workers: &[WorkerId]) -> String {
    let holder = |id: &WorkerId| {
        let holder = explanation.holders.iter().find(|holder| holder.worker == *id)?;
        Some(format!("{} ({})", holder.model.name, held(holder)))
    };
    let in_use = names(workers.iter().filter_map(holder));
    if workers.is_empty() && explanation.pledged_bytes > 0 {
        return format!(
            "it would wait until those are served who wait already: {} are promised to them, and \
             beside that {} would be missing.",
            size::format(explanation.pledged_bytes),
            size::format(missing_bytes)
        );
    }
    let place = match &explanation.group {
        Some(group) if missing_bytes == 0 => format!(
            "of the group '{group}' only one model is in memory at a time, and what is in use is \
             never stopped for another"
        ),
        Some(_) | None => format!(
            "{} would still be missing if every idle model left, and what is in use is never \
             stopped for another",
            size::format(missing_bytes)
        ),
    };
    let who = match workers.len() {
        0 => "others are done".to_owned(),
        count => format!("{in_use} {} done", verb(count, "is", "are")),
    };
    format!("it would wait until {who}: {place}.")
}

/// So many that are to be idle; those that have not started yet have no name.
fn idle(called: String, count: usize) -> String {
    match count {
        0 => "those are idle who are about to load".to_owned(),
        count => format!("{called} {} idle", verb(count, "is", "are")),
    }
}

fn name(explanation: &Explanation, id: WorkerId) -> String {
    let holder = explanation.holders.iter().find(|holder| holder.worker == id);
    holder.map_or_else(|| format!("worker {}", id.0), |holder| holder.model.name.to_string())
}

/// Who holds memory, and what each would do.
fn holders(explanation: &Explanation) -> Table {
    let mut table = Table::new(&[
        ("IN MEMORY", Align::Left),
        ("BYTES", Align::Right),
        ("", Align::Right),
        ("WHAT IT WOULD DO", Align::Left),
    ]);
    for holder in &explanation.holders {
        table.row(vec![
            holder.model.name.to_string(),
            holder.bytes.to_string(),
            size::format(holder.bytes),
            words::standing(explanation, holder),
        ]);
    }
    table
}

/// The sum that the answer rests on, to the byte. `None` when nothing is to be started.
fn sum(explained: &Explained) -> Option<Table> {
    let explanation = &explained.explanation;
    let leaves = |standings: &[Standing]| -> u64 {
        let leaving = explanation.holders.iter();
        let leaving = leaving.filter(|holder| standings.contains(&holder.standing));
        leaving.map(|holder| holder.bytes).sum()
    };
    let gone = leaves(&[Standing::Leaving, Standing::Chosen, Standing::ChosenForGroup]);
    let is_over = match &explanation.verdict {
        Verdict::Served(_) | Verdict::Queued(_) | Verdict::Refused(_) | Verdict::Behind(_) => {
            return None;
        }
        Verdict::Started
        | Verdict::StartedAfterExits
        | Verdict::StartedAfterStopping(_)
        | Verdict::Held { .. } => false,
        // What is idle would be enough, and is spared.
        Verdict::Sparing { .. } => return None,
        // It is not the sum that keeps it waiting.
        Verdict::Pressed(_) => return None,
        Verdict::Blocked { .. } => true,
    };
    let mut table =
        Table::new(&[("THE SUM", Align::Left), ("BYTES", Align::Right), ("", Align::Right)]);
    let mut line = |sign: &str, what: &str, bytes: u64| {
        table.row(vec![format!("{sign} {what}"), bytes.to_string(), size::format(bytes)]);
    };
    line(" ", "in memory", explanation.booked_bytes);
    if explanation.pledged_bytes > 0 {
        line("+", "promised to those who wait already", explanation.pledged_bytes);
    }
    line("+", &explained.model, explanation.needed_bytes);
    if gone > 0 {
        line("-", "what leaves", gone);
    }
    let after = explanation.booked_bytes + explanation.pledged_bytes + explanation.needed_bytes;
    let after = after.saturating_sub(gone);
    line("=", "together", after);
    line(" ", "budget", explanation.budget_bytes);
    match (is_over, after.checked_sub(explanation.budget_bytes)) {
        (true, Some(over)) if over > 0 => line(" ", "too much by", over),
        (_, None | Some(_)) => {}
    }
    Some(table)
}

/// Where a request stands.
pub(crate) fn of_request(number: u64, model: &str, turn: &Turn, open: &Requests) -> Vec<String> {
    match turn {
        Turn::Using(_) => vec![format!("Request {number} uses {model} now.")],
        Turn::Waiting(wait) => of_wait(number, wait, open),
    }
}

fn of_wait(number: u64, wait: &Wait, open: &Requests) -> Vec<String> {
    let waiting = open.requests.iter().filter(|row| matches!(row.turn, Turn::Waiting(_))).count();
    let model = &wait.model.name;
    let mut lines = vec![
        format!(
            "Request {number} has waited {} for {model}, as number {} of {} who wait{}.",
            ago(wait.waited),
            wait.place,
            waiting.max(wait.place),
            words::priority(wait.priority)
        ),
        format!("It waits until {}.", waits_for(wait, open)),
    ];
    lines.push(if wait.turn_in.is_zero() {
        "Its turn has come: nobody of another model overtakes it any more.".to_owned()
    } else {
        format!(
            "Its turn comes in {} at the latest; until then requests for models that are loaded may \
             overtake it.",
            until(wait.turn_in)
        )
    });
    lines.push(match wait.refused_in {
        Some(left) => format!("If nothing comes of it, it is refused in {}.", until(left)),
        None => "It is not refused while its model loads; a load that fails answers it.".to_owned(),
    });
    lines
}

/// What a request waits for, as the end of a sentence with "until".
pub(crate) fn waits_for(wait: &Wait, open: &Requests) -> String {
    use planner::fleet::WaitingFor;
    let name =
        |id: &WorkerId| open.workers.get(id).cloned().unwrap_or_else(|| format!("worker {}", id.0));
    let called = |ids: &[WorkerId]| names(ids.iter().map(name));
    match &wait.waiting_for {
        WaitingFor::Load(_) => format!("{} is loaded", wait.model.name),
        WaitingFor::Place(_) => format!("a place at {} is free", wait.model.name),
        WaitingFor::Drained { behind, .. } => {
            format!("request {} is served, for which {} takes nobody in", behind.0, wait.model.name)
        }
        WaitingFor::Exits(workers) if workers.is_empty() => "there is room".to_owned(),
        WaitingFor::Exits(workers) => {
            let verb = verb(workers.len(), "is", "are");
            format!("{} {verb} gone, which {verb} leaving", called(workers))
        }
        WaitingFor::Pressure(workers) => format!(
            "{} {} gone or the machine itself, which is short of memory, has enough again",
            called(workers),
            verb(workers.len(), "is", "are")
        ),
        WaitingFor::Held { victims, ends_in } => format!(
            "{} {} for it, in {} at the latest: so long {} kept for users of {} own",
            called(victims),
            verb(victims.len(), "leaves", "leave"),
            until(*ends_in),
            verb(victims.len(), "it is", "they are"),
            verb(victims.len(), "its", "their")
        ),
        WaitingFor::Sparing { workers, ends_in } => format!(
            "{}, for {} at most: what is idle now is dearer to be without",
            idle(called(workers), workers.len()),
            until(*ends_in)
        ),
        WaitingFor::InUse { workers, .. } if workers.is_empty() => "others are done".to_owned(),
        WaitingFor::InUse { missing_bytes: 0, workers } => {
            let verb = verb(workers.len(), "is", "are");
            format!("{} {verb} done, which {verb} in use and of the same group", called(workers))
        }
        WaitingFor::InUse { missing_bytes, workers } => format!(
            "{} {} done, because {} more are needed than idle models could give",
            called(workers),
            verb(workers.len(), "is", "are"),
            size::format(*missing_bytes)
        ),
        WaitingFor::Behind(request) => format!("request {} is served, which came first", request.0),
    }
}
