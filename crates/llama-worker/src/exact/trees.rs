//! Trees of conversations, and the comparison.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use engine::Model;
use worker_protocol::{Finished, Speculation, SpeculationSource};

use super::life::{self, ANSWER_TOKENS};
use super::lineage::{Lineage, Output};
use super::models::{self, CACHE_TYPES};
use super::prompts::Talks;
use super::random::Random;
use super::twin::{Twin, likeliest};

/// Trees of each model and type of cache, unless `KEPT_TREES` says another number: what continuous
/// integration has time for.
const TREES_DEFAULT: u64 = 3;

/// Lives of an engine in one tree.
const LIVES: usize = 3;

/// How far the two likeliest logits of a cold run may be apart where the text parts, and how far any
/// logit may be from that of the cold run: two or three times what rounding was seen to do, and a small
/// part of what a wrong prefix does, which a test of its own holds.
const NOISE_MAX: f32 = 0.25;

/// Tokens of a step of a cold run. The others are tried where the first is off by more than noise: a
/// router of experts turns a near tie into another expert, so that one run may part by much from all that
/// round otherwise. Beside others an engine may even part from all of these runs, for its steps have rows
/// that none of theirs have; that is counted, and seldom. No wrong cache comes near any of them.
const COLD_STEPS_TOKENS: [usize; 5] = [256, 64, 20, 7, 1];

/// What the comparison of one model came to.
#[derive(Debug, Default)]
struct Figures {
    trees: u64,
    answers: usize,
    restores: usize,
    restored_tokens: usize,
    /// Logits that are the twin's to the last bit.
    exact: usize,
    /// Logits that no run from nothing can repeat.
    unrepeatable: usize,
    /// Tokens that are the cold run's.
    cold: usize,
    ties: usize,
    /// Answers that are near to a cold run of other steps only, or of a model with experts to none.
    retried: usize,
    /// The largest difference to a logit of a cold run.
    noise: f32,
    /// Different tokens of an answer, added up.
    distinct: usize,
    /// Tokens that were guessed, and those of them that came true.
    guessed: u32,
    came_true: u32,
}

impl Figures {
    fn count(&mut self, answer: &[Output]) {
        let distinct: BTreeSet<u32> = tokens(answer).into_iter().collect();
        self.distinct += distinct.len();
        self.answers += 1;
    }

    fn count_guesses(&mut self, ended: &[Finished]) {
        for Finished { usage, .. } in ended {
            self.guessed += usage.drafted_tokens;
            self.came_true += usage.accepted_tokens;
        }
    }
}

/// How many trees are wanted.
fn trees() -> u64 {
    let wanted = std::env::var("KEPT_TREES").ok();
    wanted.map_or(TREES_DEFAULT, |wanted| wanted.parse().expect("KEPT_TREES is a number"))
}

/// One model with one type of cache, and its twins.
struct Subject {
    path: PathBuf,
    kv_type: &'static str,
    speculation: Speculation,
    has_experts: bool,
    twin: Twin,
    cold: Twin,
    figures: Figures,
}

impl Subject {
    fn new(path: &Path, kv_type: &'static str, speculation: &Speculation) -> Self {
        let twin = || Twin::new(models::load_guessing(path, kv_type, 1, speculation));
        Self {
            path: path.to_owned(),
            kv_type,
            speculation: speculation.clone(),
            has_experts: models::load(path, kv_type, 1).facts().architecture.contains("moe"),
            twin: twin(),
            cold: twin(),
            figures: Figures::default(),
        }
    }

    /// One tree: lives of an engine with `sequences` sequences on one store.
    fn tree(&mut self, seed: u64, sequences: u32) {
        let folder = tempfile::tempdir().unwrap();
        let lineage = Rc::new(RefCell::new(Lineage::default()));
        let mut talks = None;
        for _ in 0..LIVES {
            let Self { path, kv_type, speculation, .. } = &*self;
            let model = models::load_guessing(path, kv_type, sequences, speculation);
            let vocabulary = model.facts().vocabulary;
            let talks = talks.get_or_insert_with(|| Talks::new(seed, vocabulary));
            let prompts = talks.prompts();
            let tiers = life::open(&model, "made", folder.path());
            let at_once = sequences > 1;
            let ended = life::live(model, tiers, &lineage, &prompts, at_once, speculation);
            self.figures.count_guesses(&ended);
            let outputs = std::mem::take(&mut lineage.borrow_mut().outputs);
            let answers = answers(outputs, sequences);
            assert_eq!(answers.len(), prompts.len(), "one answer to each prompt");
            for answer in answers {
                // Beside others, cells lie elsewhere than the twin's, which decides how they are added up.
                if sequences == 1 {
                    self.compare_with_twin(&lineage.borrow(), &answer);
                }
                self.compare_with_cold_run(&answer);
                let prompt = &answer[0].line.tokens;
                assert!(prompts.contains(prompt), "an answer to something else");
                talks.answered(prompt, &tokens(&answer));
            }
        }
        let lineage = lineage.borrow();
        self.figures.trees += 1;
        self.figures.restores += lineage.restores;
        self.figures.restored_tokens += lineage.restored_tokens;
    }

