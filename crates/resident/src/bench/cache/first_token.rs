//! The same prompt from one tier after the other.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use kv_store::BLOCK_TOKENS;
use tokio::time;

use super::{
    Case, Outcome, Plan, Sample,
    beside::ask_llama_server,
    files::{Files, PlainRead},
};
use crate::{
    bench::{
        client::{Answer, Completion},
        hub::{Hub, MODEL, OTHER, Setup},
        limits::{
            DECODE_STEPS, HUB_LOOK_INTERVAL, PROMPT_TOKENS_MIN, SETTLE_WAIT, SWITCHES_UNCOUNTED,
        },
        subject::Prompts,
    },
    terminal,
};

/// Measures.
///
/// # Errors
/// When a request fails, or a prefix did not come from where it was to come from.
pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Outcome> {
    let setup = plan.setup()?;
    let mut run = Run::start(&plan, &setup).await?;
    run.compute().await?;
    run.ask_memory().await?;
    run = run.ask_files().await?;
    if plan.other.is_some() {
        run.after_switches().await?;
    }
    let Run { hub, samples, prompts, prompt, .. } = run;
    drop(hub);
    let llama_server = ask_llama_server(&plan, &setup, &prompt, prompts).await?;
    Ok(Outcome::new(plan, samples, llama_server))
}

/// A hub and the prompt that it is asked again and again.
struct Run<'a> {
    plan: &'a Plan,
    setup: &'a Setup,
    hub: Hub,
    prompts: Prompts,
    prompt: Vec<u32>,
    samples: Vec<Sample>,
}

impl<'a> Run<'a> {
    async fn start(plan: &'a Plan, setup: &'a Setup) -> anyhow::Result<Self> {
        let hub = Hub::start(setup).await?;
        let prompts = Prompts::new(plan.model.vocabulary_tokens);
        let mut run = Self { plan, setup, hub, prompts, prompt: Vec::new(), samples: Vec::new() };
        terminal::note(format_args!("loading {} and warming it up", plan.model.name));
        run.push_out().await.context("the hub cannot serve the model")?;
        Ok(run)
    }

    /// Prompts that nobody has seen; the last one is the prompt of all that follows.
    async fn compute(&mut self) -> anyhow::Result<()> {
        for round in 1..=self.plan.cold_rounds {
            self.prompt = self.prompts.take(1, self.plan.prompt_tokens).concat();
            terminal::note(format_args!(
                "computing a prompt of {} tokens, {round} of {}; this may take minutes",
                self.plan.prompt_tokens, self.plan.cold_rounds
            ));
            self.ask_measured(Case::Cold, None).await?;
        }
        self.wait_until_kept().await
    }

    async fn ask_memory(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.plan.rounds {
            self.ask_measured(Case::Live, None).await?;
        }
        // The memory beside the context is in proportion to the model, and may not hold all of the prompt.
        self.push_out().await?;
        let held = self.ask(MODEL, self.prompt.clone(), 1).await?.came.ram as usize;
        let beginning = share_of(&self.prompt, held);
        if beginning.len() < BLOCK_TOKENS {
            terminal::note("the memory beside the context holds no block of the prompt");
            return Ok(());
        }
        let whole = std::mem::replace(&mut self.prompt, beginning);
        for _ in 0..self.plan.rounds {
            self.push_out().await?;
            self.ask_measured(Case::Ram, None).await?;
        }
        self.prompt = whole;
        Ok(())
    }

    /// The memory of a hub that was started anew holds nothing.
    async fn ask_files(mut self) -> anyhow::Result<Self> {
        for _ in 0..self.plan.rounds {
            self.hub.settle().await?;
            self.hub = self.hub.restart(self.setup).await?;
            let plain = self.files()?.read_warm()?;
            self.ask_measured(Case::Restart, Some(plain)).await?;
            self.push_out().await?;
            let plain = self.files()?.read_warm()?;
            self.ask_measured(Case::SsdWarm, Some(plain)).await?;
            if cfg!(target_os = "linux") {
                self.push_out().await?;
                let files = self.files()?;
                let plain = files.read_cold()?;
                files.drop_from_cache()?;
                self.ask_measured(Case::SsdCold, Some(plain)).await?;
            }
        }
        Ok(self)
    }

