//! Greedy text through the hub is what llama.cpp's API gives without us, token for token: alone,
//! and with many requests in one batch.
//!
//! Two things in llama.cpp's CPU code depend on the shape of a step. Fused attention adds up in 16
//! bits below 64 rows; it is switched off for the strict comparison, and then steps of 32, 64 and
//! 512 tokens give the same bits. And one row alone goes through other matrix kernels than several:
//! with weights of 8 bits, which round what they are multiplied with, a last bit becomes a visible
//! difference. So one request at a time, in an empty cache (the place in the cache decides how sums
//! over it are grouped), must be equal in everything. For requests at once llama.cpp
//! is asked for a batch of its own in the same run; how far that is from its own single rows is the
//! measure, and a token may differ only where the two likeliest were that near.
//!
//! The model has random weights in the shape of Qwen3-0.6B, with a few of its layers;
//! RESIDENT_EQUALITY_LAYERS=28 compares the whole of it.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use planner::gguf::{Header, Value as Metadata};
use serde_json::{Value, json};

use crate::hub::{Hub, binary};
use crate::made;

/// Lengths of the prompts, in tokens.
const PROMPT_TOKENS: [usize; 20] =
    [1, 2, 3, 5, 8, 13, 21, 34, 55, 64, 89, 144, 233, 377, 511, 512, 610, 987, 1597, 2000];

/// Tokens of each answer.
const ANSWER_TOKENS: usize = 12;

/// Requests at once.
const TOGETHER: usize = 8;

/// Tokens of a prompt that llama.cpp is given in one step, as many as the worker takes.
const STEP_TOKENS: usize = 512;

/// By how much the log-probability of a chosen token may differ, one request at a time.
const TOLERANCE: f64 = 1e-3;

/// In batches it may differ by this many times of what llama.cpp differs from itself: two runs have
/// not seen the largest difference there is.
const OWN_DIFFERENCES: f64 = 2.0;

#[derive(Debug)]
struct Token {
    /// `None` for one that has no text of its own.
    text: Option<String>,
    logprob: f64,
    /// By how much it led, where that is known.
    lead: f64,
}

#[test]
fn text_through_the_hub_equals_llama_cpp_token_for_token() {
    let model = model();
    let prompts = prompts();
    let expected = &plain(&model, &prompts, 1);
    let start = || {
        Hub::start_with(|serve| {
            serve.arg("--model").arg(format!("random={}", model.display()));
            serve.args(["--context", "16384", "--parallel", "8"]);
            serve.env("RESIDENT_WORKER_FLASH_ATTENTION", "off");
        })
    };

    let alone: Vec<_> = prompts.iter().map(|prompt| through_hub(&start(), prompt)).collect();
    let found = compare(&alone, expected, TOLERANCE);
    println!("the hub, one request at a time: {found}");
    assert!(found.different.is_empty(), "one request at a time: {found}");

    let own = compare(&plain(&model, &prompts, TOGETHER), expected, f64::INFINITY);
    println!("llama.cpp, {TOGETHER} at once: {own}");
    // A hub that has none of the prompts in its cache.
    let together = together(&start(), &prompts);
    let found = compare(&together, expected, TOLERANCE.max(own.worst * OWN_DIFFERENCES));
    println!("the hub, {TOGETHER} requests at once: {found}");
}

