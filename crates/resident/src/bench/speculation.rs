//! What guessing ahead gains: the same answers without guesses, with as many as are seen to pay, and
//! with a fixed number, of text that repeats and of text that does not.
//!
//! Each way is a hub of its own, and they take turns. Text that repeats is a prompt which says the same
//! passage again and again, continued greedily; text that does not is drawn at a temperature at which
//! hardly any token follows from those before it. Not here: which guesses are made (`planner::draft`).

use std::path::PathBuf;

use serde::Serialize;

use super::{
    client::Completion,
    hub::{Guessing, Hub, MODEL, Setup},
    limits::{CONTEXT_SLACK_TOKENS, WARM_UP_TOKENS},
    report::{Reach, ratio},
    statistic::median,
    subject::{Prompts, Subject},
};
use crate::{
    table::{Align, Table},
    terminal::{self, Paint},
};

/// Tokens of the passage that a prompt repeats.
const PASSAGE_TOKENS: u32 = 64;

/// At this temperature a random model's tokens are as good as dice, and a trained one's are no text
/// that anybody has said before.
const WILD_TEMPERATURE: f32 = 2.0;

/// Guesses of the fixed way: about what a step of a processor holds for little more than one token.
const FIXED_TOKENS: u32 = 6;

/// What guessing may cost where it does not pay.
const KEPT_SHARE_MIN: f64 = 0.98;

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// A smaller model that guesses, if one is to be measured too.
    pub(crate) draft: Option<PathBuf>,
    /// Tokens of each prompt.
    pub(crate) prompt_tokens: u32,
    /// Tokens of each answer.
    pub(crate) tokens: u32,
    /// How often everything is measured.
    pub(crate) rounds: u32,
    /// The worker's executable.
    pub(crate) worker: PathBuf,
    /// Threads of a step; `None` adapts.
    pub(crate) threads: Option<u32>,
    /// Memory for models.
    pub(crate) budget_bytes: u64,
}

/// What came out.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    model: Subject,
    prompt_tokens: u32,
    tokens: u32,
    rounds: u32,
    ways: Vec<Way>,
    reach: Vec<Reach>,
}

/// One way to guess, and what it gave in each round.
#[derive(Debug, Serialize)]
struct Way {
    name: String,
    repeating: Speeds,
    wild: Speeds,
}

/// Of one kind of text.
#[derive(Debug, Default, Serialize)]
struct Speeds {
    tokens_per_s: Vec<f64>,
    drafted_tokens: u64,
    accepted_tokens: u64,
}

/// The kinds of text.
#[derive(Debug, Clone, Copy)]
enum Text {
    Repeating,
    Wild,
}

/// Measures all ways in all rounds, by turns.
///
/// # Errors
/// When a hub fails.
pub(crate) async fn measure(subject: Subject, plan: &Plan) -> anyhow::Result<Outcome> {
    let mut hubs = Vec::new();
    let mut ways = Vec::new();
    for (name, guessing) in ways_of(&subject, plan) {
        hubs.push(Hub::start(&setup(&subject, plan, guessing)).await?);
        let (repeating, wild) = (Speeds::default(), Speeds::default());
        ways.push(Way { name, repeating, wild });
    }
    let mut prompts = Prompts::new(subject.vocabulary_tokens);
    for hub in &hubs {
        let prompt = prompts.take(1, plan.prompt_tokens).concat();
        let warm = Completion::new(MODEL, prompt, WARM_UP_TOKENS);
        hub.client().await?.complete(&warm).await?;
    }
    for round in 1..=plan.rounds {
        for text in [Text::Repeating, Text::Wild] {
            let prompt = text.prompt(&mut prompts, plan.prompt_tokens);
            for (hub, way) in hubs.iter().zip(&mut ways) {
                let speeds = match text {
                    Text::Repeating => &mut way.repeating,
                    Text::Wild => &mut way.wild,
                };
                turn(hub, text, &prompt, plan.tokens, speeds).await?;
                terminal::note(format_args!(
                    "round {round} of {}, {text:?}, {}: {:.1} tokens/s",
                    plan.rounds,
                    way.name,
                    speeds.tokens_per_s.last().copied().unwrap_or_default(),
                ));
            }
        }
    }
    let reach = reach(&ways);
    let Plan { prompt_tokens, tokens, rounds, .. } = *plan;
    Ok(Outcome { model: subject, prompt_tokens, tokens, rounds, ways, reach })
}

