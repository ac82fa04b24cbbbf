//! The loop with a predictable model: whatever happens beside a request, its text is the text it
//! would have had alone.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test panics on whatever else comes")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use kv_store::Tiers;
use worker_protocol::limits::{EVENT_CREDIT, EVENT_CREDIT_BATCH};
use worker_protocol::{
    Chat, Command, Embed, EmbedInput, Event, Failure, FailureKind, FinishReason, Generate, Message,
    Prompt, Report, RequestId, Role, Sampling, Speculation, Stats, Usage, frame,
};

use crate::fake::{END, Fake, POISON, expected_tokens};
use crate::{Inbox, Outbox};

mod adapted;
mod calls;
mod constrained;
mod drafted;
mod kept;
mod ranked;
mod seen;

/// Longer than any of these tests takes; only a bug waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine on a thread of its own, and a hub's end of its pipes.
struct Hub {
    commands: Option<Sender<Command>>,
    reports: Receiver<Report>,
    engine: Option<JoinHandle<()>>,
    /// Events that came while another request was waited for.
    seen: BTreeMap<u64, Vec<Event>>,
    /// The last counters.
    stats: Stats,
}

struct Pipe(Sender<Report>, frame::Decoder);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.push(bytes);
        while let Some(report) = self.1.take::<Report>().unwrap() {
            self.0.send(report).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Hub {
    fn start(model: Fake) -> Self {
        Self::start_with(model, None)
    }

    fn start_with(model: Fake, tiers: Option<Tiers>) -> Self {
        Self::start_guessing(model, tiers, Speculation::default())
    }

    fn start_guessing(model: Fake, tiers: Option<Tiers>, speculation: Speculation) -> Self {
        let tiers = tiers.map(|tiers| {
            let (give, given) = channel();
            give.send(tiers).unwrap();
            given
        });
        let (commands, inbox) = channel();
        Self::start_behind((commands, inbox), model, tiers, speculation)
    }

    /// One that finds commands that are there already.
    fn start_behind(
        (commands, inbox): (Sender<Command>, Receiver<Command>),
        model: Fake,
        tiers: Option<Receiver<Tiers>>,
        speculation: Speculation,
    ) -> Self {
        let (sender, reports) = channel();
        let engine = std::thread::spawn(move || {
            let outbox = Outbox::new(Pipe(sender, frame::Decoder::default()));
            let _ = crate::run(model, &Inbox::new(inbox), outbox, tiers, &speculation);
        });
        let seen = BTreeMap::new();
        let stats = Stats::default();
        Self { commands: Some(commands), reports, engine: Some(engine), seen, stats }
    }

    fn send(&self, command: Command) {
        self.commands.as_ref().unwrap().send(command).unwrap();
    }

    fn generate(&self, request: u64, generate: Generate) {
        self.send(Command::Generate { request: RequestId(request), generate });
    }

    fn embed(&self, request: u64, inputs: Vec<EmbedInput>) {
        self.send(Command::Embed {
            request: RequestId(request),
            embed: Embed { inputs, truncate: false },
        });
    }

    fn grant(&self, request: u64) {
        let events = EVENT_CREDIT_BATCH;
        self.send(Command::Credit { request: RequestId(request), events });
    }

    /// The next event of a request.
    fn next(&mut self, request: u64) -> Event {
        loop {
            let seen = self.seen.entry(request).or_default();
            if !seen.is_empty() {
                return seen.remove(0);
            }
            self.receive();
        }
    }

    /// Takes one report from the engine.
    fn receive(&mut self) {
        match self.reports.recv_timeout(PATIENCE).expect("the engine is silent") {
            Report::Event { request, event } => {
                self.seen.entry(request.0).or_default().push(event);
            }
            Report::Stats(stats) => self.stats = stats,
            other => panic!("{other:?}"),
        }
    }

    /// Reads a request to its end like a good reader.
    fn read(&mut self, request: u64) -> Answer {
        let mut answer = Answer::default();
        for taken in 1.. {
            let event = self.next(request);
            if event.is_last() {
                answer.last = Some(event);
                return answer;
            }
            answer.add(event);
            if taken % EVENT_CREDIT_BATCH == 0 {
                self.grant(request);
            }
        }
        unreachable!()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(engine) = self.engine.take()
            && engine.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the engine panicked");
        }
    }
}