    fn compare_with_twin(&mut self, lineage: &Lineage, answer: &[Output]) {
        for output in answer {
            let Some(logits) = self.twin.repeat(lineage, output) else {
                self.figures.unrepeatable += 1;
                continue;
            };
            let (at, off) = (output.line.tokens.len(), far(&logits, output));
            let is_same = logits == output.logits;
            assert!(is_same, "{}: off from the twin by {off} after {at} tokens", self.name());
            self.figures.exact += 1;
        }
    }

    fn compare_with_cold_run(&mut self, answer: &[Output]) {
        let prompt = &answer[0].line.tokens;
        let mut nearest = f32::INFINITY;
        let found = COLD_STEPS_TOKENS.iter().enumerate().find_map(|(tries, step_tokens)| {
            let cold = self.cold.answer(prompt, *step_tokens, ANSWER_TOKENS);
            let beside = Beside::new(&cold, answer);
            nearest = nearest.min(beside.off);
            (beside.off <= NOISE_MAX).then_some((tries, beside))
        });
        let Some((tries, beside)) = found else {
            let (name, tokens) = (self.name(), prompt.len());
            assert!(
                self.has_experts,
                "{name}: off from all cold runs by {nearest}, {tokens} tokens"
            );
            self.figures.retried += 1;
            return self.figures.count(answer);
        };
        self.figures.retried += usize::from(tries > 0);
        self.figures.noise = self.figures.noise.max(beside.off);
        self.figures.cold += beside.tokens;
        self.figures.ties += usize::from(beside.parts);
        self.figures.count(answer);
    }

    fn name(&self) -> String {
        format!("{} with {}", self.path.display(), self.kv_type)
    }
}

/// An answer beside that of a cold run.
struct Beside {
    /// Tokens that are the same.
    tokens: usize,
    /// Whether the text parts behind them. It does so where the difference of the two logits is at most
    /// twice as large as how far either is off, which is all that makes it a near tie.
    parts: bool,
    /// How far any logit is off, up to there.
    off: f32,
}

impl Beside {
    fn new(cold: &[Vec<f32>], answer: &[Output]) -> Self {
        let mut beside = Self { tokens: 0, parts: false, off: 0.0 };
        for (cold, output) in cold.iter().zip(answer) {
            beside.off = beside.off.max(far(cold, output));
            beside.parts = likeliest(cold) != likeliest(&output.logits);
            if beside.parts {
                break;
            }
            beside.tokens += 1;
        }
        beside
    }
}

/// The outputs of each answer, in order.
fn answers(outputs: Vec<Output>, sequences: u32) -> Vec<Vec<Output>> {
    let mut answers: Vec<Vec<Output>> = Vec::new();
    for sequence in 0..sequences {
        for output in outputs.iter().filter(|output| output.sequence == sequence) {
            let goes_on = |answer: &&mut Vec<Output>| {
                let before = &answer.last().unwrap().line.tokens;
                answer.len() < ANSWER_TOKENS as usize
                    && output.line.tokens.len() == before.len() + 1
                    && output.line.tokens.starts_with(before)
            };
            match answers.last_mut().filter(goes_on) {
                Some(answer) => answer.push(output.clone()),
                None => answers.push(vec![output.clone()]),
            }
        }
    }
    assert!(answers.iter().all(|answer| answer.len() == ANSWER_TOKENS as usize));
    answers
}

fn tokens(answer: &[Output]) -> Vec<u32> {
    answer.iter().map(|output| likeliest(&output.logits)).collect()
}

