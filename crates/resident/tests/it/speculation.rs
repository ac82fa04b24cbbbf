//! Guessing ahead, end to end: the text is that without guesses, and what was guessed is said.
//!
//! A step with guesses has other rows than one without and rounds otherwise, so that greedy text may
//! part where the two likeliest tokens are as good as equal. Such a parting is told from a wrong cache
//! by the logits that both had there.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::hub::{Hub, stories};
use crate::made;

/// Tokens of each answer.
const TOKENS: usize = 120;

/// Log-probabilities that are closer than this may change places by rounding.
const TIE: f64 = 0.02;

/// The same of LFM2, whose random attention is sharp so that it looks back at all: twice the most that
/// its logits are off when nothing but the length of steps differs (`trees_of_lfm2` in the worker).
const TIE_OF_LFM2: f64 = 0.25;

/// A token and how far it was ahead of the next.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    text: String,
    lead: f64,
}

fn ask(hub: &Hub, model: &str, prompt: &str) -> (Vec<Said>, Value) {
    let answer = hub.post(
        "/v1/completions",
        &json!({
            "model": model, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0,
            "ignore_eos": true, "logprobs": 2,
        }),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let logprobs = &answer["choices"][0]["logprobs"];
    let tokens = logprobs["tokens"].as_array().unwrap();
    let said = tokens.iter().enumerate().map(|(at, token)| {
        let own = logprobs["token_logprobs"][at].as_f64().unwrap();
        let top = logprobs["top_logprobs"][at].as_object().unwrap();
        let other = top.values().filter_map(Value::as_f64).fold(f64::INFINITY, f64::min);
        Said { text: token.as_str().unwrap().to_owned(), lead: own - other }
    });
    (said.collect(), answer["usage"].clone())
}

/// How many tokens both said alike; where they part, it was a tie.
fn alike(plain: &[Said], guessed: &[Said], tie: f64) -> usize {
    assert_eq!(plain.len(), guessed.len());
    let same = plain.iter().zip(guessed).take_while(|(one, other)| one.text == other.text);
    let same = same.count();
    if let Some((one, other)) = plain.get(same).zip(guessed.get(same)) {
        assert!(one.lead < tie && other.lead < tie, "{one:?} is not {other:?} after {same} tokens");
    }
    same
}

fn tiny(architecture: &str) -> PathBuf {
    like("tiny", architecture)
}

fn like(shape: &str, architecture: &str) -> PathBuf {
    let name = format!("{architecture}-{shape}-1");
    let shape = ["--arch", architecture, "--like", shape, "--quant", "q8_0", "--seed", "1"];
    made::model(&name, &shape)
}

/// What guesses besides the text.
#[derive(Debug, Clone, Copy)]
enum Other<'a> {
    Nobody,
    /// The model in this file.
    Draft(&'a Path),
    /// Its own layer.
    Head,
}

impl Other<'_> {
    /// The words of its table in the configuration.
    fn words(self) -> Option<String> {
        match self {
            Self::Nobody => None,
            Self::Draft(path) => Some(format!("draft = {path:?}\ndraft_tokens = 4")),
            Self::Head => Some("speculation = \"mtp\"\ndraft_tokens = 3".to_owned()),
        }
    }
}

fn hub(folder: &Path, file: &Path, other: Other<'_>) -> Hub {
    // As many for all: what they add up to depends on it, and on what else the machine does if they adapt.
    let mut text = "threads = 1\n".to_owned();
    let table = |name: &str, words: &str| {
        format!("[models.{name}]\npath = {:?}\n{words}\n", file.display().to_string())
    };
    text.push_str(&table("plain", "speculation = \"off\""));
    text.push_str(&table("lookup", "speculation = \"lookup\"\ndraft_tokens = 5"));
    text.push_str(&table("auto", "speculation = \"auto\""));
    if let Some(words) = other.words() {
        text.push_str(&table("other", &words));
    }
    Hub::configured(folder, &text)
}