#[derive(Debug, Default)]
struct Answer {
    text: String,
    logprobs: usize,
    vectors: Vec<Vec<f32>>,
    scores: Vec<f32>,
    last: Option<Event>,
}

impl Answer {
    fn add(&mut self, event: Event) {
        match event {
            Event::Text(piece) => {
                self.text.push_str(&piece.text);
                self.logprobs += piece.logprobs.len();
            }
            Event::Embedded { vector, .. } => self.vectors.push(vector),
            Event::Ranked { index, score } => {
                assert_eq!(index as usize, self.scores.len(), "out of order");
                self.scores.push(score);
            }
            Event::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn finished(&self) -> &worker_protocol::Finished {
        match &self.last {
            Some(Event::Finished(finished)) => finished,
            other => panic!("{other:?}"),
        }
    }

    fn failed(&self) -> &Failure {
        match &self.last {
            Some(Event::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }
}

fn prompt(seed: u32, length: usize) -> Vec<u32> {
    (0..length).map(|at| 1 + (seed * 31 + at as u32 * 7) % 255).collect()
}

fn greedy(tokens: Vec<u32>, tokens_max: u32) -> Generate {
    Generate {
        sampling: Sampling::greedy(),
        tokens_max: Some(tokens_max),
        ..Generate::new(Prompt::Tokens(tokens))
    }
}

fn expected(tokens: &[u32], tokens_max: usize) -> String {
    expected_tokens(tokens, tokens_max).iter().map(|token| *token as u8 as char).collect()
}

#[test]
fn requests_at_once_get_the_text_they_would_get_alone() {
    for trims in [true, false] {
        let mut hub = Hub::start(Fake::new(512, 4, trims));
        for request in 0..12 {
            let length = 1 + request as usize * 17 % 120;
            hub.generate(request, greedy(prompt(request as u32 % 5, length), 60));
        }
        for request in 0..12 {
            let length = 1 + request as usize * 17 % 120;
            let answer = hub.read(request);
            assert_eq!(answer.text, expected(&prompt(request as u32 % 5, length), 60));
        }
    }
}

#[test]
fn a_reader_that_stops_pauses_alone_and_misses_nothing() {
    let mut hub = Hub::start(Fake::new(4096, 2, true));
    // A prompt whose text is longer than the credit.
    let long = (0..).map(|seed| prompt(seed, 9)).find(|p| expected(p, 300).len() > 250).unwrap();
    hub.generate(1, greedy(long.clone(), 300));
    hub.generate(2, greedy(long.clone(), 300));
    for request in 3..9 {
        hub.generate(request, greedy(prompt(request as u32, 30), 40));
        assert_eq!(hub.read(request).text, expected(&prompt(request as u32, 30), 40));
    }
    let held = hub.seen.get(&1).map_or(0, Vec::len);
    assert!(held <= EVENT_CREDIT as usize, "{held} events came without credit");
    hub.grant(1);
    hub.grant(1);
    hub.grant(1);
    hub.grant(1);
    assert_eq!(hub.read(1).text, expected(&long, 300));
    hub.grant(2);
    hub.grant(2);
    hub.grant(2);
    hub.grant(2);
    assert_eq!(hub.read(2).text, expected(&long, 300));
}

#[test]
fn a_cancelled_request_ends_and_the_others_go_on() {
    let mut hub = Hub::start(Fake::new(512, 1, true));
    let long = (0..).map(|seed| prompt(seed, 9)).find(|p| expected(p, 300).len() > 250).unwrap();
    hub.generate(1, greedy(long, 400));
    hub.generate(2, greedy(prompt(2, 20), 30));
    assert!(matches!(hub.next(1), Event::Progress { cached: 0, .. }));
    hub.send(Command::Cancel { request: RequestId(1) });
    let cancelled = hub.read(1);
    assert_eq!(cancelled.finished().reason, FinishReason::Cancelled);
    assert_eq!(hub.read(2).text, expected(&prompt(2, 20), 30));
}

#[test]
fn a_trim_asks_the_model_and_costs_no_request_its_prefix() {
    let model = Fake::new(1_000, 2, true);
    let given_back = Arc::clone(&model.given_back);
    let mut hub = Hub::start(model);
    let tokens = prompt(1, 200);
    hub.generate(1, greedy(tokens.clone(), 1));
    hub.read(1);
    hub.generate(2, greedy(prompt(2, 100), 300));
    hub.send(Command::Trim);
    hub.generate(3, greedy(tokens.clone(), 20));
    assert_eq!(hub.read(2).text, expected(&prompt(2, 100), 300), "it runs beside the trim");
    let answer = hub.read(3);
    assert_eq!(answer.text, expected(&tokens, 20));
    assert_eq!(answer.finished().usage.cached_tokens, 199);
    assert_eq!(given_back.load(Ordering::Relaxed), 1);
}

#[test]
fn a_failed_step_costs_the_requests_in_it_and_nothing_else() {
    let mut hub = Hub::start(Fake::new(512, 4, true));
    hub.generate(1, greedy(vec![POISON], 10));
    assert_eq!(hub.read(1).failed().kind, FailureKind::Broken);
    hub.generate(2, greedy(prompt(2, 20), 30));
    assert_eq!(hub.read(2).text, expected(&prompt(2, 20), 30));
}

#[test]
fn a_prompt_over_the_context_is_refused_with_both_numbers() {
    let mut hub = Hub::start(Fake::new(64, 2, true));
    hub.generate(1, greedy(prompt(1, 64), 10));
    let kind = FailureKind::ContextLength { prompt_tokens: 64, context_tokens: 64 };
    assert_eq!(hub.read(1).failed().kind, kind);
}

#[test]
fn a_text_ends_at_its_length_its_stop_or_the_full_context() {
    let mut hub = Hub::start(Fake::new(64, 2, true));
    let prompt = (0..).map(|seed| prompt(seed, 9)).find(|p| expected(p, 80).len() == 80).unwrap();
    let text = expected(&prompt, 80);

    hub.generate(1, greedy(prompt.clone(), 5));
    let answer = hub.read(1);
    assert_eq!(
        (answer.text.as_str(), &answer.finished().reason),
        (&text[..5], &FinishReason::Length)
    );
    assert_eq!(answer.finished().usage.completion_tokens, 5);

    let stop = text[12..15].to_owned();
    let found = text.find(&stop).unwrap();
    hub.generate(2, Generate { stop: vec![stop.clone()], ..greedy(prompt.clone(), 40) });
    let answer = hub.read(2);
    assert_eq!(answer.text, text[..found]);
    assert_eq!(answer.finished().reason, FinishReason::StopString(stop));
    assert_eq!(answer.finished().usage.cached_tokens, 8, "all but the last token were there");

    hub.generate(3, Generate { tokens_max: None, ..greedy(prompt.clone(), 0) });
    let answer = hub.read(3);
    assert_eq!(
        (answer.text.as_str(), &answer.finished().reason),
        (&text[..55], &FinishReason::Length)
    );
}

#[test]
fn a_special_token_that_marks_nothing_is_not_shown() {
    let mut hub = Hub::start(Fake::new(512, 2, true));
    hub.generate(1, Generate { ignore_end: true, ..greedy(prompt(1, 9), 400) });
    for _ in 0..8 {
        hub.grant(1);
    }
    let answer = hub.read(1);
    let said = answer.finished().usage.completion_tokens as usize;
    assert!(answer.text.len() < said, "the model did not go on behind its end");
    assert!(!answer.text.contains('<'), "{}", answer.text);
}

#[test]
fn every_token_has_its_logprob_when_asked_for() {
    let mut hub = Hub::start(Fake::new(256, 2, true));
    hub.generate(1, Generate { logprobs: Some(2), ..greedy(prompt(1, 9), 20) });
    let answer = hub.read(1);
    assert_eq!(answer.logprobs, answer.text.len());
    hub.generate(2, Generate { logprobs: Some(200), ..greedy(prompt(1, 9), 20) });
    assert_eq!(hub.read(2).failed().kind, FailureKind::Invalid);
}

#[test]
fn a_chat_is_rendered_with_the_models_template() {
    let mut hub = Hub::start(Fake::new(256, 2, true));
    let chat = Chat { messages: vec![Message::text(Role::User, "hi")], ..Chat::default() };
    let request = Generate {
        sampling: Sampling::greedy(),
        tokens_max: Some(20),
        ..Generate::new(Prompt::Chat(chat))
    };
    hub.generate(1, request);
    let rendered: Vec<u32> = "[user]hi".bytes().map(u32::from).collect();
    assert_eq!(hub.read(1).text, expected(&rendered, 20));
}

#[test]
fn a_prompt_is_counted_without_a_step_and_without_a_place() {
    // One sequence and few cells, all taken by a request that runs.
    let mut hub = Hub::start(Fake::new(64, 1, true));
    let long = (0..).map(|seed| prompt(seed, 9)).find(|p| expected(p, 50).len() == 50).unwrap();
    hub.generate(1, greedy(long.clone(), 50));
    let counted = |request, prompt| Command::Count { request: RequestId(request), prompt };
    let chat = Chat { messages: vec![Message::text(Role::User, "hi")], ..Chat::default() };
    for (request, prompt, tokens) in [
        (2, Prompt::Chat(chat), "[user]hi".len()),
        (3, Prompt::Text("four".to_owned()), 4),
        // Longer than the context: that is what it is asked for.
        (4, Prompt::Tokens(prompt(1, 1000)), 1000),
    ] {
        hub.send(counted(request, prompt));
        let answer = hub.read(request);
        let usage = Usage { prompt_tokens: tokens as u32, ..Usage::default() };
        assert_eq!(answer.finished().usage, usage);
    }
    hub.send(counted(5, Prompt::Tokens(vec![9999])));
    assert_eq!(hub.read(5).failed().message, "token 9999 is not in the vocabulary of 257 tokens");
    assert_eq!(hub.read(1).text, expected(&long, 50));
}

#[test]
fn nonsense_is_refused_in_words() {
    let mut hub = Hub::start(Fake::new(256, 2, true));
    let sampling = Sampling { top_p: -1.0, ..Sampling::greedy() };
    hub.generate(1, Generate { sampling, ..greedy(prompt(1, 3), 5) });
    assert_eq!(hub.read(1).failed().message, "top_p is negative");
    hub.generate(2, greedy(vec![9999], 5));
    assert_eq!(hub.read(2).failed().message, "token 9999 is not in the vocabulary of 257 tokens");
    hub.generate(3, greedy(Vec::new(), 5));
    assert_eq!(hub.read(3).failed().kind, FailureKind::Invalid);
}

#[test]
fn embeddings_come_in_order_with_length_one_beside_running_streams() {
    let mut hub = Hub::start(Fake::new(128, 2, true));
    hub.generate(1, greedy(prompt(1, 100), 20));
    let inputs = (1..40).map(|length| EmbedInput::Tokens(prompt(3, length))).collect();
    hub.embed(2, inputs);
    let answer = hub.read(2);
    assert_eq!(answer.vectors.len(), 39);
    for (index, vector) in answer.vectors.iter().enumerate() {
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5);
        assert!((vector[1] / vector[0] - (index + 1) as f32 / 3.0).abs() < 1e-4, "out of order");
    }
    assert_eq!(hub.read(1).text, expected(&prompt(1, 100), 20));
    hub.embed(3, vec![EmbedInput::Tokens(prompt(1, 129))]);
    let kind = FailureKind::ContextLength { prompt_tokens: 129, context_tokens: 128 };
    assert_eq!(hub.read(3).failed().kind, kind);
    hub.embed(4, vec![EmbedInput::Text(String::new())]);
    assert_eq!(hub.read(4).failed().kind, FailureKind::Invalid);
}

/// A long request for vectors, and behind it a conversation and a short one.
#[test]
fn who_embeds_much_holds_up_neither_streams_nor_others_who_embed() {
    for streams in [true, false] {
        let (commands, inbox) = channel();
        let embed = |request, count| Command::Embed {
            request: RequestId(request),
            embed: Embed { inputs: vec![EmbedInput::Tokens(vec![7; 9]); count], truncate: false },
        };
        let generate = greedy(prompt(1, 100), 20);
        commands.send(embed(1, 600)).unwrap();
        commands.send(Command::Credit { request: RequestId(1), events: 600 }).unwrap();
        if streams {
            commands.send(Command::Generate { request: RequestId(2), generate }).unwrap();
        }
        commands.send(embed(3, 1)).unwrap();
        let speculation = Speculation::default();
        let model = Fake::new(256, 2, true);
        let mut hub = Hub::start_behind((commands, inbox), model, None, speculation);
        assert_eq!(hub.read(3).vectors.len(), 1);
        let before = hub.seen.get(&1).map_or(0, Vec::len);
        assert!(before <= 4, "{before} of the long request came before the short one");
        if streams {
            assert_eq!(hub.read(2).text, expected(&prompt(1, 100), 20));
            let before = hub.seen.get(&1).map_or(0, Vec::len);
            assert!(before < 100, "{before} of the long request came before the stream's end");
        }
        assert_eq!(hub.read(1).vectors.len(), 600);
    }
}

#[test]
fn a_text_that_is_too_long_is_cut_before_the_end_that_the_model_wants() {
    let mut fake = Fake::new(128, 2, true);
    fake.frames = true;
    let mut hub = Hub::start(fake);
    let texts = ["x".repeat(126), "x".repeat(300), "x".to_owned()];
    let inputs = texts.map(EmbedInput::Text).into_iter().chain([EmbedInput::Tokens(vec![7; 300])]);
    let embed = Embed { inputs: inputs.collect(), truncate: true };
    hub.send(Command::Embed { request: RequestId(1), embed });
    let answer = hub.read(1);
    // How many tokens it read, and the last of them.
    let seen: Vec<[f32; 2]> = answer
        .vectors
        .iter()
        .map(|vector| [1, 2].map(|at: usize| (vector[at] / vector[0] * 3.0).round()))
        .collect();
    let end = END as f32;
    assert_eq!(seen, [[128.0, end], [128.0, end], [3.0, end], [128.0, 7.0]]);
}

#[test]
fn an_embedding_takes_the_cells_of_readers_that_stopped() {
    let mut hub = Hub::start(Fake::new(128, 2, true));
    let long = (0..).map(|seed| prompt(seed, 20)).find(|p| expected(p, 90).len() == 90).unwrap();
    hub.generate(1, greedy(long.clone(), 90));
    // Not read: it pauses when its credit is spent, and holds its cells.
    while hub.seen.get(&1).map_or(0, Vec::len) < EVENT_CREDIT as usize {
        hub.receive();
    }
    hub.embed(2, vec![EmbedInput::Tokens(prompt(3, 120))]);
    assert_eq!(hub.read(2).vectors.len(), 1);
    hub.grant(1);
    hub.grant(1);
    hub.grant(1);
    hub.grant(1);
    assert_eq!(hub.read(1).text, expected(&long, 90));
}

#[test]
fn a_conversation_that_is_too_long_loses_its_oldest_turns_where_that_is_wanted() {
    let said = |role, letter: &str, length| Message::text(role, letter.repeat(length));
    let messages = vec![
        said(Role::System, "s", 10),
        said(Role::User, "a", 100),
        said(Role::Assistant, "b", 100),
        said(Role::User, "c", 60),
        said(Role::Assistant, "d", 10),
        said(Role::User, "e", 20),
    ];
    let mut hub = Hub::start(Fake::new(256, 1, true));
    let ask = |shortens, tokens_max| {
        let chat = Chat { messages: messages.clone(), shortens, ..Chat::default() };
        Generate { prompt: Prompt::Chat(chat), ..greedy(Vec::new(), tokens_max) }
    };
    hub.generate(1, ask(false, 10));
    let failed = hub.read(1).failed().kind;
    assert!(matches!(failed, FailureKind::ContextLength { .. }), "{failed:?}");
    // What is left, as the template writes it, leaves room for the answer.
    let left = |from: usize| {
        let kept = messages[..1].iter().chain(&messages[from..]);
        kept.map(|message| {
            format!("[{}]{}", message.role.as_str(), message.content.as_deref().unwrap_or_default())
        })
        .collect::<String>()
    };
    let tokens = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
    for (request, tokens_max) in [(2, 10), (3, 500)] {
        hub.generate(request, ask(true, tokens_max));
        let answer = hub.read(request);
        assert_eq!(answer.finished().usage.prompt_tokens as usize, left(3).len());
        assert!(
            expected(&tokens(&left(3)), 500).starts_with(&answer.text) && !answer.text.is_empty()
        );
    }
    // Where even the last thing that was said is too long it is refused with the length of all.
    let chat =
        Chat { messages: vec![said(Role::User, "x", 300)], shortens: true, ..Chat::default() };
    hub.generate(4, Generate { prompt: Prompt::Chat(chat), ..greedy(Vec::new(), 10) });
    let failed = hub.read(4).failed().kind;
    assert!(matches!(failed, FailureKind::ContextLength { prompt_tokens: 306, .. }), "{failed:?}");
}
