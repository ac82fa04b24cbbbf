//! `resident bench`: how fast a model is through the hub, beside a plain loop over llama.cpp in the
//! same run.
//!
//! The measured hub is this very program as a child process ([`hub`]); the other side is
//! `resident-llama plain` ([`plain`]). Both take turns with the same prompts, lengths and threads,
//! so that whatever else the machine does hits both, and the best of all rounds counts:
//!
//! - *prefill* ([`speed`]): fresh prompts, one token each; prompt tokens over the time from sending
//!   the requests to the last answer.
//! - *decode* ([`speed`]): the same prompts again, which the hub finds in its cache, and full
//!   answers; tokens over the time from sending the requests to the last answer, all of it over
//!   HTTP. Of the plain loop the better of llama.cpp's two kinds of cache counts.
//! - *added latency* ([`latency`]): the client's time minus the worker's own account of its time.
//! - *switch* ([`switch`]): from a request for a model that is not in memory to its first token.
//! - *speculation* ([`speculation`]): answers with guesses and without, by turns.
//! - *cache* ([`cache`]): how soon a long prompt is answered from each tier of the cache; [`cost`]: what
//!   that costs when nothing is used again.
//! - *constraint* ([`constraint`]): answers that are held to a schema beside free ones.
//! - *threads* ([`threads`]): the adaptive worker beside fixed numbers of threads on a machine that
//!   others use too.
//!
//! Not here: benches of pure parts, which stand in their crates and run with `cargo bench`.

mod busy;
mod cache;
mod calibrate;
mod client;
mod command;
mod constraint;
mod cores;
mod cost;
mod hub;
mod latency;
mod limits;
mod llama_server;
mod plain;
mod report;
mod speculation;
mod speed;
mod statistic;
mod subject;
mod switch;
mod threads;

use std::path::PathBuf;

use anyhow::Context as _;

pub(crate) use command::Bench;
use command::Other;

use crate::{
    cli::Serving,
    config::{self, Settings},
    exit::{self, Code},
    stop_signal,
    terminal::{self, Paint},
};

/// Runs the measurement that was asked for.
///
/// # Errors
/// When the model, the worker or the hub fails; the message says which.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match &bench.other {
        Some(Other::Spin) => busy::spin(),
        Some(Other::Threads(threads)) => wait_for(measure_threads(threads)),
        Some(Other::Switch(switch)) => wait_for(measure_switch(switch)),
        Some(Other::Speculation(speculation)) => wait_for(measure_speculation(speculation)),
        Some(Other::Constraint(constraint)) => wait_for(measure_constraint(constraint)),
        Some(Other::Cache(cache)) if cache.cost => wait_for(measure_cost(cache)),
        Some(Other::Cache(cache)) => wait_for(measure_cache(cache)),
        None => wait_for(measure_speed(bench)),
    }
}

/// One thread is enough to read a few sockets, and leaves the cores to what is measured. A signal
/// drops the measurement, and with it the hub and the processes it started.
fn wait_for(measurement: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(async {
            tokio::select! {
                outcome = measurement => outcome,
                () = stop_signal::first() => {
                    Err(exit::error(Code::Interrupted, "stopped before the measurement was done"))
                }
            }
        })
}

async fn measure_speed(bench: &Bench) -> anyhow::Result<()> {
    let settings = config::load(&bench.place, &bench.serving)?;
    let subject = subject::Subject::choose(asked(bench.model.as_ref(), &bench.serving), &settings)?;
    let plan = speed::Plan {
        model: subject.path.clone(),
        worker: worker(&settings)?,
        streams: bench.streams.clone(),
        prompt_tokens: bench.prompt_tokens,
        tokens: bench.effort.tokens,
        rounds: bench.effort.rounds,
        threads: settings.threads.unwrap_or_else(cores::performance),
    };
    let hub = hub::Hub::start(&hub::Setup {
        model: plan.model.clone(),
        other: None,
        worker: Some(plan.worker.clone()),
        context_tokens: plan.cells().max(settings.context_tokens.unwrap_or(0)),
        parallel: plan.streams_max(),
        threads: Some(plan.threads),
        budget_bytes: settings.budget_bytes,
        guessing: hub::Guessing::Off,
        keep: None,
    })
    .await?;
    let memory_idle = hub.memory().await?;
    let mut prompts = subject::Prompts::new(subject.vocabulary_tokens);
    terminal::note(format_args!("loading {} and warming it up", subject.name));
    speed::warm_up(&hub, &mut prompts, plan.prompt_tokens, limits::WARM_UP_TOKENS).await?;
    let pairs = speed::measure(&plan, &hub, &mut prompts).await?;
    terminal::note("measuring what the hub adds");
    let added = latency::measure(&hub, &mut prompts).await?;
    let memory_after = hub.memory().await?;
    match calibrate::store(&settings.data_dir, &subject, &plan, &pairs) {
        Ok(told) => terminal::note(told),
        Err(error) => {
            terminal::note(format_args!("`resident plan` learns nothing from this: {error:#}"))
        }
    }
    let outcome = report::Outcome::new(subject, &plan, pairs, added, memory_idle, memory_after);
    if bench.effort.json {
        return terminal::json(&outcome);
    }
    outcome.lines(Paint::stdout()).iter().for_each(terminal::line);
    Ok(())
}

