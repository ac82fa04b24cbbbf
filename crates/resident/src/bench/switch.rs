//! Switching: from a request for a model that is not in memory to its first token, in parts.
//!
//! One client asks two models in turn, of which only one may be in memory. The hub's own journal says
//! when it was asked, when it told the other to leave, when it saw the exit, and when the model was
//! ready; the worker says what loading took; the client sees the end. Where llama.cpp's own hub is on
//! PATH, it makes the same switches in turn with ours (`llama_server`).

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use supervisor::{
    Happening,
    fleet::{Action, Event},
};

use super::{
    cache::files,
    client::{Answer, Client, Completion},
    hub::{Guessing, Hub, MODEL, OTHER, Setup},
    limits::{SWITCH_CONTEXT_SLACK_TOKENS, SWITCHES_UNCOUNTED},
    llama_server::LlamaServer,
    statistic::median,
    subject::{Prompts, Subject},
};
use crate::{
    size,
    table::{Align, Table},
    terminal::{self, Paint, Tone},
};

/// What a switch may take beyond loading, in milliseconds.
const OVER_LOAD_MS_MAX: f64 = 300.0;

/// Within this time after it was told to leave, a model's memory must be back.
const STOP_MS_MAX: f64 = 500.0;

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) models: [Subject; 2],
    pub(crate) worker: PathBuf,
    pub(crate) rounds: u32,
    pub(crate) prompt_tokens: u32,
    pub(crate) threads: Option<u32>,
    pub(crate) budget_bytes: u64,
    /// Whether files are dropped from the system's cache before they are loaded.
    pub(crate) is_cold: bool,
}

/// One switch, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Switch {
    /// From the request to the word that the other leaves: it is kept for users of its own.
    held: f64,
    /// From there until its exit was seen, and with it its memory free.
    stop: f64,
    /// From there until the model was ready, without loading.
    spawn: f64,
    /// Loading, by the worker's own account: the file, the context, a first step.
    load: f64,
    /// From there to the first token at the client.
    first_token: f64,
    /// Everything: from sending the request to the first token.
    total: f64,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    is_cold: bool,
    prompt_tokens: u32,
    /// For each model the switches to it, in order.
    models: Vec<Switched>,
}

/// The switches to one model.
#[derive(Debug, Serialize)]
struct Switched {
    model: Subject,
    switches: Vec<Switch>,
    /// What the same switches took `llama-server`, in milliseconds; empty where it is not on PATH.
    router_total: Vec<f64>,
}

/// Measures.
///
/// # Errors
/// When a request fails, or the journal does not tell what happened.
pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Outcome> {
    let [one, other] = &plan.models;
    let setup = Setup {
        model: one.path.clone(),
        other: Some(other.path.clone()),
        worker: Some(plan.worker.clone()),
        context_tokens: plan.prompt_tokens + SWITCH_CONTEXT_SLACK_TOKENS,
        parallel: 1,
        threads: plan.threads,
        budget_bytes: plan.budget_bytes,
        guessing: Guessing::Off,
        keep: None,
    };
    let hub = Hub::start(&setup).await?;
    let router = match LlamaServer::find() {
        Some(program) => Some(LlamaServer::start_router(&program, &setup).await?),
        None => None,
    };
    let switched = switch_in_turn(&plan, &hub, router.as_ref()).await;
    if let Some(router) = router {
        router.stop().await?;
    }
    Ok(Outcome {
        is_cold: plan.is_cold,
        prompt_tokens: plan.prompt_tokens,
        models: switched?.into(),
    })
}

