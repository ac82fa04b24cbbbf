//! Greedy text through the hub is what llama.cpp's API gives without us, token for token: alone,
//! and with many requests in one batch.
//!
//! llama.cpp's kernels add numbers in another order in batches of another shape, so the last bits
//! of a logit may differ. A token may differ only where the two likeliest were that near to each
//! other; everywhere else it must be the same, with nearly the same probability.
//!
//! The model has random weights in the shape of Qwen3-0.6B, with a few of its layers;
//! RESIDENT_EQUALITY_LAYERS=28 compares the whole of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use planner::gguf::{Header, Value as Metadata};
use serde_json::{Value, json};

use crate::hub::{Hub, binary, workspace};

/// Lengths of the prompts, in tokens.
const PROMPT_TOKENS: [usize; 20] =
    [1, 2, 3, 5, 8, 13, 21, 34, 55, 64, 89, 144, 233, 377, 511, 512, 610, 987, 1597, 2000];

/// Tokens of each answer.
const ANSWER_TOKENS: usize = 24;

/// Requests at once.
const TOGETHER: usize = 8;

/// By how much the log-probability of a chosen token may differ.
const LOGPROB_TOLERANCE: f64 = 1e-3;

/// Where the likeliest token leads by less than this, either of the two may be chosen: each logit
/// may differ by half of it.
const LEAD_TOLERANCE: f64 = 2.0 * LOGPROB_TOLERANCE;

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
    let expected = plain(&model, &prompts);
    let named = format!("random={}", model.display());
    let arguments = ["--model", named.as_str(), "--context", "16384", "--parallel", "8"];

    let hub = Hub::start(&arguments);
    let alone: Vec<_> = prompts.iter().map(|prompt| through_hub(&hub, prompt)).collect();
    drop(hub);
    report("one request at a time", &alone, &expected);

    // A hub that has none of the prompts in its cache.
    let hub = Hub::start(&arguments);
    let together: Vec<_> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..TOGETHER)
            .map(|lane| {
                let (hub, prompts) = (&hub, &prompts);
                scope.spawn(move || {
                    let mine = prompts.iter().enumerate().skip(lane).step_by(TOGETHER);
                    mine.map(|(index, prompt)| (index, through_hub(hub, prompt)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut answers: Vec<_> = lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect();
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    });
    report("eight requests at once", &together, &expected);
}

/// Compares, says what was found, and fails where a difference is more than the last bits.
fn report(what: &str, answers: &[Vec<Token>], expected: &[Vec<Token>]) {
    let (mut equal, mut behind_a_difference, mut worst) = (0, 0, 0.0_f64);
    let mut near = Vec::new();
    for ((answer, expected), prompt_tokens) in answers.iter().zip(expected).zip(PROMPT_TOKENS) {
        assert_eq!(answer.len(), ANSWER_TOKENS, "the answer to {prompt_tokens} tokens");
        for (index, (ours, theirs)) in answer.iter().zip(expected).enumerate() {
            let at = format!("{what}, prompt of {prompt_tokens} tokens, token {index}");
            let by = (ours.logprob - theirs.logprob).abs();
            assert!(by < LOGPROB_TOLERANCE, "{at}: log-probabilities differ by {by}");
            worst = worst.max(by);
            if theirs.text.is_some() && ours.text != theirs.text {
                let lead = theirs.lead;
                assert!(lead < LEAD_TOLERANCE, "{at}: {ours:?}, not {theirs:?}");
                near.push(format!("{at}: the lead was {lead}"));
                // From here on the two continue different texts.
                behind_a_difference += ANSWER_TOKENS - index - 1;
                break;
            }
            equal += 1;
        }
    }
    println!(
        "{what}: {equal} tokens equal, {} different where two were as likely, \
         {behind_a_difference} behind those not compared; log-probabilities differ by {worst:.2e} \
         at most",
        near.len()
    );
    for line in &near {
        println!("  {line}");
    }
    assert!(equal > answers.len() * ANSWER_TOKENS / 2, "too few tokens are equal");
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

/// The same without the hub.
fn plain(model: &Path, prompts: &[Vec<u32>]) -> Vec<Vec<Token>> {
    let job = json!({
        "model": model, "prompts": prompts, "tokens_max": ANSWER_TOKENS, "threads": 2,
        "context_tokens": 2048 + ANSWER_TOKENS, "step_tokens": 512, "together": false,
        "unified": true, "rounds": 1
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
    let texts = token_texts(model);
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

/// The model, which is made if it is not there.
fn model() -> PathBuf {
    let layers = std::env::var("RESIDENT_EQUALITY_LAYERS").unwrap_or_else(|_| "4".to_owned());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-models");
    let path = folder.join(format!("qwen3-0.6b-{layers}-layers-q8_0.gguf"));
    if !path.is_file() {
        fs::create_dir_all(&folder).unwrap();
        let made = Command::new(env!("CARGO"))
            .current_dir(workspace())
            .args(["xtask", "make-model", "--arch", "qwen3", "--like", "qwen3-0.6b"])
            .args(["--layers", &layers, "--quant", "q8_0", "--seed", "1", "--out"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    path
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