async fn measure_threads(threads: &command::Threads) -> anyhow::Result<()> {
    let settings = config::load(&threads.place, &threads.serving)?;
    let asked = asked(threads.model.as_ref(), &threads.serving);
    let subject = subject::Subject::choose(asked, &settings)?;
    let plan = threads::Plan {
        busy: threads.busy,
        tokens: threads.effort.tokens,
        rounds: threads.effort.rounds,
        worker: worker(&settings)?,
        budget_bytes: settings.budget_bytes,
    };
    let outcome = threads::measure(subject, &plan).await?;
    if threads.effort.json {
        return terminal::json(&outcome);
    }
    outcome.lines(Paint::stdout()).iter().for_each(terminal::line);
    Ok(())
}

async fn measure_speculation(arguments: &command::Speculation) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let asked = asked(arguments.model.as_ref(), &arguments.serving);
    let subject = subject::Subject::choose(asked, &settings)?;
    let draft = arguments.draft.as_deref();
    let draft = draft.map(|draft| subject::Subject::choose(Some(draft), &settings)).transpose()?;
    let plan = speculation::Plan {
        draft: draft.map(|draft| draft.path),
        prompt_tokens: arguments.prompt_tokens,
        tokens: arguments.effort.tokens,
        rounds: arguments.effort.rounds,
        worker: worker(&settings)?,
        threads: settings.threads,
        budget_bytes: settings.budget_bytes,
    };
    let outcome = speculation::measure(subject, &plan).await?;
    if arguments.effort.json {
        return terminal::json(&outcome);
    }
    outcome.lines(Paint::stdout()).iter().for_each(terminal::line);
    Ok(())
}

async fn measure_constraint(arguments: &command::Constraint) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let asked = asked(arguments.model.as_ref(), &arguments.serving);
    let plan = constraint::Plan {
        model: subject::Subject::choose(asked, &settings)?,
        worker: worker(&settings)?,
        rounds: arguments.effort.rounds,
        prompt_tokens: arguments.prompt_tokens,
        tokens: arguments.effort.tokens,
        threads: settings.threads,
        budget_bytes: settings.budget_bytes,
    };
    let outcome = constraint::measure(plan).await?;
    if arguments.effort.json {
        return terminal::json(&outcome);
    }
    outcome.lines(Paint::stdout()).iter().for_each(terminal::line);
    Ok(())
}

async fn measure_switch(arguments: &command::Switch) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let subject = |name: &str| subject::Subject::choose(Some(name), &settings);
    let plan = switch::Plan {
        models: [subject(&arguments.model)?, subject(&arguments.other)?],
        worker: worker(&settings)?,
        rounds: arguments.rounds,
        prompt_tokens: arguments.prompt_tokens,
        threads: settings.threads,
        budget_bytes: settings.budget_bytes,
        is_cold: arguments.cold,
    };
    let outcome = switch::measure(plan).await?;
    if arguments.json {
        return terminal::json(&outcome);
    }
    outcome.lines(Paint::stdout()).iter().for_each(terminal::line);
    Ok(())
}

async fn measure_cache(arguments: &command::Cache) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let subject = |name: &str| subject::Subject::choose(Some(name), &settings);
    let plan = cache::Plan {
        model: subject(&arguments.model)?,
        other: arguments.other.as_deref().map(subject).transpose()?,
        worker: worker(&settings)?,
        prompt_tokens: arguments.prompt_tokens(),
        rounds: arguments.rounds,
        cold_rounds: arguments.cold_rounds,
        threads: settings.threads.unwrap_or_else(cores::performance),
        budget_bytes: settings.budget_bytes,
    };
    let outcome = cache::measure(plan).await?;
    if arguments.json {
        return terminal::json(&outcome);
    }
    outcome.lines(Paint::stdout()).iter().for_each(terminal::line);
    Ok(())
}

async fn measure_cost(arguments: &command::Cache) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let plan = cost::Plan {
        model: subject::Subject::choose(Some(&arguments.model), &settings)?,
        worker: worker(&settings)?,
        rounds: arguments.rounds,
        prompt_tokens: arguments.prompt_tokens(),
        tokens: arguments.tokens,
        threads: settings.threads.unwrap_or_else(cores::performance),
        budget_bytes: settings.budget_bytes,
    };
    let outcome = cost::measure(plan).await?;
    if arguments.json {
        return terminal::json(&outcome);
    }
    outcome.lines(Paint::stdout()).iter().for_each(terminal::line);
    Ok(())
}

/// The model that the user means: named as such, else the one given with `--model`.
fn asked<'a>(model: Option<&'a String>, serving: &'a Serving) -> Option<&'a str> {
    match (model, serving.models.as_slice()) {
        (Some(model), _) => Some(model),
        (None, [(name, _)]) => Some(name),
        (None, _) => None,
    }
}

/// The worker's executable, which is also the plain loop.
fn worker(settings: &Settings) -> anyhow::Result<PathBuf> {
    let beside_us = || {
        let program = std::env::current_exe().ok()?;
        let name = format!("resident-llama{}", std::env::consts::EXE_SUFFIX);
        Some(program.with_file_name(name))
    };
    let worker = settings.worker.clone().or_else(beside_us).filter(|path| path.is_file());
    worker.ok_or_else(|| {
        exit::error(
            Code::Failure,
            "there is no resident-llama beside this program; build it with: \
             cargo build --release, or name it in RESIDENT_WORKER",
        )
    })
}