/// Compares all ways to guess with none, and gives how many guesses came true of each.
fn compare(file: &Path, other: Other<'_>, prompts: &[String]) -> Vec<(u64, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let is_lfm2 = file.to_string_lossy().contains("lfm2");
    let tie = if is_lfm2 { TIE_OF_LFM2 } else { TIE };
    let hub = hub(folder.path(), file, other);
    let names = ["lookup", "auto", "other"];
    let mut counts = vec![(0, 0); 3];
    let (mut same, mut ties) = (0, 0);
    for prompt in prompts {
        let (plain, usage) = ask(&hub, "plain", prompt);
        assert_eq!(usage["completion_tokens_details"], Value::Null, "nothing was guessed");
        for (name, (accepted, rejected)) in names.iter().zip(&mut counts) {
            if *name == "other" && other.words().is_none() {
                continue;
            }
            let (guessed, usage) = ask(&hub, name, prompt);
            let alike = alike(&plain, &guessed, tie);
            same += alike;
            ties += usize::from(alike < TOKENS);
            let details = &usage["completion_tokens_details"];
            *accepted += details["accepted_prediction_tokens"].as_u64().unwrap_or(0);
            *rejected += details["rejected_prediction_tokens"].as_u64().unwrap_or(0);
            assert_eq!(usage["completion_tokens"], TOKENS);
        }
    }
    println!("{}: {same} tokens alike, {ties} answers parted at a tie, {counts:?}", file.display());
    let metrics = hub.get("/metrics").text();
    let accepted =
        format!("resident_model_accepted_tokens_total{{model=\"lookup\"}} {}", counts[0].0);
    assert!(metrics.lines().any(|line| line == accepted), "no {accepted} in:\n{metrics}");
    counts
}

fn prompts(words: &str) -> Vec<String> {
    let repeated = |seed: usize| {
        let words: Vec<&str> = words.split(' ').cycle().skip(seed).take(40).collect();
        format!("{} {}", words.join(" "), words[..25].join(" "))
    };
    (0..6).map(repeated).collect()
}

#[test]
fn a_trained_model_says_the_same_with_guesses() {
    let Some(file) = stories() else { return };
    let words = "Once upon a time there was a little girl who had a big red ball and she liked to play \
                 with it in the park every day until the sun went down";
    let counts = compare(&file, Other::Draft(&file), &prompts(words));
    assert!(counts[0].0 > 20, "the text repeats, so guesses come true: {counts:?}");
    let (accepted, rejected) = counts[2];
    // The text guesses here too until the model is seen to do better, and nearly all that is rejected was
    // its guess. That the model alone is right is a test of the worker.
    assert!(accepted > 4 * rejected, "a model that guesses for itself is right: {counts:?}");
    assert!(accepted > 3 * counts[0].0, "it guesses more than the text does: {counts:?}");
}

#[test]
fn random_models_say_the_same_with_guesses() {
    // The last two carry states, which are taken back behind wrong guesses.
    for architecture in ["qwen3", "gemma3", "qwen35", "lfm2"] {
        let file = tiny(architecture);
        let counts =
            compare(&file, Other::Nobody, &prompts("a b c d e f g h i j k l m n o p q r s t u v"));
        assert!(counts[0].1 > 0, "{architecture}: no guess was wrong, and nothing taken back");
    }
}

#[test]
fn a_model_that_guesses_for_itself_says_the_same() {
    let file = like("tiny-mtp", "qwen35");
    let counts = compare(&file, Other::Head, &prompts("a b c d e f g h i j k l m n o p q r s t u"));
    let (accepted, rejected) = counts[2];
    assert!(accepted > 200 && rejected > 20, "much comes true, and not all: {counts:?}");
}

#[test]
fn a_model_without_a_head_is_told_how_else_to_guess() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path(), &tiny("qwen3"), Other::Head);
    let answer =
        hub.post("/v1/completions", &json!({ "model": "other", "prompt": "a", "max_tokens": 1 }));
    assert_ne!(answer.status, 200);
    let text = answer.text();
    assert!(text.contains("has no layer that guesses ahead"), "{text}");
    assert!(text.contains("speculation = \\\"lookup\\\""), "{text}");
}

#[test]
fn a_draft_of_another_vocabulary_is_refused_with_the_way_out() {
    let Some(file) = stories() else { return };
    let folder = tempfile::tempdir().unwrap();
    let draft = tiny("qwen3");
    let hub = hub(folder.path(), &file, Other::Draft(&draft));
    let answer =
        hub.post("/v1/completions", &json!({ "model": "other", "prompt": "a", "max_tokens": 1 }));
    assert_ne!(answer.status, 200);
    let text = answer.text();
    assert!(text.contains("cannot guess for this model"), "{text}");
    assert!(text.contains("speculation = \\\"lookup\\\""), "{text}");
}
