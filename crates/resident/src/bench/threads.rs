//! How the worker shares the cores: k of n are kept busy by other processes, and the adaptive
//! worker is measured beside every fixed number of threads.
//!
//! Every measurement starts a hub of its own, since the number of threads is a hub's setting. It
//! decodes one stream, and meanwhile the processor time is read that the busy processes get.

use std::{path::PathBuf, time::Instant};

use serde::Serialize;
use tokio::time::{self, Duration};

use super::{
    busy::Busy,
    cores,
    hub::{Guessing, Hub, Setup},
    limits::{ADAPT_WARM_UP, CONTEXT_SLACK_TOKENS, PROMPT_TOKENS_MIN, SHARE_WINDOW_MIN},
    report::{Reach, ratio},
    speed,
    statistic::{best, median},
    subject::{Prompts, Subject},
};
use crate::{
    table::{Align, Table},
    terminal::{self, Paint},
};

/// Up to this many cores every number of threads is tried; with more, only powers of two and the
/// likeliest ones, since a run takes minutes otherwise.
const ALL_COUNTS_MAX: u32 = 8;

/// What the adaptive worker must reach of the best fixed number of threads.
const ADAPTIVE_SHARE_MIN: f64 = 0.85;

/// What a busy process must keep of what it gets without the worker.
const BUSY_SHARE_MIN: f64 = 0.9;

/// How long the busy processes are watched without a worker.
const ALONE: Duration = Duration::from_secs(3);

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Cores that other processes keep busy.
    pub(crate) busy: u32,
    /// Tokens of each answer.
    pub(crate) tokens: u32,
    /// How often everything is measured.
    pub(crate) rounds: u32,
    /// The worker's executable.
    pub(crate) worker: PathBuf,
    /// Memory for models.
    pub(crate) budget_bytes: u64,
}

/// What came out.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    model: Subject,
    cores: u32,
    busy: u32,
    rounds: u32,
    tokens: u32,
    /// What a busy process gets of a core when no worker runs.
    busy_alone_share: Option<f64>,
    settings: Vec<Setting>,
    reach: Vec<Reach>,
}

/// One number of threads, and what it gave in each round.
#[derive(Debug, Serialize)]
struct Setting {
    /// `None` adapts.
    threads: Option<u32>,
    decode_tokens_per_s: Vec<f64>,
    /// What a busy process got of a core.
    busy_share: Vec<f64>,
}

/// Measures all settings in all rounds, by turns.
///
/// # Errors
/// When a hub fails or a busy process cannot be started.
pub(crate) async fn measure(subject: Subject, plan: &Plan) -> anyhow::Result<Outcome> {
    let cores = cores::all();
    let fixed = counts(cores, plan.busy).into_iter().map(Some);
    let mut settings: Vec<Setting> = std::iter::once(None)
        .chain(fixed)
        .map(|threads| Setting { threads, decode_tokens_per_s: Vec::new(), busy_share: Vec::new() })
        .collect();
    let mut alone = Vec::new();
    for round in 1..=plan.rounds {
        alone.extend(alone_share(plan.busy).await?);
        for setting in &mut settings {
            let (speed, share) = turn(&subject, plan, setting.threads).await?;
            terminal::note(format_args!(
                "round {round} of {}, {} threads: {speed:.1} tokens/s",
                plan.rounds,
                word(setting.threads)
            ));
            setting.decode_tokens_per_s.push(speed);
            setting.busy_share.extend(share);
        }
    }
    let busy_alone_share = median(&alone);
    let reach = reach(&settings, busy_alone_share);
    Ok(Outcome {
        model: subject,
        cores,
        busy: plan.busy,
        rounds: plan.rounds,
        tokens: plan.tokens,
        busy_alone_share,
        settings,
        reach,
    })
}

impl Outcome {
    /// For people.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![
            self.model.line(),
            format!(
                "{} cores, {} kept busy by other processes; decode of {} tokens, best of {} rounds",
                self.cores, self.busy, self.tokens, self.rounds
            ),
            String::new(),
        ];
        let mut table = Table::new(&[
            ("THREADS", Align::Left),
            ("TOKENS/S", Align::Right),
            ("OF BEST FIXED", Align::Right),
            ("BUSY PROCESS GETS", Align::Right),
        ]);
        let best_fixed = best_fixed(&self.settings);
        let percent = |share: Option<f64>| {
            share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
        };
        table.row(vec![
            "no worker".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            percent(self.busy_alone_share),
        ]);
        for setting in &self.settings {
            let speed = best(&setting.decode_tokens_per_s);
            table.row(vec![
                word(setting.threads),
                speed.map_or_else(String::new, |speed| format!("{speed:.1}")),
                ratio(speed, best_fixed).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                percent(median(&setting.busy_share)),
            ]);
        }
        lines.extend(table.lines(paint));
        lines.push(String::new());
        lines.extend(Reach::lines(&self.reach, paint));
        lines
    }
}

fn word(threads: Option<u32>) -> String {
    threads.map_or_else(|| "adaptive".to_owned(), |threads| threads.to_string())
}