async fn switch_in_turn(
    plan: &Plan,
    hub: &Hub,
    router: Option<&LlamaServer>,
) -> anyhow::Result<[Switched; 2]> {
    let mut prompts = plan.models.each_ref().map(|model| Prompts::new(model.vocabulary_tokens));
    let mut switched = plan.models.clone().map(|model| Switched {
        model,
        switches: Vec::new(),
        router_total: Vec::new(),
    });
    let uncounted = SWITCHES_UNCOUNTED / 2;
    for round in 0..uncounted + plan.rounds {
        for (at, name) in [MODEL, OTHER].into_iter().enumerate() {
            let prompt = prompts[at].take(1, plan.prompt_tokens).concat();
            let completion = Completion::new(name, prompt, 1);
            let seen = hub.journal()?.len();
            let answer = ask(plan, at, hub.client().await?, &completion).await?;
            let router_total = match router {
                Some(router) => {
                    let answer = ask(plan, at, router.client().await?, &completion).await;
                    Some(answer.context("llama-server")?.wall().as_secs_f64() * 1e3)
                }
                None => None,
            };
            if round < uncounted {
                continue;
            }
            let load_ms = hub.load_ms(name).await?;
            let switch = Switch::read(&hub.journal()?[seen..], &answer, load_ms)?;
            let beside =
                router_total.map_or_else(String::new, |ms| format!(", the router {ms:.0}"));
            terminal::note(format_args!(
                "round {} of {}: to {} in {:.0} ms, {:.0} of it loading{beside}",
                round + 1 - uncounted,
                plan.rounds,
                plan.models[at].name,
                switch.total,
                switch.load
            ));
            switched[at].switches.push(switch);
            switched[at].router_total.extend(router_total);
        }
    }
    Ok(switched)
}

async fn ask(
    plan: &Plan,
    at: usize,
    mut client: Client,
    completion: &Completion,
) -> anyhow::Result<Answer> {
    if plan.is_cold {
        files::drop_from_cache(&plan.models[at].path).context("--cold does not work here")?;
    }
    client.complete(completion).await
}

impl Switch {
    /// Reads one switch from what happened since the request.
    fn read(happened: &[Happening], answer: &Answer, load_ms: u64) -> anyhow::Result<Self> {
        let told = |wanted: &dyn Fn(&Event, &[Action]) -> bool| {
            happened.iter().find_map(|entry| match entry {
                Happening::Told { at, event, actions } if wanted(event, actions) => Some(*at),
                Happening::Told { .. }
                | Happening::Began { .. }
                | Happening::Continues { .. }
                | Happening::Lost { .. }
                | Happening::Ended { .. } => None,
            })
        };
        let does = |action: fn(&Action) -> bool| told(&|_, actions| actions.iter().any(action));
        let wanted = told(&|event, _| matches!(event, Event::Wanted { .. }));
        let stopped = does(|action| matches!(action, Action::Stop { .. }));
        let gone = told(&|event, _| matches!(event, Event::Exited { .. }));
        let ready = told(&|event, _| matches!(event, Event::Ready { .. }));
        let missing = "the hub did not switch; its journal tells of no";
        let wanted = wanted.with_context(|| format!("{missing} request"))?;
        let stopped = stopped.with_context(|| format!("{missing} stop"))?;
        let gone = gone.with_context(|| format!("{missing} exit"))?;
        let ready = ready.with_context(|| format!("{missing} model that is ready"))?;
        ensure!(
            wanted <= stopped && stopped <= gone && gone <= ready,
            "the journal has the switch in another order than it must be"
        );
        let ms = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e3;
        let (load, total) = (load_ms as f64, answer.wall().as_secs_f64() * 1e3);
        Ok(Self {
            held: ms(wanted, stopped),
            stop: ms(stopped, gone),
            spawn: (ms(gone, ready) - load).max(0.0),
            load,
            first_token: (total - ms(wanted, ready)).max(0.0),
            total,
        })
    }
}

