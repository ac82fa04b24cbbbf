//! Pulls that the hub does: started, watched, paused, listed.

use std::{pin::pin, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{Ended, Order, Pull, screen::Screen, state::State, words};
use crate::{
    client::Client,
    config::Settings,
    exit::{self, Code},
    limits::PULL_LOOK_INTERVAL,
    serve,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// Where the hub's pulls are.
const PATH: &str = "/resident/v1/pulls";

/// What the hub says of a pull. Its words are `gateway::control`'s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HubPull {
    id: u64,
    source: String,
    name: Option<String>,
    state: String,
    error: Option<String>,
    #[serde(flatten)]
    progress: State,
}

#[derive(Debug, Serialize, Deserialize)]
struct HubPulls {
    pulls: Vec<HubPull>,
}

#[derive(Debug, Serialize)]
struct NewPull<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Nothing is said but the path.
#[derive(Debug, Serialize)]
struct Nothing {}

/// Starts a pull and leaves it to the hub.
///
/// # Errors
/// What the hub refuses.
pub(super) async fn leave(client: &Client, order: &Order, json: bool) -> anyhow::Result<()> {
    let pull = begin(client, order).await?;
    if json {
        return say(&pull);
    }
    terminal::line(format_args!(
        "the hub pulls it as number {}; `resident pull --list` says how far it is",
        pull.id
    ));
    Ok(())
}

/// Starts a pull and shows it until it ends. Ctrl-C pauses it.
///
/// # Errors
/// What the hub refuses, and why the pull failed.
pub(super) async fn pull(
    client: &Client,
    order: &Order,
    screen: &mut Screen,
) -> anyhow::Result<Ended> {
    let mut pull = begin(client, order).await?;
    if !screen.is_for_programs() {
        terminal::note(format_args!(
            "the hub pulls it (number {}): it goes on when this terminal is closed; Ctrl-C pauses it",
            pull.id
        ));
    }
    let mut interrupt = pin!(interrupt());
    loop {
        if let Some(ended) = ended(&pull) {
            return ended;
        }
        screen.show(&shown(&pull))?;
        tokio::select! {
            () = &mut interrupt => {
                let paused = change(client, pull.id, "pause").await?;
                return Ok(Ended::Paused(paused.progress));
            }
            () = sleep(PULL_LOOK_INTERVAL) => {}
        }
        let path = format!("{PATH}/{}", pull.id);
        pull = client.get(&path).await.map_err(crate::client::Error::with_code)?;
    }
}

/// What a pull came to; `None` while it goes on.
fn ended(pull: &HubPull) -> Option<anyhow::Result<Ended>> {
    match pull.state.as_str() {
        "done" => Some(done(pull)),
        "failed" => {
            let why = pull.error.as_deref().unwrap_or("the hub does not say why");
            Some(Err(exit::error(Code::Elsewhere, terminal::inert(why))))
        }
        "paused" => Some(Ok(Ended::Paused(pull.progress.clone()))),
        "cancelled" => {
            let why = "somebody gave it up, and what came of it is removed";
            Some(Err(exit::error(Code::Failure, why)))
        }
        // Its servers cannot be reached, which whoever waits here should know: the name may be a mistyped one.
        "waiting" => pull.error.as_deref().map(|why| {
            let message = format!(
                "{}; the hub tries it again (`resident pull --cancel {}` gives it up)",
                terminal::inert(why),
                pull.id
            );
            Err(exit::error(Code::Elsewhere, message))
        }),
        _ => None,
    }
}

fn done(pull: &HubPull) -> anyhow::Result<Ended> {
    let name = pull.name.as_deref().unwrap_or(&pull.source);
    Ok(Ended::Done(super::name(name)?))
}

/// How far a pull is, with what it waits for.
fn shown(pull: &HubPull) -> State {
    let mut state = pull.progress.clone();
    if pull.state == "waiting" && state.note.is_none() {
        state.note = Some("waiting for another pull".to_owned());
    }
    state
}

async fn begin(client: &Client, order: &Order) -> anyhow::Result<HubPull> {
    let name = order.name.as_ref().map(|name| name.as_str());
    let new = NewPull { source: &order.source, name };
    client.post(PATH, &new).await.map_err(crate::client::Error::with_code)
}

async fn change(client: &Client, id: u64, what: &str) -> anyhow::Result<HubPull> {
    let path = format!("{PATH}/{id}/{what}");
    client.post(&path, &Nothing {}).await.map_err(crate::client::Error::with_code)
}

/// Ends with Ctrl-C.
pub(super) async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Lists, pauses, resumes or cancels.
///
/// # Errors
/// With [`Code::NoHub`] when none runs, and what the hub refuses.
pub(super) fn obey(arguments: &Pull, settings: &Settings) -> anyhow::Result<()> {
    let changes =
        [(arguments.pause, "pause"), (arguments.resume, "resume"), (arguments.cancel, "cancel")];
    let wanted = changes.into_iter().find_map(|(id, what)| Some((id?, what)));
    serve::runtime()?.block_on(async {
        let client = Client::find(settings).await.map_err(crate::client::Error::with_code)?;
        match wanted {
            Some((id, what)) => {
                let pull = change(&client, id, what).await?;
                if arguments.json {
                    return say(&pull);
                }
                terminal::line(changed(&pull, what));
                Ok(())
            }
            None => {
                let pulls: HubPulls =
                    client.get(PATH).await.map_err(crate::client::Error::with_code)?;
                list(&pulls, arguments.json)
            }
        }
    })
}

fn say(pull: &HubPull) -> anyhow::Result<()> {
    terminal::line(serde_json::to_string(pull)?);
    Ok(())
}

/// What became of a pull.
fn changed(pull: &HubPull, what: &str) -> String {
    let source = terminal::inert(&pull.source);
    match what {
        "pause" => format!(
            "{source} is paused at {}; `resident pull --resume {}` goes on",
            words::percent(pull.progress.percent()),
            pull.id
        ),
        "cancel" => format!("{source} is given up, and what came of it is removed"),
        _ => format!("{source} goes on; `resident pull --list` says how far it is"),
    }
}

fn list(pulls: &HubPulls, json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::json(pulls);
    }
    if pulls.pulls.is_empty() {
        terminal::note("the hub pulls nothing; `resident pull SOURCE` starts one");
        return Ok(());
    }
    table(&pulls.pulls).lines(Paint::stdout()).iter().for_each(terminal::line);
    for pull in &pulls.pulls {
        if let Some(why) = pull.error.as_ref().or(pull.progress.note.as_ref()) {
            terminal::note(format_args!("note: {}: {}", pull.id, terminal::inert(why)));
        }
    }
    Ok(())
}