/// The largest difference between two logits of a token.
fn far(logits: &[f32], output: &Output) -> f32 {
    let pairs = logits.iter().zip(&output.logits);
    pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

/// Trees of one model, with each type of cache.
fn trees_of(name: &str, path: &Path, kv_types: &[&'static str]) {
    for kv_type in kv_types {
        trees_guessed(name, path, kv_type, &Speculation::default());
    }
}

/// Trees of one model that guesses ahead. Gives how many guesses there were, and how many came true.
fn trees_guessed(
    name: &str,
    path: &Path,
    kv_type: &'static str,
    speculation: &Speculation,
) -> (u32, u32) {
    let begun = Instant::now();
    let mut subject = Subject::new(path, kv_type, speculation);
    for tree in 0..trees() {
        // Alone, to compare bits; and now and then beside others, to see that nobody is in the way.
        subject.tree(tree, 1);
        if tree % 4 == 0 {
            subject.tree(1_000_000 + tree, 3);
        }
    }
    report(name, kv_type, &subject.figures, begun.elapsed());
    let Figures { exact, unrepeatable, restored_tokens, distinct, answers, retried, .. } =
        subject.figures;
    assert!(restored_tokens > 0, "nothing came back");
    assert!(retried * 8 <= answers, "{retried} of {answers} are near to few cold runs only");
    assert!(exact > unrepeatable, "too little could be compared to the last bit");
    assert!(distinct > 2 * answers, "answers of one token tell nothing");
    (subject.figures.guessed, subject.figures.came_true)
}

fn report(name: &str, kv_type: &str, figures: &Figures, took: Duration) {
    let Figures { trees, answers, restores, restored_tokens, exact, unrepeatable, .. } = figures;
    let Figures { cold, ties, retried, noise, distinct, guessed, came_true, .. } = figures;
    println!(
        "{name:<14} {kv_type:<5} {trees:>4} trees, {answers:>5} answers, {restores:>5} pieces with \
         {restored_tokens:>7} tokens came back; logits equal to the last bit {exact:>6}, not \
         repeatable {unrepeatable:>5}; tokens of the cold run {cold:>6}, near ties {ties:>3}, in other \
         steps {retried:>2}, noise {noise:.5}; different tokens of an answer {:.1}; {came_true} of {guessed} guesses came \
         true; {:.1} s",
        *distinct as f64 / *answers as f64,
        took.as_secs_f64()
    );
}

#[test]
fn a_wrong_prefix_is_farther_off_than_rounding() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in models::ARCHITECTURES {
        let path = models::made(architecture, "q8_0", folder.path());
        let mut twin = Twin::new(models::load(&path, "f16", 1));
        let (mut random, vocabulary) = (Random::new(5), 1024);
        let mut nearest = f32::INFINITY;
        for _ in 0..8 {
            let right = random.tokens(200, vocabulary);
            let wrong = [random.tokens(150, vocabulary), right[150..].to_vec()].concat();
            let [one, other] = [&right, &wrong].map(|prompt| twin.answer(prompt, 256, 1).remove(0));
            let pairs = one.iter().zip(&other);
            let off = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
            nearest = nearest.min(off);
        }
        println!("{architecture:<14} a wrong prefix is off by {nearest:.3} at least");
        assert!(nearest > 2.0 * NOISE_MAX, "{architecture}: off by {nearest} only");
    }
}

fn trees_of_made(architecture: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = models::made(architecture, "q8_0", folder.path());
    trees_of(architecture, &path, &CACHE_TYPES);
}

#[test]
fn trees_of_llama_come_back_exactly() {
    trees_of_made("llama");
}

#[test]
fn trees_of_qwen3_come_back_exactly() {
    trees_of_made("qwen3");
}

#[test]
fn trees_of_qwen3moe_come_back_exactly() {
    trees_of_made("qwen3moe");
}

#[test]
fn trees_of_gemma3_come_back_exactly() {
    trees_of_made("gemma3");
}

#[test]
fn trees_of_qwen35_come_back_exactly() {
    trees_of_made("qwen35");
}

/// States that are taken back behind wrong guesses, and then kept and put back.
#[test]
fn trees_of_models_that_guess_for_themselves_come_back_exactly() {
    let folder = tempfile::tempdir().unwrap();
    for (architecture, kv_type) in [("qwen35", "f16"), ("qwen35", "q8_0"), ("qwen35moe", "f16")] {
        let path = models::made_like("tiny-mtp", architecture, "q8_0", folder.path());
        let speculation = Speculation { source: SpeculationSource::Head, tokens: Some(3) };
        let name = format!("{architecture} mtp");
        let (guessed, came_true) = trees_guessed(&name, &path, kv_type, &speculation);
        assert!(came_true * 4 > guessed, "{came_true} of {guessed}: hardly a guess comes true");
        assert!(came_true * 10 < guessed * 9, "{came_true} of {guessed}: nothing is taken back");
    }
}

#[test]
fn trees_of_lfm2_come_back_exactly() {
    trees_of_made("lfm2");
}

#[test]
fn trees_of_granitehybrid_come_back_exactly() {
    trees_of_made("granitehybrid");
}

#[test]
fn trees_of_mamba_come_back_exactly() {
    trees_of_made("mamba");
}

#[test]
fn trees_of_mamba2_come_back_exactly() {
    trees_of_made("mamba2");
}

/// Its heads are 8 wide, which no block of `q8_0` fits.
#[test]
fn trees_of_a_real_model_come_back_exactly() {
    if let Some(path) = models::real() {
        trees_of("stories260K", &path, &["f16"]);
    }
}