/// The fixed numbers of threads to try.
fn counts(cores: u32, busy: u32) -> Vec<u32> {
    if cores <= ALL_COUNTS_MAX {
        return (1..=cores).collect();
    }
    let powers = (0..).map(|power| 1 << power).take_while(|count| *count < cores);
    let likely = [cores.saturating_sub(busy).max(1), cores::performance(), cores];
    let counts: std::collections::BTreeSet<u32> = powers.chain(likely).collect();
    counts.into_iter().collect()
}

fn best_fixed(settings: &[Setting]) -> Option<f64> {
    let fixed = settings.iter().filter(|setting| setting.threads.is_some());
    let speeds: Vec<f64> = fixed.filter_map(|setting| best(&setting.decode_tokens_per_s)).collect();
    best(&speeds)
}

fn reach(settings: &[Setting], busy_alone_share: Option<f64>) -> Vec<Reach> {
    let adaptive = settings.iter().find(|setting| setting.threads.is_none());
    let speed = adaptive.and_then(|setting| best(&setting.decode_tokens_per_s));
    let share = adaptive.and_then(|setting| median(&setting.busy_share));
    let of_best = Reach::at_least(
        "adaptive decode, of the best fixed number of threads",
        ADAPTIVE_SHARE_MIN,
        ratio(speed, best_fixed(settings)),
    );
    let kept = Reach::at_least(
        "a busy process beside the adaptive worker, of what it gets alone",
        BUSY_SHARE_MIN,
        ratio(share, busy_alone_share),
    );
    // Without busy processes there is nothing to keep.
    let kept = busy_alone_share.map(|_| kept);
    std::iter::once(of_best).chain(kept).collect()
}

/// What each busy process gets of a core when nothing of ours runs; `None` without busy processes.
async fn alone_share(busy: u32) -> anyhow::Result<Option<f64>> {
    if busy == 0 {
        return Ok(None);
    }
    let mut others = Busy::start(busy)?;
    let (begun, before) = (Instant::now(), others.cpu_seconds());
    time::sleep(ALONE).await;
    Ok(others.share_since(begun, before))
}

/// Tokens a second, and what each busy process got of a core meanwhile.
async fn turn(
    subject: &Subject,
    plan: &Plan,
    threads: Option<u32>,
) -> anyhow::Result<(f64, Option<f64>)> {
    let hub = Hub::start(&Setup {
        model: subject.path.clone(),
        other: None,
        worker: Some(plan.worker.clone()),
        context_tokens: PROMPT_TOKENS_MIN + plan.tokens + CONTEXT_SLACK_TOKENS,
        parallel: 1,
        threads,
        budget_bytes: plan.budget_bytes,
        guessing: Guessing::Off,
        keep: None,
    })
    .await?;
    let mut prompts = Prompts::new(subject.vocabulary_tokens);
    let mut others = Busy::start(plan.busy)?;
    let warming = Instant::now();
    while warming.elapsed() < ADAPT_WARM_UP {
        speed::warm_up(&hub, &mut prompts, PROMPT_TOKENS_MIN, plan.tokens).await?;
    }
    let prompt = prompts.take(1, PROMPT_TOKENS_MIN);
    speed::together(&hub, &prompt, 1).await?;
    let (begun, before) = (Instant::now(), others.cpu_seconds());
    let (mut tokens, mut seconds) = (0.0, 0.0);
    while begun.elapsed() < SHARE_WINDOW_MIN || tokens == 0.0 {
        let answers = speed::together(&hub, &prompt, plan.tokens).await?;
        tokens += f64::from(plan.tokens);
        seconds += speed::span_seconds(&answers);
    }
    let share = others.share_since(begun, before);
    Ok((tokens / seconds, share))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(threads: Option<u32>, speeds: &[f64], shares: &[f64]) -> Setting {
        Setting { threads, decode_tokens_per_s: speeds.to_vec(), busy_share: shares.to_vec() }
    }

    #[test]
    fn the_adaptive_worker_is_held_against_the_best_fixed_one() {
        let settings = [
            setting(None, &[26.0, 27.0], &[0.94, 0.96]),
            setting(Some(1), &[28.0, 30.0], &[0.97]),
            setting(Some(2), &[11.0, 12.0], &[0.5]),
        ];
        let met = |alone| -> Vec<bool> {
            reach(&settings, alone).iter().map(|reach| reach.is_met()).collect()
        };
        assert_eq!(met(Some(1.0)), [true, true]);
        assert_eq!(met(None), [true]);
        let slow = [setting(None, &[20.0], &[0.8]), setting(Some(1), &[30.0], &[0.97])];
        let met: Vec<bool> = reach(&slow, Some(1.0)).iter().map(Reach::is_met).collect();
        assert_eq!(met, [false, false]);
    }

    #[test]
    fn few_cores_are_tried_one_by_one() {
        assert_eq!(counts(2, 1), [1, 2]);
        let many = counts(16, 3);
        assert!([1, 2, 4, 8, 13, 16].iter().all(|count| many.contains(count)), "{many:?}");
    }
}