    /// The first switches do not count: the fleet learns in them that both models are asked in turn.
    async fn after_switches(&mut self) -> anyhow::Result<()> {
        let Some(other) = &self.plan.other else { return Ok(()) };
        let mut prompts = Prompts::new(other.vocabulary_tokens);
        for round in 0..SWITCHES_UNCOUNTED / 2 + self.plan.rounds {
            self.hub.settle().await?;
            let prompt = prompts.take(1, PROMPT_TOKENS_MIN).concat();
            self.ask(OTHER, prompt, 1).await?;
            let plain = self.files()?.read_warm()?;
            if round < SWITCHES_UNCOUNTED / 2 {
                self.ask(MODEL, self.prompt.clone(), 1).await?;
            } else {
                self.ask_measured(Case::Switch, Some(plain)).await?;
            }
        }
        Ok(())
    }

    /// Asks the prompt, and then again for a few tokens more.
    async fn ask_measured(&mut self, case: Case, plain: Option<PlainRead>) -> anyhow::Result<()> {
        let answer = self.ask(MODEL, self.prompt.clone(), 1).await?;
        let expected = case.expected(answer.prompt_tokens);
        ensure!(
            answer.came == expected,
            "the answer says that {:?} of {} tokens came back where {expected:?} was prepared ({}); \
             nothing is measured",
            answer.came,
            answer.prompt_tokens,
            case.word()
        );
        let load_ms = match case {
            Case::Switch | Case::Restart => Some(self.hub.load_ms(MODEL).await? as f64),
            Case::Cold | Case::Live | Case::Ram | Case::SsdWarm | Case::SsdCold => None,
        };
        let decoded = self.ask(MODEL, self.prompt.clone(), 1 + DECODE_STEPS).await?;
        let bytes = match case {
            Case::Cold | Case::Live => 0,
            Case::Ram | Case::SsdWarm | Case::SsdCold | Case::Switch | Case::Restart => {
                self.files()?.bytes()
            }
        };
        let sample = Sample {
            case,
            prompt_tokens: answer.prompt_tokens,
            first_token_ms: answer.wall().as_secs_f64() * 1e3,
            load_ms,
            came: answer.came,
            bytes,
            plain,
            decode_ms: decoded.predicted.as_secs_f64() * 1e3 / f64::from(DECODE_STEPS),
        };
        terminal::note(sample.line());
        self.samples.push(sample);
        Ok(())
    }

    /// A short prompt takes the place of the long one in the context. What both put off is done before
    /// anything else is asked.
    async fn push_out(&mut self) -> anyhow::Result<()> {
        let short = self.prompts.short(&self.prompt);
        self.ask(MODEL, short, 1).await?;
        self.hub.settle().await
    }

    async fn ask(&self, model: &str, prompt: Vec<u32>, tokens: u32) -> anyhow::Result<Answer> {
        let completion = Completion::new(model, prompt, tokens);
        self.hub.client().await?.complete(&completion).await
    }

    /// Waits until all of the prompt but its last token, which is always computed, is in files.
    async fn wait_until_kept(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let wanted = self.prompt.len() - 1;
        loop {
            let tokens = self.files()?.tokens();
            if tokens >= wanted {
                return self.hub.settle().await;
            }
            ensure!(
                begun.elapsed() < SETTLE_WAIT,
                "only {tokens} of {wanted} tokens are in files after {SETTLE_WAIT:?}; is the disk full?"
            );
            time::sleep(HUB_LOOK_INTERVAL).await;
        }
    }

    fn files(&self) -> anyhow::Result<Files> {
        Files::of_prompt(&self.hub.kept(), &self.prompt[..self.prompt.len() - 1])
    }
}

/// The whole prompt when all but its last token is held; else so much of its beginning that it stays held
/// when a few short prompts come to it.
fn share_of(prompt: &[u32], held_tokens: usize) -> Vec<u32> {
    if held_tokens + 1 >= prompt.len() {
        return prompt.to_vec();
    }
    let blocks = held_tokens * 3 / 4 / BLOCK_TOKENS;
    prompt[..blocks * BLOCK_TOKENS].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_does_not_hold_is_not_asked_of_it() {
        let prompt: Vec<u32> = (0..2048).collect();
        for (held, expected) in [(2047, 2048), (2046, 1280), (1500, 1024), (400, 256), (300, 0)] {
            assert_eq!(share_of(&prompt, held).len(), expected, "{held}");
        }
    }
}
