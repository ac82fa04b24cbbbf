//! What it costs to hold an answer to a JSON schema: answers that are free and answers that are held, by
//! turns, from one hub.
//!
//! Only the time between tokens counts, by the worker's own account: the first held answer also waits until
//! the vocabulary is prepared and the schema compiled, so one is asked for before. Not here: what answers
//! look like (`engine::constraint`).

use std::path::PathBuf;

use anyhow::ensure;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    client::Completion,
    hub::{Guessing, Hub, MODEL, Setup},
    limits::{CONTEXT_SLACK_TOKENS, HELD_TOKENS_MIN},
    report::Reach,
    statistic::{Mean, mean, median},
    subject::{Prompts, Subject},
};
use crate::{
    table::{Align, Table},
    terminal::{self, Paint},
};

/// What must be left of the speed: at most 5 % may be lost.
const SHARE_MIN: f64 = 0.95;

/// Tokens are drawn, since a random model's likeliest token is the same again and again.
const TEMPERATURE: f32 = 1.0;

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) model: Subject,
    pub(crate) worker: PathBuf,
    pub(crate) rounds: u32,
    pub(crate) prompt_tokens: u32,
    /// Tokens of each answer at most; a held one may end before.
    pub(crate) tokens: u32,
    pub(crate) threads: Option<u32>,
    pub(crate) budget_bytes: u64,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    model: Subject,
    prompt_tokens: u32,
    tokens: u32,
    /// Tokens a second after the first, of each answer, in the order of the rounds.
    free_tokens_per_s: Vec<f64>,
    held_tokens_per_s: Vec<f64>,
    /// Held over free, of the answers of a round.
    share: Option<Mean>,
    reach: Vec<Reach>,
}

/// Measures.
///
/// # Errors
/// When the hub fails or refuses.
pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Outcome> {
    let hub = Hub::start(&plan.setup()).await?;
    terminal::note(format_args!("loading {}", plan.model.name));
    let mut prompts = Prompts::new(plan.model.vocabulary_tokens);
    for is_held in [false, true] {
        plan.answer(&hub, &mut prompts, is_held).await?;
    }
    let (mut free, mut held) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        // Neither is always the first.
        for is_held in [round % 2 == 0, round % 2 == 1] {
            let speed = plan.answer(&hub, &mut prompts, is_held).await?;
            let (word, speeds) = if is_held { ("held", &mut held) } else { ("free", &mut free) };
            terminal::note(format_args!(
                "round {round} of {}, {word}: {speed:.1} tokens/s",
                plan.rounds
            ));
            speeds.push(speed);
        }
    }
    let ratios: Vec<f64> = held.iter().zip(&free).map(|(held, free)| held / free).collect();
    let share = mean(&ratios);
    let wanted = "tokens/s held to a schema, of free";
    Ok(Outcome {
        model: plan.model,
        prompt_tokens: plan.prompt_tokens,
        tokens: plan.tokens,
        free_tokens_per_s: free,
        held_tokens_per_s: held,
        share,
        reach: vec![Reach::at_least(wanted, SHARE_MIN, share.map(|share| share.mean))],
    })
}

/// A list of records, as people take them out of texts: strings, numbers, choices, nested.
fn schema() -> Value {
    json!({
        "type": "array",
        "minItems": 64,
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 8, "maxLength": 64},
                "amount": {"type": "number"},
                "kind": {"enum": ["income", "expense", "transfer"]},
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
            },
            "required": ["name", "amount", "kind", "tags"],
            "additionalProperties": false,
        },
    })
}

impl Plan {
    /// Tokens a second of one answer.
    async fn answer(&self, hub: &Hub, prompts: &mut Prompts, is_held: bool) -> anyhow::Result<f64> {
        let prompt = prompts.take(1, self.prompt_tokens).concat();
        let completion = Completion::new(MODEL, prompt, self.tokens).at(TEMPERATURE);
        let completion = if is_held { completion.held_to(schema()) } else { completion };
        let answer = hub.client().await?.complete(&completion).await?;
        ensure!(
            answer.tokens >= HELD_TOKENS_MIN,
            "an answer has {} tokens, too few to measure",
            answer.tokens
        );
        Ok(f64::from(answer.tokens - 1) / answer.predicted.as_secs_f64().max(1e-6))
    }

    fn setup(&self) -> Setup {
        Setup {
            model: self.model.path.clone(),
            other: None,
            worker: Some(self.worker.clone()),
            context_tokens: self
                .prompt_tokens
                .saturating_add(self.tokens)
                .saturating_add(CONTEXT_SLACK_TOKENS),
            parallel: 1,
            threads: self.threads,
            budget_bytes: self.budget_bytes,
            guessing: Guessing::Off,
            keep: None,
        }
    }
}

impl Outcome {
    /// For people.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let mut table = Table::new(&[
            ("ANSWERS", Align::Left),
            ("TOKENS/S", Align::Right),
            ("OF FREE", Align::Right),
        ]);
        let middle =
            |speeds: &[f64]| median(speeds).map_or_else(String::new, |speed| format!("{speed:.1}"));
        let share = self
            .share
            .map_or_else(String::new, |share| format!("{:.3} ± {:.3}", share.mean, share.error));
        table.row(vec!["free".to_owned(), middle(&self.free_tokens_per_s), String::new()]);
        table.row(vec!["held to a schema".to_owned(), middle(&self.held_tokens_per_s), share]);
        let mut lines = vec![
            self.model.line(),
            format!(
                "prompts of {} tokens, answers of at most {}, medians of {} answers; OF FREE: the mean of \
                 neighbours, with its standard error",
                self.prompt_tokens,
                self.tokens,
                self.free_tokens_per_s.len()
            ),
            String::new(),
        ];
        lines.extend(table.lines(paint));
        lines.push(String::new());
        lines.extend(Reach::lines(&self.reach, paint));
        lines
    }
}