impl Outcome {
    /// For people: the medians, and what the project wants to reach.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let has_router = self.models.iter().any(|model| !model.router_total.is_empty());
        let mut heads = vec![
            ("SWITCH TO", Align::Left),
            ("SIZE", Align::Right),
            ("HELD", Align::Right),
            ("STOP", Align::Right),
            ("SPAWN", Align::Right),
            ("LOAD", Align::Right),
            ("FIRST TOKEN", Align::Right),
            ("TOTAL", Align::Right),
            ("OVER LOAD", Align::Right),
            ("", Align::Left),
        ];
        if has_router {
            heads.insert(heads.len() - 1, ("LLAMA-SERVER", Align::Right));
        }
        let mut table = Table::new(&heads);
        let mut is_met = true;
        for Switched { model, switches, router_total } in &self.models {
            let middle = |part: fn(&Switch) -> f64| {
                median(&switches.iter().map(part).collect::<Vec<f64>>()).unwrap_or_default()
            };
            let over = middle(|switch| switch.total - switch.load);
            is_met &= over <= OVER_LOAD_MS_MAX && middle(|switch| switch.stop) <= STOP_MS_MAX;
            let mut cells = vec![model.name.clone(), size::format(model.file_bytes)];
            let parts: [fn(&Switch) -> f64; 6] = [
                |switch| switch.held,
                |switch| switch.stop,
                |switch| switch.spawn,
                |switch| switch.load,
                |switch| switch.first_token,
                |switch| switch.total,
            ];
            cells.extend(parts.map(|part| format!("{:.0}", middle(part))));
            cells.push(format!("{over:.0}"));
            cells.extend(median(router_total).map(|ms| format!("{ms:.0}")));
            cells.push("ms".to_owned());
            table.row(cells);
        }
        let cache = if self.is_cold { "cold" } else { "warm" };
        let mut lines = vec![format!(
            "medians of {} switches each, prompts of {} tokens, {cache} page cache",
            self.models.first().map_or(0, |model| model.switches.len()),
            self.prompt_tokens
        )];
        lines.push(String::new());
        lines.extend(table.lines(paint));
        lines.push(String::new());
        let reach = format!(
            "wanted: at most {OVER_LOAD_MS_MAX} ms over loading, memory back {STOP_MS_MAX} ms after \
             the stop: "
        );
        let (word, tone) = if is_met { ("met", Tone::Strong) } else { ("not met", Tone::Alarm) };
        lines.push(reach + &paint.tone(tone, word));
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use supervisor::fleet::{Model, StopReason, WorkerId};

    use super::{super::client::Came, *};

    fn told(at_ms: u64, event: Event, actions: Vec<Action>) -> Happening {
        Happening::Told { at: Duration::from_millis(at_ms), event, actions }
    }

    #[test]
    fn the_parts_of_a_switch_add_up() {
        let (old, new) = (WorkerId(0), WorkerId(1));
        let model = Model { name: "b".into(), version: 1 };
        let stop = Action::Stop { worker: old, why: StopReason::Evicted };
        let start = Action::Start { worker: new, model: model.clone() };
        let wanted: Event = serde_json::from_value(serde_json::json!({"Wanted": {
            "request": 1, "model": model, "priority": "Interactive", "keep_alive": null,
            "terms": {"bytes": 1, "group": null, "pinned": false, "idle_unload": null,
                      "load_time": {"secs": 0, "nanos": 0}}
        }}))
        .unwrap();
        let happened = [
            told(1000, wanted, vec![]),
            told(1010, Event::Tick, vec![stop]),
            told(1030, Event::Exited { worker: old, reason: String::new() }, vec![start]),
            told(1130, Event::Ready { worker: new, measured_bytes: 1 }, vec![]),
        ];
        let begun = Instant::now();
        let answer = Answer {
            begun,
            ended: begun + Duration::from_millis(150),
            worker: Duration::ZERO,
            tokens: 1,
            prompt_tokens: 1,
            cached_tokens: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            came: Came::default(),
            prompt: Duration::ZERO,
            predicted: Duration::ZERO,
        };
        let switch = Switch::read(&happened, &answer, 80).unwrap();
        let Switch { held, stop, spawn, load, first_token, total } = switch;
        assert_eq!([held, stop, spawn, load, first_token], [10.0, 20.0, 20.0, 80.0, 20.0]);
        assert!((total - 150.0).abs() < 1e-6);
        let message = Switch::read(&happened[..2], &answer, 80).unwrap_err().to_string();
        assert!(message.contains("no exit"), "{message}");
    }
}
