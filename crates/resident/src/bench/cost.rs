//! What the cache costs when nothing of it is ever used again.
//!
//! Hubs with the same model, without the cache, with it in memory, and with it in files too, get the same
//! prompts by turns, each of them once. A turn is a few requests that follow each other at once, so that
//! what one puts off runs into the next; between turns what is put off is waited for, so that it does not
//! run into another hub's turn.
//!
//! A second hub without the cache shows what chance alone does: processes differ by a few percent, by
//! where their memory happens to lie, and so do turns. Figures are compared within a round.
//!
//! Not here: what the cache is worth (`cache`).

use std::path::PathBuf;

use anyhow::ensure;
use serde::Serialize;

use super::{
    client::Completion,
    hub::{Guessing, Hub, Keep, MODEL, Setup},
    limits::{CONTEXT_SLACK_TOKENS, COST_REQUESTS, PROMPT_TOKENS_MIN, WARM_UP_TOKENS},
    report::Reach,
    speed,
    statistic::{Mean, mean, median},
    subject::{Prompts, Subject},
};
use crate::{
    config::raw::KvCache,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// What must be left of every speed: at most 2 % may be lost.
const SHARE_MIN: f64 = 0.98;

/// By turns.
const CACHES: [KvCache; 4] = [KvCache::Off, KvCache::Ram, KvCache::Ssd, KvCache::Off];

/// Where among them what the cache costs is seen, and where what chance does.
const RAM: usize = 1;
const SSD: usize = 2;
const UNCACHED: [usize; 2] = [0, 3];

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) model: Subject,
    pub(crate) worker: PathBuf,
    pub(crate) rounds: u32,
    pub(crate) prompt_tokens: u32,
    /// Tokens of each answer.
    pub(crate) tokens: u32,
    pub(crate) threads: u32,
    pub(crate) budget_bytes: u64,
}

/// What a few requests in a row took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Turn {
    /// Prompt tokens a second, by the worker's own account.
    prefill_tokens_per_s: f64,
    /// Tokens a second after the first, by the worker's own account.
    decode_tokens_per_s: f64,
    /// Prompt and answer tokens a second, from sending the first request to the end of the last answer.
    whole_tokens_per_s: f64,
    /// Processor time of the hub and its worker, what they put off included.
    cpu_seconds: f64,
}

/// One way to keep prefixes.
#[derive(Debug, Serialize)]
struct Side {
    cache: &'static str,
    turns: Vec<Turn>,
}

/// All of them, as in [`CACHES`].
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Sides([Side; CACHES.len()]);

/// One figure of a turn.
type Figure = fn(&Turn) -> f64;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    model: Subject,
    prompt_tokens: u32,
    tokens: u32,
    rounds: u32,
    threads: u32,
    /// Without the cache first, and again last.
    sides: Sides,
    reach: Vec<Reach>,
}

/// Measures.
///
/// # Errors
/// When a hub fails, or finds a prompt in its cache after all.
pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Outcome> {
    let mut prompts = Prompts::new(plan.model.vocabulary_tokens);
    let mut hubs = Vec::new();
    for cache in CACHES {
        let hub = Hub::start(&plan.setup(cache)).await?;
        terminal::note(format_args!("loading {}, cache {}", plan.model.name, cache.word()));
        speed::warm_up(&hub, &mut prompts, plan.prompt_tokens, WARM_UP_TOKENS).await?;
        hub.settle().await?;
        hubs.push(hub);
    }
    let mut sides = Sides(CACHES.map(|cache| Side { cache: cache.word(), turns: Vec::new() }));
    for round in 0..plan.rounds as usize {
        let asked = prompts.take(COST_REQUESTS, plan.prompt_tokens);
        // Nobody is always the first.
        for at in (0..CACHES.len()).map(|place| (place + round) % CACHES.len()) {
            let turn = turn(&hubs[at], &asked, plan.tokens).await?;
            terminal::note(format_args!(
                "round {} of {}, cache {}: prefill {:.1}, decode {:.1}, in all {:.1} tokens/s",
                round + 1,
                plan.rounds,
                sides.0[at].cache,
                turn.prefill_tokens_per_s,
                turn.decode_tokens_per_s,
                turn.whole_tokens_per_s
            ));
            sides.0[at].turns.push(turn);
        }
    }
    let reach = sides.reach();
    let Plan { model, prompt_tokens, tokens, rounds, threads, .. } = plan;
    Ok(Outcome { model, prompt_tokens, tokens, rounds, threads, sides, reach })
}