fn together(hub: &Hub, prompts: &[Vec<u32>]) -> Vec<Vec<Token>> {
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..TOGETHER)
            .map(|lane| {
                let mine = prompts.iter().enumerate().skip(lane).step_by(TOGETHER);
                scope.spawn(move || {
                    mine.map(|(index, prompt)| (index, through_hub(hub, prompt)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut answers: Vec<_> = lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect();
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    })
}

/// What a comparison found.
#[derive(Debug, Default)]
struct Found {
    equal: usize,
    /// One line for each token that differs where two were as likely.
    different: Vec<String>,
    /// Tokens behind those, which continue different texts.
    behind: usize,
    /// Largest difference of log-probabilities.
    worst: f64,
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { equal, different, behind, worst } = self;
        write!(
            out,
            "{equal} tokens equal, {} different, {behind} behind those not compared; \
             log-probabilities differ by {worst:.1e} at most",
            different.len()
        )?;
        different.iter().try_for_each(|line| write!(out, "\n  {line}"))
    }
}

/// Compares answers; fails where they differ by more than `tolerance`.
fn compare(answers: &[Vec<Token>], expected: &[Vec<Token>], tolerance: f64) -> Found {
    let mut found = Found::default();
    for ((answer, expected), prompt_tokens) in answers.iter().zip(expected).zip(PROMPT_TOKENS) {
        assert_eq!(answer.len(), ANSWER_TOKENS, "the answer to {prompt_tokens} tokens");
        for (index, (ours, theirs)) in answer.iter().zip(expected).enumerate() {
            let at = format!("token {index} behind a prompt of {prompt_tokens}");
            let by = (ours.logprob - theirs.logprob).abs();
            assert!(by < tolerance, "{at}: the log-probability differs by {by}");
            found.worst = found.worst.max(by);
            if theirs.text.is_some() && ours.text.is_some() && ours.text != theirs.text {
                let lead = theirs.lead;
                // Each of the two may be off by the tolerance.
                assert!(lead < 2.0 * tolerance, "{at}: {ours:?}, not {theirs:?}");
                found.different.push(format!("{at}, where the lead was {lead:.1e}"));
                found.behind += ANSWER_TOKENS - index - 1;
                break;
            }
            found.equal += 1;
        }
    }
    assert!(found.equal > answers.len() * ANSWER_TOKENS / 2, "too little is equal: {found}");
    found
}

fn through_hub(hub: &Hub, prompt: &[u32]) -> Vec<Token> {
    let answer = hub
        .post(
            "/v1/completions",
            &json!({
                "model": "random", "prompt": prompt, "max_tokens": ANSWER_TOKENS,
                "temperature": 0, "logprobs": 1, "ignore_eos": true
            }),
        )
        .ok();
    assert_eq!(answer["usage"]["prompt_tokens"], prompt.len());
    let logprobs = &answer["choices"][0]["logprobs"];
    let texts = logprobs["tokens"].as_array().unwrap();
    let values = logprobs["token_logprobs"].as_array().unwrap();
    let token = |(text, logprob): (&Value, &Value)| Token {
        text: Some(text.as_str().unwrap().to_owned()),
        logprob: logprob.as_f64().unwrap(),
        lead: f64::NAN,
    };
    texts.iter().zip(values).map(token).collect()
}

/// The same without the hub, `lanes` prompts at once.
fn plain(model: &Path, prompts: &[Vec<u32>], lanes: usize) -> Vec<Vec<Token>> {
    let texts = token_texts(model);
    let together = lanes > 1;
    // One process does them all when it does them one after the other.
    let group = if together { lanes } else { prompts.len() };
    let run = |prompts| plain_group(model, prompts, together, &texts);
    prompts.chunks(group).flat_map(run).collect()
}

fn plain_group(
    model: &Path,
    prompts: &[Vec<u32>],
    together: bool,
    texts: &[Option<String>],
) -> Vec<Vec<Token>> {
    let job = json!({
        "model": model, "prompts": prompts, "tokens_max": ANSWER_TOKENS, "threads": 1,
        "context_tokens": 2048 + ANSWER_TOKENS, "step_tokens": STEP_TOKENS, "together": together,
        "unified": true, "flash_attention": false, "rounds": 1
    });
    let mut child = Command::new(binary("resident-llama"))
        .arg("plain")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(job.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let token = |token: &Value| Token {
        text: texts[token["id"].as_u64().unwrap() as usize].clone(),
        logprob: token["logprob"].as_f64().unwrap(),
        lead: token["lead"].as_f64().unwrap(),
    };
    let answers = outcome["answers"].as_array().unwrap().iter();
    answers.map(|answer| answer.as_array().unwrap().iter().map(token).collect()).collect()
}

/// Prompts of the given lengths with no pattern in them.
fn prompts() -> Vec<Vec<u32>> {
    let mut state = 1_u64;
    let mut next = || {
        // Knuth's multiplier; the high bits are the random ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u32 % 150_000
    };
    PROMPT_TOKENS.iter().map(|count| (0..*count).map(|_| next()).collect()).collect()
}

fn model() -> PathBuf {
    let layers = std::env::var("RESIDENT_EQUALITY_LAYERS").unwrap_or_else(|_| "2".to_owned());
    let shape = ["--arch", "qwen3", "--like", "qwen3-0.6b", "--quant", "q8_0", "--seed", "1"];
    made::model(
        &format!("qwen3-0.6b-{layers}-layers-q8_0"),
        &[&shape[..], &["--layers", &layers]].concat(),
    )
}

/// The text of each token; `None` for control tokens.
fn token_texts(model: &Path) -> Vec<Option<String>> {
    let bytes = fs::read(model).unwrap();
    let header = planner::gguf::parse(&bytes, bytes.len() as u64).unwrap();
    let tokens = elements(&header, &bytes, "tokenizer.ggml.tokens");
    let kinds = elements(&header, &bytes, "tokenizer.ggml.token_type");
    let normal = 1_i32.to_le_bytes();
    let mut rest = tokens;
    let mut texts = Vec::new();
    for kind in kinds.chunks_exact(4) {
        let (length, behind) = rest.split_at(8);
        let (token, behind) =
            behind.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        rest = behind;
        let text = std::str::from_utf8(token).unwrap();
        texts.push((kind == normal).then(|| byte_level(text)));
    }
    texts
}

/// The bytes of an array's elements.
fn elements<'b>(header: &Header, bytes: &'b [u8], key: &str) -> &'b [u8] {
    match &header.metadata[key] {
        Metadata::Array(array) => &bytes[array.place.start as usize..array.place.end as usize],
        other => panic!("{key} is {other:?}"),
    }
}

/// What a token of a byte-level vocabulary stands for: each of its characters is one byte, the
/// printable ones themselves, the others from U+0100 on.
fn byte_level(token: &str) -> String {
    let printable = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shifted: Vec<u8> = (0..=255).filter(|byte| !printable(byte)).collect();
    let byte = |character: char| match u8::try_from(character) {
        Ok(byte) => byte,
        Err(_) => shifted[character as usize - 0x100],
    };
    String::from_utf8_lossy(&token.chars().map(byte).collect::<Vec<_>>()).into_owned()
}
