//! The same prompt for `llama-server`, which keeps prompts in memory beside its slots, and slots in
//! files where it is told to.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{Beside, BesideCase, Plan};
use crate::{
    bench::{
        client::{Answer, Completion},
        hub::{MODEL, Setup},
        limits::HOST_CACHE_MIB,
        llama_server::LlamaServer,
        subject::Prompts,
    },
    terminal,
};

/// The file of a saved slot.
const SLOT: &str = "slot.bin";

/// Asks it; `None` where it is not on PATH.
///
/// # Errors
/// When it cannot be started or a request fails.
pub(super) async fn ask_llama_server(
    plan: &Plan,
    setup: &Setup,
    prompt: &[u32],
    mut prompts: Prompts,
) -> anyhow::Result<Option<Vec<Beside>>> {
    let Some(program) = LlamaServer::find() else { return Ok(None) };
    let slots = tempfile::Builder::new().prefix("resident-bench-").tempdir()?;
    let mut samples = Vec::new();
    let mut note = |sample: Beside| {
        terminal::note(sample.line());
        samples.push(sample);
    };

    terminal::note("llama-server computes the prompt");
    let server = LlamaServer::start_single(&program, setup, slots.path(), HOST_CACHE_MIB).await?;
    ask(&server, prompts.short(prompt)).await?;
    note(Beside::new(BesideCase::Cold, &ask(&server, prompt.to_vec()).await?, None));
    for _ in 0..plan.rounds {
        note(Beside::new(BesideCase::Live, &ask(&server, prompt.to_vec()).await?, None));
        ask(&server, prompts.short(prompt)).await?;
        note(Beside::new(BesideCase::HostCache, &ask(&server, prompt.to_vec()).await?, None));
    }
    slot(&server, "save").await?;
    server.stop().await?;

    // Without its cache in memory, so that only the file can have it.
    let server = LlamaServer::start_single(&program, setup, slots.path(), 0).await?;
    for _ in 0..plan.rounds {
        ask(&server, prompts.short(prompt)).await?;
        let restore_ms = slot(&server, "restore").await?;
        let answer = ask(&server, prompt.to_vec()).await?;
        note(Beside::new(BesideCase::SavedSlot, &answer, Some(restore_ms)));
    }
    server.stop().await?;
    Ok(Some(samples))
}

async fn ask(server: &LlamaServer, prompt: Vec<u32>) -> anyhow::Result<Answer> {
    let completion = Completion::new(MODEL, prompt, 1);
    server.client().await?.complete(&completion).await.context("llama-server")
}

/// Writes its only slot to a file or reads it from there; says what that took.
async fn slot(server: &LlamaServer, action: &str) -> anyhow::Result<f64> {
    let mut client = server.client().await?;
    let begun = Instant::now();
    let path = format!("/slots/0?action={action}");
    let answer = client.post(&path, &json!({ "filename": SLOT })).await.context("llama-server")?;
    let took_ms = begun.elapsed().as_secs_f64() * 1e3;
    let count = if action == "save" { "n_saved" } else { "n_restored" };
    ensure!(answer[count].as_u64() > Some(0), "llama-server's slot was empty: {answer}");
    Ok(took_ms)
}

impl Beside {
    fn new(case: BesideCase, answer: &Answer, restore_ms: Option<f64>) -> Self {
        Self {
            case,
            first_token_ms: answer.wall().as_secs_f64() * 1e3,
            restore_ms,
            cached_tokens: answer.cached_tokens,
        }
    }
}