async fn turn(hub: &Hub, prompts: &[Vec<u32>], tokens: u32) -> anyhow::Result<Turn> {
    let cpu_before = hub.cpu_seconds()?;
    let mut client = hub.client().await?;
    let mut answers = Vec::new();
    for prompt in prompts {
        let answer = client.complete(&Completion::new(MODEL, prompt.clone(), tokens)).await?;
        ensure!(answer.tokens == tokens, "{} tokens instead of {tokens}", answer.tokens);
        // A token or two that prompts begin with alike are chance.
        ensure!(
            answer.cached_tokens < PROMPT_TOKENS_MIN,
            "{} tokens of a new prompt were in the cache",
            answer.cached_tokens
        );
        answers.push(answer);
    }
    hub.settle().await?;
    let cpu_seconds = hub.cpu_seconds()? - cpu_before;
    let sum = |count: fn(&super::client::Answer) -> f64| answers.iter().map(count).sum::<f64>();
    let prompt_tokens = sum(|answer| f64::from(answer.prompt_tokens - answer.cached_tokens));
    let decoded_tokens = sum(|answer| f64::from(answer.tokens - 1));
    let turn = Turn {
        prefill_tokens_per_s: prompt_tokens / sum(|answer| answer.prompt.as_secs_f64()),
        decode_tokens_per_s: decoded_tokens / sum(|answer| answer.predicted.as_secs_f64()),
        whole_tokens_per_s: (prompt_tokens + sum(|answer| f64::from(answer.tokens)))
            / speed::span_seconds(&answers),
        cpu_seconds,
    };
    let figures = [turn.prefill_tokens_per_s, turn.decode_tokens_per_s, turn.whole_tokens_per_s];
    ensure!(figures.iter().all(|figure| figure.is_finite()), "the clock stands still");
    Ok(turn)
}

impl Plan {
    fn setup(&self, cache: KvCache) -> Setup {
        let needed = self.prompt_tokens.saturating_add(self.tokens);
        Setup {
            model: self.model.path.clone(),
            other: None,
            worker: Some(self.worker.clone()),
            context_tokens: needed.saturating_add(CONTEXT_SLACK_TOKENS),
            parallel: 1,
            threads: Some(self.threads),
            budget_bytes: self.budget_bytes,
            guessing: Guessing::Off,
            keep: Some(Keep { cache, ram_bytes: None }),
        }
    }
}

impl Side {
    fn middle(&self, figure: Figure) -> Option<f64> {
        median(&self.turns.iter().map(figure).collect::<Vec<f64>>())
    }
}

impl Sides {
    /// A side's figure over that without the cache, which is the mean of both turns without it; of a
    /// side without the cache over that of the other one.
    fn of_uncached(&self, side: usize, figure: Figure) -> Option<Mean> {
        let others = UNCACHED.iter().filter(|other| **other != side);
        let others: Vec<&Vec<Turn>> = others.map(|other| &self.0[*other].turns).collect();
        let ratios = self.0[side].turns.iter().enumerate().filter_map(|(round, turn)| {
            let uncached: Vec<f64> =
                others.iter().filter_map(|turns| turns.get(round)).map(figure).collect();
            let sum: f64 = uncached.iter().sum();
            let count = u32::try_from(uncached.len()).ok().filter(|count| *count > 0)?;
            Some(figure(turn) * f64::from(count) / sum)
        });
        mean(&ratios.collect::<Vec<f64>>())
    }