fn table(pulls: &[HubPull]) -> Table {
    let mut table = Table::new(&[
        ("ID", Align::Right),
        ("STATE", Align::Left),
        ("DONE", Align::Right),
        ("SIZE", Align::Right),
        ("RATE", Align::Right),
        ("LEFT", Align::Right),
        ("SOURCE", Align::Left),
        ("NAME", Align::Left),
    ]);
    for pull in pulls {
        let state = &pull.progress;
        let is_running = pull.state == "running";
        let left = state.left_s.filter(|_| is_running).map(Duration::from_secs);
        table.row(vec![
            pull.id.to_string(),
            terminal::inert(&pull.state),
            words::percent(state.percent()),
            words::amount(state.done_bytes, state.whole_bytes),
            if is_running { words::rate(state.bytes_per_s) } else { String::new() },
            left.map(crate::duration::format).unwrap_or_default(),
            terminal::inert(&pull.source),
            terminal::inert(pull.name.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pull(id: u64, state: &str, source: &str, done_bytes: u64) -> HubPull {
        serde_json::from_value(json!({
            "id": id, "source": source, "name": "qwen3-8b", "state": state, "error": null,
            "stage": "files", "done_bytes": done_bytes, "whole_bytes": 5_u64 << 30,
            "bytes_per_s": 50 << 20, "left_s": 61, "connections": 8, "note": null,
            "files": [{"name": "a.gguf", "done_bytes": done_bytes, "whole_bytes": 5_u64 << 30}],
        }))
        .unwrap()
    }

    #[test]
    fn pulls_as_people_read_them() {
        let pulls = [
            pull(3, "running", "hf:unsloth/Qwen3-8B-GGUF:Q4_K_M", 2 << 30),
            pull(4, "paused", "ollama:llama3.2", 0),
        ];
        let lines = table(&pulls).lines(Paint::plain());
        assert_eq!(
            lines,
            [
                "ID   STATE     DONE          SIZE         RATE    LEFT   SOURCE                            NAME",
                " 3   running   40 %   2.0/5.0 GiB   50.0 MiB/s   1m 1s   hf:unsloth/Qwen3-8B-GGUF:Q4_K_M   qwen3-8b",
                " 4   paused     0 %   0 B/5.0 GiB                        ollama:llama3.2                   qwen3-8b",
            ]
        );
    }

    #[test]
    fn what_the_hub_says_of_the_end_is_understood() {
        let is = |state: &str| ended(&pull(1, state, "hf:a/b", 7));
        assert!(is("running").is_none());
        assert!(is("waiting").is_none());
        assert!(matches!(is("done"), Some(Ok(Ended::Done(name))) if name.as_str() == "qwen3-8b"));
        assert!(matches!(is("paused"), Some(Ok(Ended::Paused(state))) if state.done_bytes == 7));
        assert!(matches!(is("cancelled"), Some(Err(_))));
        let mut waiting = pull(4, "waiting", "hf:a/b", 7);
        waiting.error = Some("cannot reach https://h/".to_owned());
        let message = ended(&waiting).unwrap().err().unwrap().to_string();
        assert_eq!(
            message,
            "cannot reach https://h/; the hub tries it again (`resident pull --cancel 4` gives it up)"
        );
        let mut failed = pull(1, "failed", "hf:a/b", 7);
        failed.error = Some("the disk is full".to_owned());
        let message = ended(&failed).unwrap().err().unwrap().to_string();
        assert_eq!(message, "the disk is full");
    }

    #[test]
    fn who_waits_is_told_for_whom() {
        let note = shown(&pull(1, "waiting", "hf:a/b", 0)).note;
        assert_eq!(note.as_deref(), Some("waiting for another pull"));
        assert_eq!(shown(&pull(1, "running", "hf:a/b", 0)).note, None);
    }

    #[test]
    fn what_became_of_a_pull_is_said_with_the_way_on() {
        let pull = pull(7, "paused", "hf:a/b", 2 << 30);
        assert_eq!(
            changed(&pull, "pause"),
            "hf:a/b is paused at 40 %; `resident pull --resume 7` goes on"
        );
        assert!(changed(&pull, "cancel").starts_with("hf:a/b is given up"));
    }
}