fn ways_of(subject: &Subject, plan: &Plan) -> Vec<(String, Guessing)> {
    let mut ways = vec![
        ("off".to_owned(), Guessing::Off),
        ("auto".to_owned(), Guessing::Lookup(None)),
        (format!("lookup, {FIXED_TOKENS} always"), Guessing::Lookup(Some(FIXED_TOKENS))),
    ];
    ways.extend(
        plan.draft.as_ref().map(|draft| ("draft model".to_owned(), Guessing::Draft(draft.clone()))),
    );
    if subject.has_head {
        ways.push(("its own layer".to_owned(), Guessing::Head));
    }
    ways
}

fn setup(subject: &Subject, plan: &Plan, guessing: Guessing) -> Setup {
    Setup {
        model: subject.path.clone(),
        other: None,
        worker: Some(plan.worker.clone()),
        context_tokens: plan.prompt_tokens + plan.tokens + CONTEXT_SLACK_TOKENS,
        parallel: 1,
        threads: plan.threads,
        budget_bytes: plan.budget_bytes,
        guessing,
        keep: None,
    }
}

/// The prompt is read first, so that only the answer's own time counts.
async fn turn(
    hub: &Hub,
    text: Text,
    prompt: &[u32],
    tokens: u32,
    speeds: &mut Speeds,
) -> anyhow::Result<()> {
    let mut client = hub.client().await?;
    client.complete(&Completion::new(MODEL, prompt.to_vec(), 1)).await?;
    let completion = Completion::new(MODEL, prompt.to_vec(), tokens);
    let completion = match text {
        Text::Repeating => completion,
        Text::Wild => completion.at(WILD_TEMPERATURE),
    };
    let answer = client.complete(&completion).await?;
    let seconds = answer.wall().as_secs_f64().max(1e-6);
    speeds.tokens_per_s.push(f64::from(answer.tokens) / seconds);
    speeds.drafted_tokens += u64::from(answer.drafted_tokens);
    speeds.accepted_tokens += u64::from(answer.accepted_tokens);
    Ok(())
}

impl Text {
    fn prompt(self, prompts: &mut Prompts, tokens: u32) -> Vec<u32> {
        match self {
            Self::Repeating => {
                let passage = prompts.take(1, PASSAGE_TOKENS.min(tokens)).concat();
                passage.iter().copied().cycle().take(tokens as usize).collect()
            }
            Self::Wild => prompts.take(1, tokens).concat(),
        }
    }
}

impl Speeds {
    fn median(&self) -> Option<f64> {
        median(&self.tokens_per_s)
    }
}

impl Outcome {
    /// For people.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![
            self.model.line(),
            format!(
                "one stream, prompts of {} tokens and answers of {}, median of {} rounds",
                self.prompt_tokens, self.tokens, self.rounds
            ),
            String::new(),
        ];
        let mut table = Table::new(&[
            ("GUESSING", Align::Left),
            ("REPEATING TOKENS/S", Align::Right),
            ("OF OFF", Align::Right),
            ("CAME TRUE", Align::Right),
            ("WILD TOKENS/S", Align::Right),
            ("OF OFF", Align::Right),
            ("CAME TRUE", Align::Right),
        ]);
        let off = self.ways.first();
        for way in &self.ways {
            let mut row = vec![way.name.to_owned()];
            let plain = off.map(|off| [&off.repeating, &off.wild]);
            for (at, speeds) in [&way.repeating, &way.wild].into_iter().enumerate() {
                let speed = speeds.median();
                let plain = plain.and_then(|plain| plain[at].median());
                row.push(speed.map_or_else(String::new, |speed| format!("{speed:.1}")));
                let gain = ratio(speed, plain);
                row.push(gain.map_or_else(String::new, |gain| format!("{gain:.2}")));
                row.push(format!("{} of {}", speeds.accepted_tokens, speeds.drafted_tokens));
            }
            table.row(row);
        }
        lines.extend(table.lines(paint));
        lines.push(String::new());
        lines.extend(Reach::lines(&self.reach, paint));
        lines
    }
}

/// Guessing as much as pays must cost nothing where it does not.
fn reach(ways: &[Way]) -> Vec<Reach> {
    let of = |name: &str| ways.iter().find(|way| way.name == name);
    let gain = |text: fn(&Way) -> &Speeds| {
        let rates = |way: &Way| text(way).tokens_per_s.clone();
        let (off, auto) = (of("off").map(rates)?, of("auto").map(rates)?);
        let ratios: Vec<f64> = auto.iter().zip(&off).map(|(auto, off)| auto / off).collect();
        median(&ratios)
    };
    vec![
        Reach::at_least(
            "auto of off, text that does not repeat",
            KEPT_SHARE_MIN,
            gain(|way| &way.wild),
        ),
        Reach::at_least(
            "auto of off, text that repeats",
            KEPT_SHARE_MIN,
            gain(|way| &way.repeating),
        ),
    ]
}