    fn reach(&self) -> Vec<Reach> {
        let names = [
            ["prefill with the cache in memory, of without", "prefill with it in files too"],
            ["decode with the cache in memory, of without", "decode with it in files too"],
            ["in all with the cache in memory, of without", "in all with it in files too"],
        ];
        let both = |(figure, names): (Figure, [&'static str; 2])| {
            [RAM, SSD].into_iter().zip(names).map(move |(side, name)| {
                let of_uncached = self.of_uncached(side, figure).map(|of| of.mean);
                Reach::at_least(name, SHARE_MIN, of_uncached)
            })
        };
        FIGURES.into_iter().zip(names).flat_map(both).collect()
    }
}

impl Outcome {
    /// For people.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let mut table = Table::new(&[
            ("CACHE", Align::Left),
            ("PREFILL", Align::Right),
            ("OF OFF", Align::Right),
            ("DECODE", Align::Right),
            ("OF OFF", Align::Right),
            ("IN ALL", Align::Right),
            ("OF OFF", Align::Right),
            ("", Align::Left),
            ("PROCESSOR", Align::Right),
            ("OF OFF", Align::Right),
            ("", Align::Left),
        ]);
        let digits = |value: Option<f64>, digits: usize| {
            value.map_or_else(String::new, |value| format!("{value:.digits$}"))
        };
        let of_off = |at, figure| {
            let of = self.sides.of_uncached(at, figure);
            of.map_or_else(String::new, |of| format!("{:.3} ± {:.3}", of.mean, of.error))
        };
        for (at, side) in self.sides.0.iter().enumerate() {
            let mut cells = vec![side.cache.to_owned()];
            for figure in FIGURES {
                cells.push(digits(side.middle(figure), 1));
                cells.push(of_off(at, figure));
            }
            let cpu: Figure = |turn| turn.cpu_seconds;
            cells.push("tokens/s".to_owned());
            cells.push(digits(side.middle(cpu), 2));
            cells.push(of_off(at, cpu));
            cells.push("s a turn".to_owned());
            table.row(cells);
        }
        let mut lines = vec![
            self.model.line(),
            format!(
                "prompts of {} tokens that are never repeated, answers of {}, {COST_REQUESTS} in a turn, \
                 {} threads, medians of {} turns each",
                self.prompt_tokens, self.tokens, self.threads, self.rounds
            ),
            "OF OFF: means of what neighbouring turns are of those without the cache, with their standard \
             error; the two without show what chance does"
                .to_owned(),
            String::new(),
        ];
        lines.extend(table.lines(paint));
        lines.push(String::new());
        lines.extend(Reach::lines(&self.reach, paint));
        lines
    }
}

/// What the cache may slow down.
const FIGURES: [Figure; 3] = [
    |turn| turn.prefill_tokens_per_s,
    |turn| turn.decode_tokens_per_s,
    |turn| turn.whole_tokens_per_s,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_percent_may_be_lost_and_no_more() {
        let side = |cache, speeds: [f64; 3]| {
            let turn = |share: f64| Turn {
                prefill_tokens_per_s: 100.0 * share,
                decode_tokens_per_s: 10.0,
                whole_tokens_per_s: 50.0 * share,
                cpu_seconds: 1.0,
            };
            Side { cache, turns: speeds.map(turn).into() }
        };
        // Both without the cache are always alike but in the last round, where they are 1.5 in the mean.
        let sides = Sides([
            side("off", [1.0, 0.5, 2.0]),
            side("ram", [0.99, 0.49, 1.47]),
            side("ssd", [0.97, 0.48, 1.5]),
            side("off", [1.0, 0.5, 1.0]),
        ]);
        let met: Vec<bool> = sides.reach().iter().map(Reach::is_met).collect();
        assert_eq!(met, [true, false, true, true, true, false]);
        let prefill = sides.of_uncached(3, FIGURES[0]).unwrap();
        assert!((prefill.mean - 2.5 / 3.0).abs() < 1e-12, "of the other one without");
    }
}
